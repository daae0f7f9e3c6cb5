"""A panel of a plan as Grafana draws it: units, colours, columns, by its own SDK. Pure.

What a panel asks stands in dashboards/*.yaml. The SDK is an extra that few need, so each function
imports the part of it that it uses.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from burnmeter import slo
from burnmeter.indicators import INDICATORS, threshold
from burnmeter.model import Objective
from burnmeter.provision.dashboard_files import Panel, Query, Thresholds

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders.common import ReduceDataOptions, VizLegendOptions
    from grafana_foundation_sdk.builders.dashboard import DashboardLink, ThresholdsConfig
    from grafana_foundation_sdk.builders.prometheus import Dataquery
    from grafana_foundation_sdk.models.dashboard import (
        DataSourceRef,
        DynamicConfigValue,
        Threshold,
    )
    from grafana_foundation_sdk.models.prometheus import PromQueryFormat

UNITS: Final[Mapping[str, str]] = {
    "": "short",
    "bytes": "bytes",
    "bytes per second": "Bps",
    "celsius": "celsius",
    "dollars": "currencyUSD",
    "dollars per hour": "prefix:$/h ",
    "joules": "joule",
    "per second": "suffix:/s",
    "processors": "suffix: CPUs",
    "ratio": "percentunit",
    "requests": "short",
    "requests per second": "reqps",
    "seconds": "s",
    "moment": "dateTimeFromNow",
    "times": "suffix:×",
    "tokens per second": "suffix: tok/s",
    "watts": "watt",
}
"""Our word for a unit -> Grafana's id of it."""
GREEN, ORANGE, RED, PLAIN = "green", "orange", "red", "text"
STATES: Final[Mapping[str, tuple[str, str]]] = {
    "0": ("● good", GREEN),
    "1": ("◇ not measured", ORANGE),
    "2": ("▲ burning", RED),
}
"""A word and a shape beside the colour."""
LOW_BUDGET_RATIO: Final = 0.25
Builder = Any
"""The SDK's builders share no type that has what all of them have."""


def source() -> "DataSourceRef":
    """The data source that is chosen at the top of a dashboard."""
    from grafana_foundation_sdk.models.dashboard import DataSourceRef

    return DataSourceRef(type_val="prometheus", uid="${datasource}")


def built(panel: Panel, number: int, objectives: Sequence[Objective]) -> Builder:
    """The panel as the SDK builds it."""
    made = _KINDS[panel.kind](panel, objectives)
    made = (
        made.id(number)
        .title(panel.title)
        .description(panel.description)
        .datasource(source())
        .height(panel.height)
        .span(panel.width)
        .unit(UNITS[panel.unit])
    )
    if panel.interval:
        made = made.interval(panel.interval)
    steps = list(_steps(panel.thresholds, objectives))
    return made.thresholds(_thresholds(steps)) if steps else made


# --- thresholds ----------------------------------------------------------------------------------


def _steps(wanted: Thresholds, objectives: Sequence[Objective]) -> "Iterator[Threshold]":
    """Colours from some values on; none where no objective says what is too much."""
    from grafana_foundation_sdk.models.dashboard import Threshold

    if wanted is None:
        return
    if isinstance(wanted, Mapping):
        values = {float(value): colour for value, colour in wanted.items()}
        yield Threshold(value=None, color=GREEN)
        yield from (Threshold(value=value, color=colour) for value, colour in values.items())
    elif wanted == "budget":
        yield Threshold(value=None, color=RED)
        yield Threshold(value=0.0, color=ORANGE)
        yield Threshold(value=LOW_BUDGET_RATIO, color=GREEN)
    elif wanted == "burn":
        yield Threshold(value=None, color=GREEN)
        yield Threshold(value=1.0, color=ORANGE)
        tiers = [tier for one in objectives for tier in slo.tiers(one)]
        pages = [tier.factor for tier in tiers if tier.severity == slo.PAGE]
        yield from (Threshold(value=round(least, 6), color=RED) for least in sorted(pages)[:1])
    else:
        yield from _of_objectives(wanted, objectives)


def _of_objectives(indicator: str, objectives: Sequence[Objective]) -> "Iterator[Threshold]":
    """What is promised of an indicator: above it is too much."""
    from grafana_foundation_sdk.models.dashboard import Threshold

    ours = [one for one in objectives if one.indicator == indicator]
    if INDICATORS[indicator].threshold is None:
        values = [round(1.0 - one.objective_ratio, 9) for one in ours]
    else:
        values = [value for one in ours if (value := threshold(one)) is not None]
    if values:
        yield Threshold(value=None, color=GREEN)
        yield Threshold(value=min(values), color=RED)


def _thresholds(steps: "Sequence[Threshold]") -> "ThresholdsConfig":
    from grafana_foundation_sdk.builders.dashboard import ThresholdsConfig
    from grafana_foundation_sdk.models.dashboard import ThresholdsMode

    return ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(list(steps))


