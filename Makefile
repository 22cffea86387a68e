# The commands a newcomer needs: make demo, make serve, make test. Each sets up what it lacks.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# PyPI's own torch and torchvision fit each other; other indexes may mix builds that do not.
INSTALLED := $(VENV)/.installed

.PHONY: setup graphics prometheus monitoring demo serve test test-all lint docs constraints clean help

help:
	@echo "make demo     render, train both models, ask them, measure (first run installs everything)"
	@echo "make serve    serve the demo's classifier (port 3000), generator (3001) and studio (3002)"
	@echo "make docs     the documentation as a site, in build/docs"
	@echo "make test     style, types, architecture and tests (13 minutes on two cores)"
	@echo "make test-all also what takes long: images, bentos, alerts, stress, a browser, an audit"

setup: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "porcelain needs Python 3.11 or newer: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m uv --version >/dev/null 2>&1 || $(BIN)/python -m pip install --quiet uv
	$(BIN)/python -m uv pip install --quiet --python $(BIN)/python --constraint constraints.txt \
		--editable '.[batch,classifier,generator,studio,training,render,dev]'
	@$(BIN)/python -c 'from ctypes.util import find_library as find; \
		raise SystemExit(not all(map(find, ["EGL", "GL", "X11"])))' || $(MAKE) --no-print-directory graphics
	@command -v promtool >/dev/null || $(MAKE) --no-print-directory prometheus
	@touch $@

# What VTK loads to render without a display; a desktop has it, a bare server has not.
graphics:
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
			--no-install-recommends libegl1 libgl1 libgl1-mesa-dri libx11-6 libxrender1 >/dev/null; \
	else echo "Rendering needs the libraries libEGL, libGL and libX11; on Debian and Ubuntu:" \
		"sudo apt-get install libegl1 libgl1 libgl1-mesa-dri libx11-6 libxrender1"; fi

# What the rules are tested with; without it those tests are skipped.
prometheus:
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
			--no-install-recommends prometheus >/dev/null; \
	else echo "The tests of the alert rules need promtool and prometheus; on Debian and Ubuntu:" \
		"sudo apt-get install prometheus"; fi

# What is made from code: docs/metrics.md, Prometheus' rules, Grafana's dashboards.
monitoring: setup
	$(BIN)/python -m monitoring

demo: setup
	$(BIN)/porcelain demo

serve: setup
	@test -f demo/classifier/bundle.json && test -f demo/generator/bundle.json || $(BIN)/porcelain demo
	$(BIN)/porcelain serve all --classifier demo/classifier --generator demo/generator \
		--pictures demo/photos

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Two at a time, each with one thread; a module's tests stay together, for the servers they share.
test: lint
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile

# -rs: says what could not be tested here, and why.
test-all: lint
	$(BIN)/pytest -m '' -rs

# Strictly: a warning, a dead link among pages for instance, is an error.
docs: setup
	$(BIN)/sphinx-build -q -W --keep-going -b html docs build/docs
	@echo "open build/docs/index.html"

# Pinned versions of everything, without download addresses.
constraints: setup
	$(BIN)/python -m uv pip compile --quiet --python-version 3.11 --no-emit-index-url --no-annotate \
		--no-header --upgrade --extra batch --extra cluster --extra classifier --extra generator --extra studio --extra training --extra render --extra dev \
		pyproject.toml --output-file constraints.txt

clean:
	rm -rf $(VENV) demo build dist
