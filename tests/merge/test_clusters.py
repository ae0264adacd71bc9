"""A run of two clusters whose jobs have the same numbers: names in accounts, bills, and what they ran on."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mlipilot.audit.anchors import verify_anchors
from mlipilot.audit.evidence import requested_names, spools
from mlipilot.audit.files import publish_new
from mlipilot.audit.ledger import Ledger
from mlipilot.audit.places import Place
from mlipilot.audit.verification_result import Verification
from mlipilot.merge.merging import merge_runs
from mlipilot.paths import JobKey, RunPaths
from mlipilot.report.billing_rows import billed_notes
from mlipilot.report.lineage_reading import load_lineage
from mlipilot.report.status_json import iteration_dict, status_dict
from tests.audit.test_accounts import COLUMNS
from tests.cli.verbs import outcome
from tests.conftest import StandIn
from tests.events import event, named
from tests.merge.conftest import make_lineage

FIRST_NUMBER = 40


def carry(run: RunPaths, cluster: str, number: int) -> list[str]:
    """A lineage whose jobs were numbered from 40 on, as on every cluster; returns rows of the accounts."""
    made = make_lineage(run.root, number, Place(cluster, str(run.root)), over=False)
    (run.spool / "requests").mkdir(parents=True)
    rows = []
    made.give_up("a test")
    key = JobKey(0, made.spec.seeds[0], "sealed")
    for job in range(2):
        made.ledger.append(event("job_submitted", named(key, 1 + job)))
        name = f"mlp-{made.ledger.head[:16]}-l{number}.0000.s1.t.a{1 + job}"
        publish_new(run.spool / "requests" / name, "template=train\n")
        rows.append(f"{FIRST_NUMBER + job}|{now()}|{name}|{run.root}")
        over = {"outcome": "lost", "job_id": str(FIRST_NUMBER + job), "job_name": name}
        over |= named(key, 1 + job) | {"cpu_s": 0.0, "wall_s": 0.0}
        made.ledger.append(event("job_finished", over))
    made.end("a test")
    return rows


def now() -> str:
    return datetime.now(UTC).replace(microsecond=0, tzinfo=None).isoformat()


def extract(run: RunPaths, number: int, rows: list[str]) -> None:
    """The submitter's: each of the jobs had two cores for an hour, its controller one for four."""
    times = f"{now()}|{now()}|{now()}|{now()}"
    lines = []
    for row in [*rows, f"99|{now()}|mlipilot-cu_emt|/x"]:
        job, _, name, at = row.split("|")
        task = f"99_{number}" if job == "99" else job
        cores, hours = (1, 4) if job == "99" else (2, 1)
        spent = f"{hours * 3600}|{cores}|{cores * hours * 3600}|00:00||1000M|cpu={cores},mem=1000M"
        lines.append(f"{job}|{task}|{name}|COMPLETED|{times}|{spent}|{at}")
    head = f"time={1796000000 + number} begun=1795000000 accounting=1"
    publish_new(run.spool / "accounts", "\n".join([head, COLUMNS, *lines]) + "\n")


@pytest.fixture
def runs(tmp_path: Path) -> dict[str, RunPaths]:
    """Lineage 0 of cluster alpha, lineage 4 of beta, and both in `merged`, each with its extract."""
    made = {name: RunPaths(tmp_path / name / "cu_emt") for name in ("alpha", "beta")}
    for number, (cluster, run) in zip((0, 4), made.items(), strict=True):
        rows = carry(run, cluster, number)
        (tmp_path / f"{cluster}.rows").write_text("\n".join(rows) + "\n")
        extract(run, number, rows)
    made["merged"] = RunPaths(tmp_path / "together")
    merge_runs(made["merged"], [made["alpha"], made["beta"]], lambda _: None)
    return made


@pytest.fixture
def on(tmp_path: Path, stand_in: StandIn) -> Callable[..., None]:
    """Be on a cluster: its name and its accounts, by stand-ins for Slurm's own commands."""

    def be(cluster: str, *, named: bool = True) -> None:
        rows = tmp_path / f"{cluster}.rows"
        choose = 'for word; do [ "$word" = "${word#--jobs=}" ] || wanted=${word#--jobs=}; done\n'
        stand_in(
            "sacct", f'{choose}[ -z "$wanted" ] || exec grep -E "^(${{wanted//,/|}})[|]" {rows}; cat {rows}'
        )
        stand_in("scontrol", f"echo 'ClusterName             = {cluster}'" if named else "exit 1")

    return be


def verified(run: RunPaths) -> Verification:
    found = Verification()
    verify_anchors(run, found)
    return found


def drop_extracts(run: RunPaths) -> None:
    for spool in spools(run):
        (spool / "accounts").unlink(missing_ok=True)


@pytest.mark.parametrize(("here", "there"), [("alpha", "beta"), ("beta", "alpha")])
def test_each_cluster_speaks_for_its_own_numbers(
    runs: dict[str, RunPaths], on: Callable[..., None], here: str, there: str
) -> None:
    on(here)
    drop_extracts(runs["merged"])
    found = verified(runs["merged"])
    assert (found.problems, found.anchors, found.witnessed, found.extracted) == ([], 4, 2, 0)
    assert (
        f"2 of 4 Slurm jobs are of cluster {there}, and these are the accounts of {here}: only {there}'s can "
        "confirm them; `mlipilot verify` there asks them"
    ) in found.notes


def test_the_other_cluster_s_extract_came_with_its_lineages(
    runs: dict[str, RunPaths], on: Callable[..., None]
) -> None:
    assert [spool.name for spool in spools(runs["merged"])] == ["spool", "alpha-0", "beta-4"]
    on("alpha")
    found = verified(runs["merged"])
    assert (found.problems, found.witnessed, found.extracted) == ([], 2, 2)
    assert any(str(runs["merged"].merged / "beta-4" / "accounts") in note for note in found.notes)


