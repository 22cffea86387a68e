"""Grafana dashboards made from the panels."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from grafana_foundation_sdk.builders import (
    common,
    dashboard,
    heatmap,
    prometheus,
    timeseries,
)
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import GraphThresholdsStyleMode, LegendDisplayMode
from grafana_foundation_sdk.models.dashboard import (
    DataSourceRef,
    Threshold,
    ThresholdsMode,
    VariableRefresh,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from monitoring.objectives import CLASSIFIER, GENERATOR, Objectives
from monitoring.panels import Panel, Rows, classifier_rows, generator_rows

WIDTH: Final = 24
HEIGHT: Final = 8
SOURCE: Final = DataSourceRef(type_val="prometheus", uid="${datasource}")


def dashboards() -> Mapping[str, dict[str, Any]]:
    """File name to dashboard."""
    return {
        f"{service.job}.json": _dashboard(service, rows)
        for service, rows in ((CLASSIFIER, classifier_rows()), (GENERATOR, generator_rows()))
    }


def _dashboard(service: Objectives, rows: Rows) -> dict[str, Any]:
    builder = (
        dashboard.Dashboard(f"Porcelain {service.kind}")
        .uid(service.job)
        .tags(["porcelain"])
        .refresh("30s")
        .time("now-6h", "now")
        .timezone("browser")
        .with_variable(dashboard.DatasourceVariable("datasource").type("prometheus"))
        .with_variable(
            dashboard.QueryVariable("instance")
            .datasource(SOURCE)
            .query(f'label_values(porcelain_workers_expected{{job="{service.job}"}}, instance)')
            .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
            .multi(True)
            .include_all(True)
            .all_value(".*")
        )
    )
    for title, panels in rows.items():
        builder = builder.with_row(dashboard.Row(title))
        for panel in panels:
            builder = builder.with_panel(_panel(panel, WIDTH // min(3, len(panels))))
    built: dict[str, Any] = json.loads(JSONEncoder(sort_keys=True).encode(builder.build()))
    return built


def _panel(panel: Panel, width: int) -> timeseries.Panel | heatmap.Panel:
    made = heatmap.Panel().calculate(False) if panel.heat else _timeseries(panel)
    made = made.title(panel.title).description(panel.description).unit(panel.unit)
    made = made.datasource(SOURCE).span(width).height(HEIGHT)
    for number, (legend, expression) in enumerate(panel.queries.items()):
        query = prometheus.Dataquery().expr(expression).legend_format(legend)
        query = query.ref_id(chr(ord("A") + number)).range()
        made = made.with_target(query.format(PromQueryFormat.HEATMAP) if panel.heat else query)
    return made


def _timeseries(panel: Panel) -> timeseries.Panel:
    made = timeseries.Panel().min(0).fill_opacity(8)
    made = made.legend(common.VizLegendOptions().display_mode(LegendDisplayMode.LIST))
    if panel.limit is None:
        return made
    steps = [Threshold(value=None, color="green"), Threshold(value=panel.limit, color="red")]
    style = common.GraphThresholdsStyleConfig().mode(GraphThresholdsStyleMode.DASHED)
    return made.thresholds(
        dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)
    ).thresholds_style(style)