# --- queries -------------------------------------------------------------------------------------


def _letter(number: int) -> str:
    return chr(ord("A") + number)


def _query(query: Query, number: int) -> "Dataquery":
    from grafana_foundation_sdk.builders.prometheus import Dataquery

    made = Dataquery().expr(query.expr).ref_id(_letter(number)).datasource(source())
    return made.legend_format(query.legend) if query.legend else made


def _over_time(made: Builder, panel: Panel) -> Builder:
    for number, query in enumerate(panel.queries):
        made = made.with_target(_query(query, number).range())
    return made


def _now(made: Builder, panel: Panel, form: "PromQueryFormat | None" = None) -> Builder:
    for number, query in enumerate(panel.queries):
        asked = _query(query, number).instant()
        made = made.with_target(asked.format(form) if form is not None else asked)
    return made


# --- kinds ---------------------------------------------------------------------------------------


def _stat(panel: Panel, _: Sequence[Objective]) -> Builder:
    from grafana_foundation_sdk.builders import stat
    from grafana_foundation_sdk.models.common import BigValueColorMode, BigValueGraphMode

    colours = BigValueColorMode.VALUE if panel.thresholds else BigValueColorMode.NONE
    made = stat.Panel().graph_mode(BigValueGraphMode.NONE).color_mode(colours)
    return _now(made.reduce_options(_last()), panel)


def _last() -> "ReduceDataOptions":
    from grafana_foundation_sdk.builders.common import ReduceDataOptions

    return ReduceDataOptions().calcs(["lastNotNull"])


def _lines(panel: Panel, _: Sequence[Objective]) -> Builder:
    from grafana_foundation_sdk.builders import common, timeseries
    from grafana_foundation_sdk.models.common import (
        GraphThresholdsStyleMode,
        TooltipDisplayMode,
        VisibilityMode,
    )

    made = (
        timeseries.Panel()
        .line_width(1)
        .fill_opacity(0)
        .show_points(VisibilityMode.NEVER)
        .legend(_legend())
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI))
    )
    if panel.thresholds:
        style = common.GraphThresholdsStyleConfig().mode(GraphThresholdsStyleMode.DASHED)
        made = made.thresholds_style(style)
    return _over_time(made, panel)


def _legend() -> "VizLegendOptions":
    from grafana_foundation_sdk.builders.common import VizLegendOptions
    from grafana_foundation_sdk.models.common import LegendDisplayMode, LegendPlacement

    made = VizLegendOptions().display_mode(LegendDisplayMode.LIST)
    return made.placement(LegendPlacement.BOTTOM).show_legend(True)


def _stack(panel: Panel, objectives: Sequence[Objective]) -> Builder:
    from grafana_foundation_sdk.builders.common import StackingConfig
    from grafana_foundation_sdk.models.common import StackingMode

    stacking = StackingConfig().mode(StackingMode.NORMAL).group("all")
    return _lines(panel, objectives).stacking(stacking).fill_opacity(40)


def _heatmap(panel: Panel, _: Sequence[Objective]) -> Builder:
    from grafana_foundation_sdk.builders import common, heatmap
    from grafana_foundation_sdk.models.common import ScaleDistribution
    from grafana_foundation_sdk.models.heatmap import HeatmapColorMode, HeatmapColorScale
    from grafana_foundation_sdk.models.prometheus import PromQueryFormat

    colour = (
        heatmap.HeatmapColorOptions()
        .mode(HeatmapColorMode.SCHEME)
        .scheme("Oranges")
        .scale(HeatmapColorScale.EXPONENTIAL)
        .exponent(0.5)
        .steps(64)
    )
    scale = common.ScaleDistributionConfig().type(ScaleDistribution.LINEAR)
    made = heatmap.Panel().calculate(False).color(colour).scale_distribution(scale)
    made = made.y_axis(heatmap.YAxisConfig().unit(UNITS[panel.unit]))
    made = made.cell_values(heatmap.CellValues().unit(UNITS["requests per second"]))
    for number, query in enumerate(panel.queries):
        asked = _query(query, number).range().format(PromQueryFormat.HEATMAP)
        made = made.with_target(asked)
    return made


def _bars(panel: Panel, _: Sequence[Objective]) -> Builder:
    from grafana_foundation_sdk.builders import bargauge
    from grafana_foundation_sdk.models.common import BarGaugeDisplayMode, VizOrientation

    made = (
        bargauge.Panel()
        .orientation(VizOrientation.HORIZONTAL)
        .display_mode(BarGaugeDisplayMode.BASIC)
        .reduce_options(_last())
    )
    return _now(made, panel)


