"""What the benchmarks write into `docs/performance.md`: a section each."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType

from benchmarks.conditions import in_words
from benchmarks.figures import Figure, Result, Target
from docs.sections import write_section

PAGE = Path(__file__).parent.parent / "docs" / "performance.md"
IMAGES = PAGE.parent / "images"


def table(result: Result) -> str:
    """Markdown: figures, then targets, then audits."""
    lines = ["| measured | median | range | rounds |", "|---|---:|---:|---:|"]
    lines += [_figure(name, figure) for name, figure in result.figures.items()]
    if result.targets:
        lines += ["", "| target | to reach | reached | met |", "|---|---:|---:|---|"]
        lines += [_target(name, target) for name, target in result.targets.items()]
    audits = ", ".join(f"{name}{': ' + wrong if wrong else ''}" for name, wrong in result.audits.items())
    return "\n".join([*lines, "", f"Audited: {audits or 'nothing'}."])


def write(results: Sequence[Result], modules: Mapping[str, ModuleType]) -> None:
    """Each result into its section; a module with `plot(result, path)` gets a picture there."""
    for result in results:
        parts = [f"`python -m benchmarks {result.name}`. {in_words(result.conditions)}", table(result)]
        plot = getattr(modules[result.name], "plot", None)
        if plot is not None:
            IMAGES.mkdir(exist_ok=True)
            image = IMAGES / f"bench-{result.name}.svg"
            plot(result, image)
            parts.append(f"![{result.question}](images/{image.name})")
        bound = result.details.get("bound_by")
        if bound:
            parts.append(f"**What bounds it:** {bound}")
        write_section(PAGE, result.name, "\n\n".join(parts))


def _figure(name: str, figure: Figure) -> str:
    low, high = min(figure.values), max(figure.values)
    spread = f"{_number(low)} – {_number(high)}" if len(figure.values) > 1 else ""
    return f"| {name} | {_number(figure.median)} {figure.unit} | {spread} | {len(figure.values)} |"


def _target(name: str, target: Target) -> str:
    sign = "≥" if target.sense == "at least" else "≤"
    value = "–" if target.value is None else f"{_number(target.value)} {target.unit}"
    met = "yes" if target.met else f"**no**{': ' + target.why if target.why else ''}"
    return f"| {name} | {sign} {_number(target.target)} {target.unit} | {value} | {met} |"


def _number(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
