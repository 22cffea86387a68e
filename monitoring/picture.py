"""A dashboard's queries drawn without Grafana: to look at, and to show.

`python -m monitoring.picture classifier --prometheus http://127.0.0.1:9090 --out picture.png`
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode
from urllib.request import urlopen

from monitoring.panels import Panel, Rows, classifier_rows, generator_rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS: Final = 4
POINTS: Final = 120
ROWS: Final = {"classifier": classifier_rows, "generator": generator_rows}


def draw(rows: Rows, prometheus: str, out: Path, *, seconds: int, rate: str) -> int:
    """Draw every panel over the last `seconds` as PNG.

    Args:
        rows: A dashboard's.
        prometheus: Its address.
        out: The picture.
        seconds: How far back.
        rate: The range in place of Grafana's `$__rate_interval`.

    Returns:
        How many panels have data.
    """
    from matplotlib.figure import Figure

    panels = [panel for group in rows.values() for panel in group if not panel.gpu]
    lines = -(-len(panels) // COLUMNS)
    figure = Figure(figsize=(4.2 * COLUMNS, 2.4 * lines), layout="constrained")
    axes = figure.subplots(lines, COLUMNS, squeeze=False).flatten()
    drawn = [
        _draw(place, panel, prometheus, seconds, rate)
        for place, panel in zip(axes, panels, strict=False)
    ]
    for place in axes[len(panels) :]:
        place.set_visible(False)
    figure.savefig(out, dpi=80)
    return sum(drawn)


def _draw(axes: Axes, panel: Panel, prometheus: str, seconds: int, rate: str) -> bool:
    found = False
    for legend, query in panel.queries.items():
        expression = query.replace("$__rate_interval", rate).replace("$instance", ".*")
        for series in _range(prometheus, expression, seconds):
            times, values = zip(*series["values"], strict=True)
            label = legend
            for name, value in series["metric"].items():
                label = label.replace(f"{{{{{name}}}}}", value)
            end = times[-1]
            axes.plot([t - end for t in times], [float(v) for v in values], label=label, lw=1)
            found = True
    if panel.limit is not None:
        axes.axhline(panel.limit, color="crimson", ls="--", lw=0.8)
    axes.set_title(f"{panel.title} ({panel.unit})", fontsize=8)
    axes.tick_params(labelsize=6)
    axes.set_ylim(bottom=0)
    if found:
        axes.legend(fontsize=5, loc="upper left")
    return found


def _range(prometheus: str, expression: str, seconds: int) -> list[dict[str, Any]]:
    now = time.time()
    parameters = {
        "query": expression,
        "start": now - seconds,
        "end": now,
        "step": max(1, seconds / POINTS),
    }
    url = f"{prometheus}/api/v1/query_range?{urlencode(parameters)}"
    with urlopen(url, timeout=30) as response:
        result: list[dict[str, Any]] = json.load(response)["data"]["result"]
    return result


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw one dashboard."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=ROWS)
    parser.add_argument("--prometheus", default="http://127.0.0.1:9090")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=int, default=3600)
    parser.add_argument("--rate", default="1m", help="range of rates")
    given = parser.parse_args(arguments)
    rows = ROWS[given.kind]()
    draw(rows, given.prometheus, given.out, seconds=given.seconds, rate=given.rate)


if __name__ == "__main__":
    main()
