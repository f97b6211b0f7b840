"""How the pages' pictures look: no background and middle tones, readable on light and on dark pages."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

INK = "#7d8590"
ORANGE, BLUE, GREEN = "#d9730d", "#2f81f7", "#3fa34d"
STYLE: Any = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "cuebx",
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
def picture(path: Path, *, width: float = 9.0, height: float = 4.0) -> Iterator[Figure]:
    """An empty picture; written as SVG at the end, the same bytes for the same content."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, format="svg", transparent=True, metadata={"Date": None})
