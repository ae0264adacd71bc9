"""Write docs/metrics.md: every metric as its file in mlipilot/evaluation/metrics/ declares it.

python ci/metrics_page.py
"""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Iterator
from functools import partial
from importlib import import_module
from pathlib import Path

from mlipilot.audit.files import write_atomic
from mlipilot.evaluation.catalog import GROUPS
from mlipilot.evaluation.declaration import Group, Metric

PAGE = Path(__file__).resolve().parents[1] / "docs" / "metrics.md"
HEAD = """# Metrics

Made by `python ci/metrics_page.py` from what the files of `mlipilot/evaluation/metrics/` declare. A metric is
one file there: `mlipilot/evaluation/declaration.py` says what it declares, and everything else finds it.

A scorecard's `settings.system` says what the evaluator has before it, and with that which sections of the
settings are read, and which metrics there are (a gate on another is refused):

- `crystal` (default). Truth: a calculator, ASE's EMT, whose values are kept in `reference.json`.
- `structures`. Truth: labelled frames, periodic or not. Errors of the stress where all of them have one.
- `molecules`. Truth: labelled frames, and files of properties.

Without a crystal the truth is in files of the data set (`evaluation/frames.py` and
`evaluation/reference_molecules.py` say their format), so that no quantum chemistry runs here. What the data
have no file or label for is not measured; a scorecard that judges it is bad input.

What is *of the exam* is measured once, at a lineage's end beside the sealed split, unless the scorecard
judges by one of the metrics that the same measurement yields: then with the others.
"""
ROWS = """\
| name | what people call it | unit | better | where `settings.system` is |
| --- | --- | --- | --- | --- |
"""


def page() -> str:
    """The whole page."""
    files: dict[str, list[Group]] = {}
    for group in GROUPS:
        files.setdefault(_module(group), []).append(group)
    return "\n".join([HEAD, *("\n".join(_section(module, groups)) for module, groups in files.items())])


def _module(group: Group) -> str:
    measure = group.measure.func if isinstance(group.measure, partial) else group.measure
    return measure.__module__


def _section(module: str, groups: list[Group]) -> Iterator[str]:
    text = inspect.getdoc(import_module(module)) or ""
    title, _, rest = text.partition("\n\n")
    yield f"## `{module.rpartition('.')[2]}.py`\n\n{title}\n"
    if rest:
        yield f"{rest}\n"
    sources = [group.source for group in groups if group.source]
    if sources:
        yield f"After {'; '.join(sources)}.\n"
    if all(group.exam for group in groups):
        yield "Of the exam.\n"
    yield ROWS + "".join(_row(metric) for group in groups for metric in group.metrics)


def _row(metric: Metric) -> str:
    better = {"lower": "lower", "higher": "higher", "none": "informs only"}[metric.better]
    cells = [f"`{metric.name}`", metric.label, metric.unit, better, ", ".join(metric.systems)]
    return f"| {' | '.join(cells)} |\n"


if __name__ == "__main__":
    argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0]).parse_args()
    write_atomic(PAGE, page())
