"""Runs of one campaign merged into one: what comes of it, and what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mlipilot.audit.events.running import JobSubmitted
from mlipilot.audit.files import files_below, sha256_file
from mlipilot.audit.ledger import Ledger
from mlipilot.audit.places import Place
from mlipilot.controller.recheck import recheck_records
from mlipilot.controller.verification import verify_run
from mlipilot.errors import InputError
from mlipilot.paths import JobKey, RunPaths
from mlipilot.report.ranking import load_run
from tests.claims import leave_claim
from tests.merge.conftest import Clusters, make_lineage, merge


def contents(run: RunPaths) -> dict[str, str]:
    return {
        str(path.relative_to(run.root)): str(path.readlink()) if path.is_symlink() else sha256_file(path)
        for path in files_below(run.root)
        if not path.name.endswith("lock")
    }


def refused(into: RunPaths, *sources: RunPaths) -> str:
    """The one clear error; nothing has been written."""
    before = {run.root: contents(run) for run in (into, *sources)}
    with pytest.raises(InputError) as error:
        merge(into, *sources)
    assert {run.root: contents(run) for run in (into, *sources)} == before
    return str(error.value)


def test_a_new_run_of_both(clusters: Clusters) -> None:
    before = contents(clusters.alpha) | contents(clusters.beta)
    said = merge(clusters.into, clusters.alpha, clusters.beta)
    assert [line.split(" of ")[0] for line in said] == [f"lineage {n}" for n in (0, 1, 4, 5)]
    found = verify_run(clusters.into)
    assert found.problems == [] and [each.number for each in clusters.into.lineages()] == [0, 1, 4, 5]
    for lineage in clusters.into.lineages():
        assert recheck_records(clusters.into, lineage) == []
    after = contents(clusters.into)
    assert {name: after[name] for name in before if name != "findings.jsonl"} == {
        name: digest for name, digest in before.items() if name != "findings.jsonl"
    }
    lessons = [json.loads(line)["lineage"] for line in clusters.into.findings.read_text().splitlines()]
    assert lessons == [0, 1, 4, 5]
    assert [view.lineage.number for view in load_run(clusters.into).lineages] == [0, 1, 4, 5]


def test_into_a_run_that_is_there_and_once_more(clusters: Clusters) -> None:
    assert len(merge(clusters.alpha, clusters.beta)) == 2
    assert verify_run(clusters.alpha).problems == []
    before = contents(clusters.alpha)
    assert merge(clusters.alpha, clusters.beta) == ["2 were there already, byte for byte the same"]
    assert contents(clusters.alpha) == before


def test_a_lineage_that_goes_on_after_the_first_merge_is_a_further_one(clusters: Clusters) -> None:
    merge(clusters.into, clusters.alpha, clusters.beta)
    make_lineage(clusters.beta.root, 6, Place("beta", "/home/u/beta/cu_emt"), over=False)
    said = merge(clusters.into, clusters.beta)
    assert said[0].startswith("lineage 6 of ") and "2 were there" in said[1]
    assert verify_run(clusters.into).problems == []


def test_plain_copying_makes_one_run_too(clusters: Clusters) -> None:
    for lineage in clusters.beta.lineages():
        shutil.copytree(lineage.root, clusters.alpha.root / lineage.root.name, symlinks=True)
    found = verify_run(clusters.alpha)
    assert found.problems == []
    (note,) = (note for note in found.notes if "no lesson of lineages" in note)
    assert "4, 5, which were begun elsewhere (on cluster beta, in /home/u/beta/cu_emt)" in note
    merge(clusters.alpha, clusters.beta)  # which adds what is missing
    assert not any("no lesson of" in note for note in verify_run(clusters.alpha).notes)


def test_a_lesson_that_is_taken_out_is_a_fault_all_the_same(clusters: Clusters) -> None:
    merge(clusters.into, clusters.alpha, clusters.beta)
    lines = clusters.into.findings.read_text().splitlines(keepends=True)
    clusters.into.findings.write_text("".join(lines[:-1]))
    (problem,) = verify_run(clusters.into).problems
    assert "lesson of iteration 1 of lineage-5 is missing" in problem
    clusters.alpha.findings.unlink()
    assert len(verify_run(clusters.alpha).problems) == 2


def test_another_image_is_told_and_no_fault(clusters: Clusters, monkeypatch: pytest.MonkeyPatch) -> None:
    images = {"alpha": "a" * 64, "beta": "b" * 64}
    for number, run in ((2, clusters.alpha), (6, clusters.beta)):
        cluster = run.root.parent.name
        monkeypatch.setenv("MLIPILOT_IMAGE_SHA256", images[cluster])
        run.image_digest.write_text(f"{images[cluster]}\n")
        make_lineage(run.root, number, Place(cluster, f"/home/u/{cluster}/cu_emt"))
    merge(clusters.into, clusters.alpha, clusters.beta)
    found = verify_run(clusters.into)
    assert found.problems == [] and clusters.into.image_digest.read_text() == f"{images['alpha']}\n"
    (note,) = (note for note in found.notes if "another image" in note)
    assert note.startswith(f"{clusters.into.lineage(6).ledger}: ") and images["beta"] in note
    assert "on cluster beta, in /home/u/beta/cu_emt" in note
    clusters.into.image_digest.write_text(f"{'c' * 64}\n")
    assert any("image.sha256: changed" in problem for problem in verify_run(clusters.into).problems)


def test_two_images_of_one_cluster_s_run_are_a_fault(
    clusters: Clusters, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (2, 3):
        monkeypatch.setenv("MLIPILOT_IMAGE_SHA256", str(number) * 64)
        clusters.alpha.image_digest.write_text(f"{str(number) * 64}\n")
        make_lineage(clusters.alpha.root, number, Place("alpha", "/home/u/alpha/cu_emt"))
    (problem,) = verify_run(clusters.alpha).problems
    assert "image.sha256: changed (SHA-256 differs from ledger.jsonl, record 0 of lineage-2)" in problem


def spoil_spec(run: RunPaths) -> None:
    run.spec.write_text(run.spec.read_text().replace("iterations: 4", "iterations: 7"))


def spoil_scorecard(run: RunPaths) -> None:
    text = run.scorecard.read_text()
    run.scorecard.write_text(text.replace("max: 4.0", "max: 5.0", 1))


def spoil_data(run: RunPaths) -> None:
    recorded = json.loads(run.protected.read_text())
    recorded["run/data/provenance.json"] = "1" * 64
    run.protected.write_text(json.dumps(recorded))


def spoil_toolkit(run: RunPaths) -> None:
    recorded = json.loads(run.protected.read_text())
    del recorded["mlipilot/evaluation/runner.py"]
    run.protected.write_text(json.dumps(recorded))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (
            spoil_spec,
            ["campaign.lock.yaml: 'budget.iterations' is 7 here and 4 in ", "the same campaign file"],
        ),
        (spoil_scorecard, ["scorecard.yaml: 'gates' is ", "begin both runs with the same scorecard"]),
        (
            spoil_data,
            ["protected.json: 'run/data/provenance.json' is 1111", "a copy of the first one's data"],
        ),
        (spoil_toolkit, ["'mlipilot/evaluation/runner.py' is None here", "the same version of MLIPilot"]),
    ],
)
def test_another_campaign_is_refused_by_the_first_difference(
    clusters: Clusters, spoil: Callable[[RunPaths], None], words: list[str]
) -> None:
    spoil(clusters.beta)
    said = refused(clusters.into, clusters.alpha, clusters.beta)
    assert all(word in said for word in [*words, "not lineages of one run", "mend: "]), said


@pytest.mark.parametrize(
    ("spoil", "name"),
    [(spoil_spec, "campaign.lock.yaml"), (spoil_scorecard, "scorecard.yaml"), (spoil_data, "protected.json")],
)
def test_a_copied_lineage_of_another_campaign_is_named_by_verify(
    tmp_path: Path, clusters: Clusters, spoil: Callable[[RunPaths], None], name: str
) -> None:
    template = RunPaths(tmp_path / "template")
    shutil.copytree(clusters.beta.root, template.root, symlinks=True)
    spoil(template)
    for lineage in template.lineages():
        shutil.rmtree(lineage.root)
    made = make_lineage(template.root, 6, Place("beta", "/home/u/beta/cu_emt"))
    shutil.copytree(made.lineage.root, clusters.alpha.lineage(6).root, symlinks=True)
    problems = verify_run(clusters.alpha).problems
    assert problems[0].startswith(
        f"{clusters.alpha.lineage(6).ledger}: this lineage was begun with another {name}"
    )
    assert "does not belong to this run" in problems[0]
    assert name not in "".join(problems[1:2]) or "lineage-6" in problems[1]
    if name == "campaign.lock.yaml":
        assert "another campaign.lock.yaml" in load_run(clusters.alpha).find(6).problems[0]


def test_one_number_twice_with_other_content_is_refused(clusters: Clusters) -> None:
    merge(clusters.into, clusters.alpha)
    other = make_lineage(clusters.beta.root, 1, Place("beta", "/home/u/beta/cu_emt"))
    said = refused(clusters.into, clusters.beta)
    assert str(other.lineage.root) in said and "ledger.jsonl differs from that in" in said
    assert "ledger.jsonl differs" in refused(
        RunPaths(clusters.into.root.with_name("x")), clusters.alpha, clusters.beta
    )


def tear(run: RunPaths) -> None:
    (run.lineage(5).iteration(0) / "verdict.json").unlink()


def tear_ledger(run: RunPaths) -> None:
    data = run.lineage(5).ledger.read_bytes()
    run.lineage(5).ledger.write_bytes(data[: len(data) // 2])


def tamper(run: RunPaths) -> None:
    metrics = next(run.lineage(5).root.rglob("metrics.json"))
    metrics.write_text(metrics.read_text().replace('"ok"', '"Ok"', 1))


def plant(run: RunPaths) -> None:
    (run.lineage(5).root / "extra.py").write_text("import os")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (tear, "verdict.json"),
        (tear_ledger, "ledger.jsonl"),
        (tamper, "metrics.json: changed"),
        (plant, "extra.py: no record speaks of this file"),
    ],
)
def test_a_torn_copy_and_a_changed_lineage_are_refused(
    clusters: Clusters, spoil: Callable[[RunPaths], None], words: str
) -> None:
    spoil(clusters.beta)
    said = refused(clusters.into, clusters.alpha, clusters.beta)
    assert "this lineage does not verify: " in said and words in said and "copy it again" in said
    assert not clusters.into.root.exists()


@pytest.mark.parametrize("name", ["data/provenance.json", "recipe/train.py"])
def test_torn_data_are_no_data(clusters: Clusters, name: str) -> None:
    (clusters.alpha.root / name).write_text("{")
    assert name in refused(clusters.into, clusters.alpha, clusters.beta)
    assert not clusters.into.root.exists()


@pytest.mark.parametrize("where", ["alpha", "beta"])
def test_who_carries_a_lineage_is_left_alone(clusters: Clusters, where: str) -> None:
    held: RunPaths = getattr(clusters, where)
    leave_claim(held.lineages()[0].root)
    said = refused(clusters.alpha, clusters.beta)
    assert "a controller may hold this lineage (process" in said and "mlipilot unlock" in said


def test_a_lineage_whose_jobs_are_under_way_stays_where_it_is(clusters: Clusters) -> None:
    """Such as one whose controller handed its core back: nobody holds it, and its jobs write there."""
    lineage = clusters.beta.lineages()[0]
    key = JobKey(0, 1, "train")
    Ledger(lineage.ledger).append(JobSubmitted.of(key, 2))
    said = refused(clusters.alpha, clusters.beta)
    assert "jobs of this lineage are under way: 0000/seed-1/train" in said and "mlipilot cancel" in said


def test_what_is_no_run_is_refused(clusters: Clusters, tmp_path: Path) -> None:
    assert "there is no run here" in refused(clusters.into, RunPaths(tmp_path / "nothing"))
    clusters.into.root.mkdir()
    assert "this is no run" in refused(clusters.into, clusters.alpha)
    assert "with itself" in refused(clusters.alpha, clusters.alpha)
    assert "with itself" in refused(RunPaths(clusters.alpha.root / "x"), clusters.alpha)
    for lineage in clusters.beta.lineages():
        shutil.rmtree(lineage.root)
    assert "no lineage of this run has begun" in refused(clusters.alpha, clusters.beta)
