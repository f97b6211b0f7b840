"""The benchmarks' pictures."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.ticker import LogFormatter

from benchmarks.figures import Figure
from docs.pictures import BLUE as PEER
from docs.pictures import GREEN as THIRD
from docs.pictures import INK, picture
from docs.pictures import ORANGE as OURS

__all__ = ["OURS", "PEER", "THIRD", "bars", "distributions", "picture"]


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
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1, 0.4)))
        axes.set_title(title, loc="left")
        axes.set_xlabel("milliseconds")
        axes.set_ylabel("% at most")
        axes.grid()
        if len(samples) > 1:
            figure.legend(frameon=False, fontsize=8, loc="outside right center")
