"""The style of all pictures, and how they are saved: colours, axes, PNG, and HTML with tooltips.

The same records give the same bytes. matplotlib is imported inside the functions, for the start-up time (about a second),
and used without pyplot, whose figures are global state that threads would share.
"""

from __future__ import annotations

import html
import io
import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np

from mfbench.core.arrays import Floats64
from mfbench.core.inert import in_picture, visible
from mfbench.core.objective import Objective
from mfbench.runs.records import Record
from mfbench.spec import Value

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

# Okabe and Ito's palette, which colour-blind people can tell apart; without its yellow, which is too pale for lines.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
TRAIN, VALID, GREY = "#0072B2", "#D55E00", "#666666"
DPI = 120
NARROW = 4.2
"""The width in inches of a narrow picture, for phones: its panels stand below each other."""

SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
LINK = f"{{{XLINK}}}href"
TIP = "tip: "
STYLE = """body { margin: 1em; font: 14px sans-serif; color: #333 } svg { max-width: 100%; height: auto }
.tip:hover path { stroke-width: 3; stroke-opacity: 1 } .tip:hover use { opacity: 1; stroke-width: 3 }
.tip path.reach { stroke-width: 9; stroke-opacity: 0; pointer-events: stroke }"""


def save(figure: Figure) -> bytes:
    """The figure as PNG, without the version of matplotlib in it, so that the bytes depend on the records alone."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()


def save_page(figure: Figure, title: str) -> bytes:
    """The figure as one HTML page: an SVG whose lines and points show the tooltips set by `tip`, `points` and `curves`."""
    from matplotlib import rc_context

    buffer = io.BytesIO()
    with rc_context({"svg.hashsalt": "mfbench", "svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    for prefix, namespace in {"": SVG, "xlink": XLINK}.items():  # HTML knows no others
        ElementTree.register_namespace(prefix, namespace)
    root = ElementTree.fromstring(buffer.getvalue())
    for group in root.iter():
        # An artist is a group with an id, and each of many that are one artist is a link.
        if (words := group.get("id") or group.get(LINK) or "").startswith(TIP):
            group.tag, group.attrib = f"{{{SVG}}}g", {"class": "tip"}
            for line in [path for path in group if path.tag == f"{{{SVG}}}path"]:
                # A thin line is hard to point at, so an invisible wide one lies over it.
                reach = ElementTree.SubElement(group, line.tag, {"d": line.get("d", ""), "fill": "none", "class": "reach"})
                reach.set("stroke", "#000")
            tooltip = ElementTree.Element(f"{{{SVG}}}title")
            tooltip.text = words.removeprefix(TIP)
            group.insert(0, tooltip)
    for drawn in root.iter():  # inline styles become attributes, which the page's style sheet can override
        for item in drawn.attrib.pop("style", "").split(";"):
            name, _, value = item.partition(":")
            if value:
                drawn.set(name.strip(), value.strip())
    head = f'<meta charset="utf-8"><title>{html.escape(title)}</title><style>{STYLE}</style>'
    body = ElementTree.tostring(root, encoding="unicode")
    return f"<!doctype html>\n<html><head>{head}</head><body>{body}</body></html>\n".encode()


def tip(artist: Artist, words: str) -> None:
    """Set the tooltip of this line or point on the page that `save_page` makes."""
    artist.set_gid(TIP + visible(words))


# --- what the pictures share -----------------------------------------------------------------------------------------


def hyperparameters(record: Record) -> str:
    """All hyperparameters of the run as text, e.g. `K=8 alpha=0.01 beta=0.05`."""
    return " ".join(f"{name}={shown(value)}" for name, value in record.hyper.items())


def shown(value: Value) -> str:
    """The value of a hyperparameter as text, a float to three significant digits."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def value_of(record: Record) -> float:
    """The value of the run's objective as it is drawn, lower is better: its cost; NaN if there is none."""
    return record.cost if math.isfinite(record.cost) else math.nan


def name_values(axis: Axis, records: Sequence[Record], label: str = "{}") -> None:
    """Label an axis of such values with their name; where higher is better, so that better is lower, as for an error."""
    from matplotlib.ticker import FuncFormatter

    objective = records[0].objective if records else Objective()
    axis.set_label_text(label.format(objective.title))
    if objective.higher_is_better:
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{-value:g}"))


def words_of(record: Record) -> str:
    """The tooltip of a trial: title, hyperparameters, value of its objective."""
    valid = f"{record.objective.title} {record.judged:.4f}" if record.judged is not None else record.outcome
    return f"{record.title}  {hyperparameters(record)}  {valid}" + ("  pruned" if record.outcome == "pruned" else "")


def best_of_each(records: Iterable[Record]) -> Mapping[str, Record]:
    """The completed record with the best value of its objective, by backend; a backend without one is left out."""
    best: dict[str, Record] = {}
    for record in records:
        if record.outcome == "completed" and math.isfinite(value_of(record)):
            rival = best.get(record.backend)
            if rival is None or (value_of(record), record.number) < (value_of(rival), rival.number):
                best[record.backend] = record
    return best


def colours_of(records: Iterable[Record]) -> dict[str, str]:
    """A colour for each backend, in alphabetical order, so that all pictures of a study use the same ones."""
    names = sorted({record.backend for record in records})
    return {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(names)}