def _table(panel: Panel, objectives: Sequence[Objective]) -> Builder:
    """A row for each set of labels that queries share, a column for each query."""
    from grafana_foundation_sdk.builders import table
    from grafana_foundation_sdk.builders.common import TableSortByFieldState
    from grafana_foundation_sdk.models.dashboard import DataTransformerConfig
    from grafana_foundation_sdk.models.prometheus import PromQueryFormat

    made = _now(table.Panel().show_header(True), panel, PromQueryFormat.TABLE)
    made = made.with_transformation(DataTransformerConfig(id_val="merge", options={}))
    names = {_value_of(n, panel): query.name for n, query in enumerate(panel.queries)}
    tidy = {"excludeByName": {"Time": True}, "indexByName": {}, "renameByName": names}
    made = made.with_transformation(DataTransformerConfig(id_val="organize", options=tidy))
    for query in panel.queries:
        made = made.override_by_name(query.name, list(_column(query, objectives)))
    if panel.sort:
        made = made.sort_by([TableSortByFieldState().display_name(panel.sort).desc(False)])
    for column, path in panel.links.items():
        made = made.override_by_name(column, [_link(column, path)])
    return made


def _value_of(number: int, panel: Panel) -> str:
    """What Grafana calls a query's values in a table."""
    return "Value" if len(panel.queries) == 1 else f"Value #{_letter(number)}"


def _column(query: Query, objectives: Sequence[Objective]) -> "Iterator[DynamicConfigValue]":
    from grafana_foundation_sdk.models.dashboard import (
        DynamicConfigValue,
        ValueMap,
        ValueMappingResult,
    )

    yield DynamicConfigValue(id_val="unit", value=UNITS[query.unit])
    if query.name == "state":
        said = {
            value: ValueMappingResult(text=text, color=colour, index=number)
            for number, (value, (text, colour)) in enumerate(STATES.items())
        }
        yield DynamicConfigValue(id_val="mappings", value=[ValueMap(options=said)])
        yield _cell("color-background")
    steps = list(_steps(query.thresholds, objectives))
    if steps:
        value = {"mode": "absolute", "steps": steps}
        yield DynamicConfigValue(id_val="thresholds", value=value)
        yield _cell("color-text")


def _cell(kind: str) -> "DynamicConfigValue":
    from grafana_foundation_sdk.models.dashboard import DynamicConfigValue

    return DynamicConfigValue(id_val="custom.cellOptions", value={"type": kind})


def _link(column: str, path: str) -> "DynamicConfigValue":
    from grafana_foundation_sdk.models.dashboard import DynamicConfigValue

    # Grafana writes the value as part of an address: of `org/model` the slash is no path.
    kept = "${datasource:queryparam}&${cluster:queryparam}&${__url_time_range}"
    url = f"{path}?var-{column}=${{__value.raw:percentencode}}&{kept}"
    return DynamicConfigValue(id_val="links", value=[{"title": "Open", "url": url}])


def _scatter(panel: Panel, _: Sequence[Objective]) -> Builder:
    """The first query across, the second up; a colour for each model, a point for each time."""
    from grafana_foundation_sdk.builders import xychart
    from grafana_foundation_sdk.models.dashboard import (
        DataTransformerConfig,
        DynamicConfigValue,
    )
    from grafana_foundation_sdk.models.prometheus import PromQueryFormat
    from grafana_foundation_sdk.models.xychart import SeriesMapping, XYShowMode

    made = xychart.Panel().mapping(SeriesMapping.AUTO).show(XYShowMode.POINTS)
    made = made.legend(_legend())
    for number, query in enumerate(panel.queries):
        asked = _query(query, number).range().format(PromQueryFormat.TABLE)
        made = made.with_target(asked)
    # Parted by model, a field is called `Value #A chat`: its axis is named by a pattern.
    for number, query in enumerate(panel.queries):
        label = DynamicConfigValue(id_val="custom.axisLabel", value=query.name)
        made = made.override_by_regexp(f"/^{_value_of(number, panel)}/", [label])
    tidy = {"excludeByName": {"Time": True}, "indexByName": {}, "renameByName": {}}
    for kind, options in (
        ("merge", {}),
        ("partitionByValues", {"fields": ["model"], "keepFields": False}),
        ("organize", tidy),
    ):
        made = made.with_transformation(DataTransformerConfig(id_val=kind, options=options))
    return made


def board_link(title: str, tag: str) -> "DashboardLink":
    """A list of all dashboards with a tag, for the top of each."""
    from grafana_foundation_sdk.builders.dashboard import DashboardLink
    from grafana_foundation_sdk.models.dashboard import DashboardLinkType

    return (
        DashboardLink(title)
        .type(DashboardLinkType.DASHBOARDS)
        .tags([tag])
        .as_dropdown(True)
        .include_vars(True)
        .keep_time(True)
    )


_KINDS: Final = {
    "stat": _stat,
    "lines": _lines,
    "stack": _stack,
    "heatmap": _heatmap,
    "bars": _bars,
    "table": _table,
    "scatter": _scatter,
}