def test_without_slurm_each_extract_speaks_for_its_own(runs: dict[str, RunPaths], no_programs: None) -> None:
    found = verified(runs["merged"])
    assert (found.problems, found.witnessed, found.extracted) == ([], 0, 4)


def test_accounts_of_a_cluster_that_says_no_name_speak_for_the_names_that_they_have(
    runs: dict[str, RunPaths], on: Callable[..., None]
) -> None:
    on("beta", named=False)
    drop_extracts(runs["merged"])
    found = verified(runs["merged"])
    assert (found.problems, found.witnessed) == ([], 2)


@pytest.mark.parametrize("here", ["alpha", "beta"])
def test_a_lineage_that_was_written_anew_is_found_out_on_its_cluster(
    runs: dict[str, RunPaths], on: Callable[..., None], here: str
) -> None:
    lineage = runs["merged"].lineage(4)
    lines = lineage.ledger.read_bytes()
    lineage.ledger.unlink()
    forged = Ledger(lineage.ledger)
    said = {"backend": "slurm", "cluster": "beta", "run": str(runs["beta"].root)}
    forged.append(event("campaign_started", said))
    forged.append(event("job_submitted"))
    name = f"mlp-{forged.head[:16]}-l4.0000.s1.t.a2"
    forged.append(event("job_finished", job_id="40", job_name=name))
    assert lines != lineage.ledger.read_bytes()
    on(here)
    problems = "\n".join(verified(runs["merged"]).problems)
    # Where alpha is asked, the extract of beta's accounts that came with its lineages has the names.
    assert "a ledger was cut or rewritten" in problems
    assert ("Slurm's accounts say that job 40 was named" in problems) == (here == "beta")


def test_requests_of_both_are_known_by_name_and_never_asked_for_again(runs: dict[str, RunPaths]) -> None:
    names = {name for spool in spools(runs["merged"]) for name in requested_names(spool)}
    assert len(names) == 4 and not runs["merged"].spool.exists()


def test_settled_requests_are_requests(tmp_path: Path) -> None:
    name = "mlp-0123456789abcdef-l0.0001.s7.t.a1"
    lines = [f"{name}\tstatus=submitted\tjob_id=7\tend", "nonsense", f"{name}.2\tend", f"{name}.2"]
    (tmp_path / "settled").write_text("\n".join(lines) + "2")  # the last one is torn
    assert requested_names(tmp_path) == {name, f"{name}.2"}


def test_each_lineage_is_billed_by_its_cluster_and_once(runs: dict[str, RunPaths]) -> None:
    for number, name in ((0, "alpha-0"), (4, "beta-4")):
        view = load_lineage(runs["merged"], runs["merged"].lineage(number))
        assert view.billing is not None
        total = view.billing.total
        assert (total.jobs, total.core_s / 3600, view.billing.controllers.jobs) == (3, 8.0, 1)
        assert f"merged/{name}/accounts" in " ".join(billed_notes(view))
        assert view.clusters == [name.partition("-")[0]] == status_dict(view)["clusters"]
        assert iteration_dict(view, 0)["clusters"] == view.clusters


def test_people_are_told_the_cluster_where_there_are_two(
    runs: dict[str, RunPaths], no_programs: None
) -> None:
    _, both, _ = outcome(["status", str(runs["merged"].root)])
    assert "lineage-0 on alpha: cu_emt" in both and "lineage-4 on beta: cu_emt" in both
    _, one, _ = outcome(["status", str(runs["alpha"].root)])
    assert "alpha:" not in one
    _, shown, _ = outcome(["show", str(runs["merged"].root), "0", "--lineage", "4"])
    assert "Jobs, on cluster beta" in shown


def test_what_two_extracts_have_is_billed_once(runs: dict[str, RunPaths]) -> None:
    """As when the submitter serves the merged run where the source lay."""
    merged = runs["merged"]
    merged.spool.mkdir()
    (merged.spool / "accounts").write_bytes((merged.merged / "beta-4" / "accounts").read_bytes())
    billing = load_lineage(merged, merged.lineage(4)).billing
    assert billing is not None and (billing.total.jobs, billing.total.starts) == (3, 3)


def test_a_lineage_that_went_on_elsewhere_is_of_both(
    runs: dict[str, RunPaths], on: Callable[..., None]
) -> None:
    lineage = runs["merged"].lineage(4)
    ledger = Ledger(lineage.ledger)
    ledger.append(event("resumed", epoch=9, cluster="alpha", run=str(runs["merged"].root)))
    view = load_lineage(runs["merged"], lineage)
    assert view.clusters == ["beta", "alpha"]
    on("alpha")
    assert verified(runs["merged"]).problems == []


def test_newer_accounts_of_the_same_run_take_the_place_of_older_ones(runs: dict[str, RunPaths]) -> None:
    kept = runs["merged"].merged / "beta-4" / "accounts"
    newer = runs["beta"].spool / "accounts"
    older = newer.read_text()
    newer.write_text(older.replace("time=1796000004", "time=1796009999"))
    merge_runs(runs["merged"], [runs["beta"]], lambda _: None)
    assert kept.read_text() == newer.read_text()
    newer.write_text(older)
    merge_runs(runs["merged"], [runs["beta"]], lambda _: None)
    assert "time=1796009999" in kept.read_text()


def test_a_merged_run_is_merged_on_with_all_that_it_has(runs: dict[str, RunPaths], tmp_path: Path) -> None:
    further = RunPaths(tmp_path / "further")
    merge_runs(further, [runs["merged"]], lambda _: None)
    assert [spool.name for spool in spools(further)] == ["spool", "alpha-0", "beta-4"]
