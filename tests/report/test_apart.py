"""Lineages of different clusters, images, machines and versions: told where they are compared."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mlipilot.audit.places import Place
from mlipilot.paths import RunPaths
from mlipilot.report.apart import apart
from mlipilot.report.export import Export
from mlipilot.report.page import context
from mlipilot.report.ranking import RunView, load_run
from mlipilot.report.view import LineageView
from mlipilot.report.write import write_report
from tests.merge.conftest import make_lineage


@pytest.fixture
def views(tmp_path: Path) -> list[LineageView]:
    for number, cluster in ((0, "alpha"), (1, "alpha"), (4, "beta")):
        make_lineage(tmp_path / "cu_emt", number, Place(cluster, f"/home/{cluster}"))
    return load_run(RunPaths(tmp_path / "cu_emt")).lineages


def changed(view: LineageView, **fields: object) -> LineageView:
    assert view.state.started is not None
    return replace(view, state=replace(view.state, started=view.state.started.model_copy(update=fields)))


def test_where_all_is_the_same_nothing_is_said(compared: RunView) -> None:
    assert apart(compared.lineages) == []


def test_clusters_alone_do_not_make_figures_incomparable(views: list[LineageView]) -> None:
    assert apart(views) == [
        "Not the same for all lineages: cluster: alpha for lineages 0 and 1; beta for lineage 4."
    ]


def test_images_and_versions_are_told(views: list[LineageView]) -> None:
    a, b = "a" * 64, "b" * 64
    versions = views[0].versions
    views[0], views[1] = (changed(view, image_sha256=a) for view in views[:2])
    views[2] = changed(views[2], image_sha256=b, versions=versions | {"torch": "9.9\x1b[2J"})
    said = apart(views)
    assert f"image (SHA-256): {a} for lineages 0 and 1; {b} for lineage 4." in said[1]
    assert said[2].endswith(f"torch: {versions['torch']} for lineages 0 and 1; 9.9 for lineage 4.")
    assert len(said) == 3


def test_of_different_machines_it_is_said_what_does_not_compare(views: list[LineageView]) -> None:
    views[2] = replace(views[2], machines=[{"processor": "Xeon", "gpu": "H100"}])
    said = " ".join(apart(views))
    assert "machine: " in said and "Xeon with H100 for lineage 4." in said
    assert "throughput" in said and "peak memory" in said and "do not compare" in said
    assert "share of the timing" not in said and "noise of" not in said, "these only inform of a timing"
    # relative_cost is a gate of the scorecard
    assert "The scorecard looks at relative cost" in said


def test_the_report_has_it_on_its_page_and_in_its_text(
    views: list[LineageView], quick_pictures: None
) -> None:
    run = views[0].run
    page = write_report(run).read_text()
    text = run.report_md.read_text()
    for place in (page, text):
        assert "cluster: alpha for lineages 0 and 1; beta for lineage 4." in place
    assert ">beta<" in run.lineage_html(4).read_text()


def test_a_lineage_s_own_page_names_its_image(views: list[LineageView]) -> None:
    digest = "c" * 64
    said = context(changed(views[0], image_sha256=digest), [], Export(missing="none"))
    assert digest in {fact.value for fact in said["digests"]}
