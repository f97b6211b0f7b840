"""How the benchmarks' pictures look: no background and middle tones, readable on light and on dark pages."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure as Picture

from benchmarks.figures import Figure

INK = "#7d8590"
OURS, PEER, THIRD = "#d9730d", "#2f81f7", "#3fa34d"
STYLE: Any = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "bench",
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": INK,
    "grid.alpha": 0.25,
}


@contextmanager
def picture(path: Path, *, width: float = 9.0, height: float = 4.0) -> Iterator[Picture]:
    """An empty picture; written as SVG at the end, the same bytes for the same content."""
    with mpl.rc_context(STYLE):
        figure = Picture(figsize=(width, height), layout="constrained")
        yield figure
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, format="svg", transparent=True, metadata={"Date": None})


def bars(
    figures: Mapping[str, Figure], title: str, path: Path, *, ours: str = "ours", log: bool = False
) -> None:
    """One bar a contender, its median, with a dot for each round. Names that begin with `ours` have the colour for that."""
    with picture(path, height=0.6 + 0.3 * len(figures)) as figure:
        axes = figure.subplots()
        names = sorted(figures, key=lambda name: figures[name].median)
        medians = [figures[name].median for name in names]
        colours = [OURS if name.startswith(ours) else PEER for name in names]
        axes.barh(names, medians, color=colours, alpha=0.75, height=0.62)
        for place, name in enumerate(names):
            values = figures[name].values
            axes.scatter(values, [place] * len(values), s=8, color=INK, zorder=3, linewidths=0)
        for place, median in enumerate(medians):
            axes.annotate(
                f"{median:,.0f}" if median >= 100 else f"{median:.3g}",
                (max(figures[names[place]].values), place),
                xytext=(5, 0),
                textcoords="offset points",
                va="center",
                fontsize=8,
            )
        axes.set_title(title, loc="left")
        axes.grid(axis="x")
        axes.margins(x=0.08)
        if log:
            axes.set_xscale("log")
        else:
            axes.set_xlim(left=0)


def distributions(
    samples: Mapping[str, Sequence[float]], title: str, path: Path, *, ours: str = "ours"
) -> None:
    """What share of the samples is at most so long, on a logarithmic axis, in milliseconds."""
    with picture(path) as figure:
        axes = figure.subplots()
        for place, (name, values) in enumerate(samples.items()):
            ordered = sorted(values)
            shares = [(number + 1) / len(ordered) * 100 for number in range(len(ordered))]
            mine = name.startswith(ours)
            axes.step(
                ordered,
                shares,
                where="post",
                label=name,
                color=OURS if mine else None,
                linewidth=2 if mine else 1.1,
                linestyle="-" if mine else ("--", ":", "-.")[place % 3],
            )
        axes.set_xscale("log")
        axes.set_title(title, loc="left")
        axes.set_xlabel("milliseconds")
        axes.set_ylabel("% at most")
        axes.grid()
        axes.legend(frameon=False, fontsize=8, loc="lower right")
