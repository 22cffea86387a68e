"""The README and the documentation promise only what is there."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from PIL import Image

from porcelain.cli.main import build_app

ROOT = Path(__file__).parents[1]
PAGES = {
    page.relative_to(ROOT): page.read_text(encoding="utf-8")
    for page in [*ROOT.glob("*.md"), *sorted((ROOT / "docs").glob("*.md"))]
}
README = PAGES[Path("README.md")]


def commands(program: str) -> list[list[str]]:
    """Every use of `program` in the pages' shell blocks, split as a shell would."""
    blocks = [
        block
        for text in PAGES.values()
        for block in re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL)
    ]
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    split = [shlex.split(line, comments=True) for line in lines]
    return [words[1:] for words in split if words and words[0] == program]


@pytest.mark.parametrize("words", commands("porcelain"), ids=" ".join)
def test_every_porcelain_command_is_one(words: list[str]) -> None:
    context = typer.main.get_command(build_app()).make_context(
        "porcelain", list(words), resilient_parsing=True
    )
    command, rest = context.command, words
    while hasattr(command, "commands"):
        assert rest[0] in command.commands
        command, rest = command.commands[rest[0]], rest[1:]
    known = {
        option
        for parameter in command.params
        for option in (*parameter.opts, *parameter.secondary_opts)
    }
    assert {word for word in rest if word.startswith("--")} <= known


def test_every_make_target_is_one() -> None:
    targets = {words[0] for words in commands("make")}
    for text in PAGES.values():
        targets |= set(re.findall(r"`make ([a-z-]+)`", text))
    makefile = (ROOT / "Makefile").read_text()
    assert {"demo", "serve", "test"} <= targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target


def test_every_benchmark_module_is_there() -> None:
    modules = re.findall(r"python -m (benchmarks\.\w+)", "\n".join(PAGES.values()))
    assert modules
    for module in modules:
        assert (ROOT / (module.replace(".", "/") + ".py")).is_file(), module


def test_every_linked_file_is_there() -> None:
    for page, text in PAGES.items():
        for target in re.findall(r"\]\(([^)#]+)\)", text):
            if "://" not in target:
                assert (ROOT / page.parent / target).exists(), (page, target)


def test_the_readme_stays_short() -> None:
    assert len(README.splitlines()) <= 200


def test_the_site_builds_without_a_warning_or_a_remote_script(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html"]
    command = [*build, "-d", str(tmp_path / "doctrees"), str(ROOT / "docs"), str(tmp_path / "site")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    pages = list((tmp_path / "site").glob("*.html"))
    assert len(pages) > 10
    for page in pages:
        loaded = re.findall(
            r"<(?:script|link|img)\b[^>]*(?:src|href)=\"(https?:[^\"]*)", page.read_text()
        )
        assert loaded == [], page.name


@pytest.mark.slow
def test_the_demo_runs_and_goes_on_where_it_was(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "porcelain", "demo", "--out", str(tmp_path / "demo")]
    command += ["--count", "80", "--epochs", "2", "--backbone", "mobilenetv3_small_050"]
    command += ["--pretrained", "none", "--steps", "2", "--seeds", "1", "--agreement", "0"]
    first = subprocess.run(command, capture_output=True, text=True, timeout=1800, check=False)
    assert first.returncode == 0, first.stderr[-2000:]
    for task in ("dynasty", "glaze", "kiln", "type"):
        assert task in first.stdout
    for page in ("report", "synthetic", "experiment/report"):
        assert (tmp_path / "demo" / page / "report.html").stat().st_size > 10_000
    entry = (tmp_path / "demo/index.html").read_text(encoding="utf-8")
    linked = re.findall(r'(?:src|href)="([^"]+)"', entry)
    assert len(linked) >= 5
    for target in linked:
        assert "://" in target or (tmp_path / "demo" / target).is_file(), target
    assert Image.open(tmp_path / "demo/generated.png").size == (128, 128)
    second = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert second.returncode == 0, second.stderr[-2000:]
    assert second.stderr.count("is there already") == 8
