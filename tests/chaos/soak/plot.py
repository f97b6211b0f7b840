"""The samples as small multiples, one panel a quantity."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from docs.pictures import BLUE, GREEN, INK, ORANGE, picture
from tests.chaos.soak.sampling import Sample

#: By kind of process; the second one of a kind is dashed.
COLOURS = {"worker": ORANGE, "scheduler": BLUE, "api": GREEN}
PANELS = (
    ("rss_mib", "resident memory, MiB"),
    ("pss_mib", "the same, shared pages divided, MiB"),
    ("descriptors", "open descriptors"),
    ("threads", "threads"),
    ("postgres_connections", "connections to PostgreSQL"),
    ("redis_connections", "connections to Redis"),
)


def plot(
    samples: Mapping[str, Sequence[Sample]], warm_up_s: float, worker_limit_mib: float, file: Path
) -> None:
    """`samples` by process."""
    with picture(file, height=8) as figure:
        for axes, (quantity, title) in zip(figure.subplots(3, 2).flat, PANELS, strict=True):
            for name, its in samples.items():
                axes.plot(
                    [each.at_s / 60 for each in its],
                    [getattr(each, quantity) for each in its],
                    color=COLOURS[name.partition("-")[0]],
                    linestyle="--" if name.endswith("-2") else "-",
                    linewidth=1.2,
                    label=name,
                )
            axes.axvspan(0, warm_up_s / 60, color=INK, alpha=0.12, linewidth=0)
            if quantity == "rss_mib":
                axes.axhline(worker_limit_mib, color=COLOURS["worker"], linewidth=0.8, linestyle=":")
                axes.annotate(
                    "a worker's limit",
                    (0.99, worker_limit_mib),
                    xycoords=("axes fraction", "data"),
                    ha="right",
                    va="bottom",
                    color=COLOURS["worker"],
                    fontsize=8,
                )
            axes.set_title(title, loc="left")
            axes.set_ylim(bottom=0)
            axes.margins(x=0)
            axes.grid(axis="y")
            axes.set_xlabel("minutes (shaded: warm-up)")
        handles, labels = axes.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), frameon=False)
