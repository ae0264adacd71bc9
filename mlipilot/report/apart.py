"""What lineages of one run did not have in common, and which of their figures do not compare for that."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from mlipilot.audit.surroundings import Machine
from mlipilot.evaluation.catalog import CATALOG, OF_THE_MACHINE
from mlipilot.report.text import joined, metric_label
from mlipilot.report.view import LineageView
from mlipilot.untrusted import one_line


def apart(views: Sequence[LineageView]) -> list[str]:
    """Sentences on clusters, images, versions and machines; none where all is the same."""
    machines: dict[int, list[str]] = {}
    for view in (view for view in views if view.machines):
        kinds = {one_line(str(Machine.model_validate(kind)), 120) for kind in view.machines}
        machines[view.lineage.number] = sorted(kinds)
    told = [
        _told("cluster", {view.lineage.number: view.clusters for view in views}),
        _told("image (SHA-256)", {view.lineage.number: _image(view) for view in views}),
        *(_told(name, found) for name, found in _versions(views).items()),
        _told("machine", machines),
    ]
    said = [sentence for sentence in told if sentence]
    return said + (list(_of_the_machine(views[0])) if _told("machine", machines) else [])


def _image(view: LineageView) -> list[str]:
    image = view.state.started.image_sha256 if view.state.started else None
    return [] if image is None else [one_line(image, 80)]


def _versions(views: Sequence[LineageView]) -> dict[str, dict[int, list[str]]]:
    found: defaultdict[str, dict[int, list[str]]] = defaultdict(dict)
    for view in views:
        for name, version in view.versions.items():
            found[one_line(name, 40)][view.lineage.number] = [one_line(version, 40)]
    return dict(sorted(found.items()))


def _told(what: str, by_lineage: dict[int, list[str]]) -> str:
    """ "By machine: X for lineages 0 and 1; Y for lineage 4."; empty where it is the same for all."""
    groups: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
    for number, values in sorted(by_lineage.items()):
        groups[tuple(values)].append(str(number))
    if len(groups) < 2:
        return ""
    parts = [
        f"{' and '.join(values) or 'none'} for lineage{'s' if len(numbers) > 1 else ''} {joined(numbers)}"
        for values, numbers in groups.items()
    ]
    return f"Not the same for all lineages: {what}: {'; '.join(parts)}."


def _of_the_machine(view: LineageView) -> Iterator[str]:
    """Which figures are a machine's as much as a model's, and whether the order above rests on them."""
    of_models = {name for name in OF_THE_MACHINE if CATALOG[name].better != "none"}
    ratios = {name for name in of_models if CATALOG[name].unit == "1"}
    timed, relative = (
        joined([metric_label(n) for n in sorted(names)]) for names in (of_models - ratios, ratios)
    )
    yield (
        f"Between lineages of different machines {timed} do not compare; {relative}, "
        "which is timed beside a reference on the same machine, does by and large. The weights of one recipe "
        "and seed are not the same bytes on both, either."
    )
    used = {term.metric for term in view.card.objective.terms} | {gate.metric for gate in view.gates}
    if of_them := [metric_label(name) for name in sorted(used & OF_THE_MACHINE)]:
        yield (
            f"The scorecard looks at {joined(of_them)}: a lineage may be ahead, or pass a gate, by its "
            "machine and not by its recipe."
        )