def numbers(values: Sequence[float | None]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """float64 [n], NaN for None."""
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def what_matters(values: Sequence[float]) -> tuple[float, float] | None:
    """The range to show, without values far above the median, e.g. of a run that diverged; None if no value is finite."""
    finite = np.array([value for value in values if math.isfinite(value)])
    if len(finite) == 0:
        return None
    low, middle, high = np.quantile(finite, [0, 0.5, 1])
    high = min(high, low + 4 * max(middle - low, 1e-12)) if high > middle else high
    return float(low), float(high)


def limit(axes: Axes, values: Sequence[float]) -> None:
    """Limit the value axis to the range of `what_matters`, with a margin."""
    if (shown := what_matters(values)) is not None:
        low, high = shown
        margin = 0.06 * (high - low) or 0.01 * abs(high) or 0.01
        axes.set_ylim(low - margin, high + 2 * margin)


def log_ticks(axes: Axes, which: str, values: Sequence[float]) -> None:
    """Make the axis `x` or `y` logarithmic, with readable tick labels."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axis = axes.xaxis if which == "x" else axes.yaxis
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    if max(values) < 100 * min(values):  # powers of ten alone would leave one label or none
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())


def points(axes: Axes, x: Sequence[float], y: Sequence[float], tips: Sequence[str], **style: Any) -> None:
    """Draw points as `axes.scatter` does, each with a tooltip: all of them as one artist, as thousands take seconds."""
    axes.scatter(x, y, urls=[TIP + visible(words) for words in tips], **style)


def curves(
    axes: Axes, drawn: Sequence[tuple[Sequence[float], Floats64]], tips: Sequence[str], colours: Sequence[str], **style: Any
) -> None:
    """Draw lines (x, y), each with a tooltip, as one artist; a line of one point is a dot. To be followed by `fit`."""
    from matplotlib.collections import LineCollection

    kept = [k for k, (x, _) in enumerate(drawn) if len(x) > 1]
    axes.add_collection(
        LineCollection(
            [np.column_stack(drawn[k]) for k in kept], colors=[colours[k] for k in kept],
            urls=[TIP + visible(tips[k]) for k in kept], **style,
        ),
        autolim=False,
    )  # fmt: skip
    dots = [k for k, (x, _) in enumerate(drawn) if len(x) == 1]
    if dots:
        x, y = ([float(drawn[k][axis][0]) for k in dots] for axis in (0, 1))
        points(axes, x, y, [tips[k] for k in dots], c=[colours[k] for k in dots], **style)


def fit(axes: Axes, x: Sequence[float], y: Sequence[float] | None = None) -> None:
    """Adjust the limits of the axes to these data, of the x axis alone if y is None."""
    axes.update_datalim(np.column_stack([x, np.zeros(len(x)) if y is None else y]), updatey=y is not None)
    axes.autoscale_view()


def plain(axes: Axes) -> None:
    """Remove the top and right spines, and add a pale grid."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)


ABREAST = 3
PANEL = 3.5
"""The width of a panel in inches."""


def sheet(width: float, height: float, narrow: bool) -> Figure:
    """An empty figure of this size in inches; a narrow one is `NARROW` wide."""
    from matplotlib.figure import Figure

    return Figure(figsize=(min(width, NARROW) if narrow else width, height), layout="constrained")


def panel_grid(
    names: Sequence[str], height: float, width: float = PANEL, narrow: bool = False
) -> tuple[Figure, dict[str, Axes]]:
    """A figure with a panel for each name (at least one), with a shared value axis; and the panels by name.

    Three panels to a row; in a narrow figure one.
    """
    names = names or [""]
    columns = 1 if narrow else min(ABREAST, len(names))
    rows = -(-len(names) // columns)
    figure = sheet(max(6.0, width * columns + 0.6), height * rows + 0.6, narrow)
    grid = list(figure.subplots(rows, columns, sharey=True, squeeze=False).flat)
    panels = dict(zip(names, grid, strict=False))
    for unused in grid[len(names) :]:
        unused.remove()
    for axes in panels.values():
        plain(axes)
    return figure, panels


def in_lines(text: str, inches: float) -> str:
    """The text in lines that fit into a picture or panel of this width."""
    return textwrap.fill(in_picture(text), int(11.5 * inches))


def legend_outside(figure: Figure, entries: Sequence[Artist], columns: int, below: bool = False) -> None:
    """Put a legend above or below the panels, in that many columns or in as many as the figure is wide enough for."""
    given: dict[str, Any] = {"handles": entries, "loc": f"outside {'lower' if below else 'upper'} center"}
    for ncols in range(max(1, columns), 0, -1):
        legend = figure.legend(**given, ncols=ncols, frameon=False, fontsize=9)
        if ncols == 1 or legend.get_window_extent().width <= figure.bbox.width:
            return
        legend.remove()


def legend_entry(
    label: str,
    colour: str = GREY,
    marker: str = "o",
    size: float = 6,
    face: str | None = None,
    line: float = 0,
    dash: bool = False,
) -> Line2D:
    """A legend entry: a marker, or a line if `line`, its width, is given."""
    from matplotlib.lines import Line2D

    label = in_picture(label)
    if line:
        return Line2D([], [], linestyle="--" if dash else "-", linewidth=line, color=colour, label=label)
    return Line2D(
        [], [], linestyle="", marker=marker, markersize=size, color=colour, markerfacecolor=face or colour, label=label
    )
