"""Which attempts share a job, and that a kill between any two files asks for none twice."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlipilot.audit.anchors import NAME
from mlipilot.audit.files import write_json
from mlipilot.audit.manifest import check_manifest, write_manifest
from mlipilot.jobs import requests, slurm_note
from mlipilot.jobs.backend import Submission
from mlipilot.jobs.slurm_backend import SlurmBackend
from tests.jobs.standin_cluster import Cluster

SEEDS = (7, 8, 9)


def works(cluster: Cluster, *seeds: int, number: int = 1) -> list[Submission]:
    """The trainings of a candidate, each with its evaluation behind it."""
    found = []
    for seed in seeds or SEEDS:
        train = _of_seed(cluster.submission(number=number), seed)
        evaluate = _of_seed(cluster.submission("evaluate", needs=train.attempt), seed)
        found.append(replace(train, then=evaluate))
    return found


def _of_seed(work: Submission, seed: int) -> Submission:
    attempt = Path(str(work.attempt).replace("seed-7", f"seed-{seed}"))
    return replace(work, attempt=attempt, order=work.order.model_copy(update={"name": f"seed-{seed}"}))


def paths(kind: str, number: int = 1) -> list[str]:
    return [f"lineage-0/iterations/0001/seed-{seed}/{kind}/attempt-{number}" for seed in SEEDS]


def test_a_candidate_is_one_request_where_its_seeds_share_a_job(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path / "run", chain="fused", pack=3)
    cluster.backend.ensure_started(*works(cluster))
    ((name, fields),) = cluster.requests().items()
    assert NAME.fullmatch(name) and name == "mlp-0123456789abcdef-l0.0001.t.a1"
    assert fields == {
        "template": "fused",
        "attempt": "+".join(paths("train")) + "," + "+".join(paths("evaluate")),
        "minutes": "23",
        "cpus": "3",
        "memory_mib": "24000",
        "gpus": "0",
    }
    for path in (*paths("train"), *paths("evaluate")):
        assert json.loads((cluster.run / path / "slurm.json").read_text())["name"] == name
        seed = path.split("/")[3]
        assert json.loads((cluster.run / path / "job.json").read_text())["name"] == seed


def test_without_packing_each_seed_is_a_job(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path / "run", chain="fused")
    cluster.backend.ensure_started(*works(cluster))
    found = cluster.requests()
    assert [fields["attempt"].split(",")[0] for fields in found.values()] == paths("train")
    assert {fields["cpus"] for fields in found.values()} == {"1"}


def test_more_seeds_than_share_a_job_are_several(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path / "run", chain="fused", pack=2)
    cluster.backend.ensure_started(*works(cluster))
    assert [fields["cpus"] for fields in cluster.requests().values()] == [
        "1",
        "2",
    ]  # by name: .s9. comes first


def test_evaluations_that_wait_in_the_queue_share_a_job_behind_that_of_their_trainings(
    tmp_path: Path,
) -> None:
    cluster = Cluster(tmp_path / "run", pack=3)
    cluster.backend.ensure_started(*works(cluster))
    evaluate, train = cluster.requests().items()
    assert (evaluate[1]["template"], train[1]["template"]) == ("evaluate", "train")
    assert evaluate[1]["after"] == train[0] and evaluate[1]["attempt"] == "+".join(paths("evaluate"))
    assert evaluate[1]["minutes"] == train[1]["minutes"] == "13"


@pytest.mark.parametrize("chain", ["fused", "dependent"])
def test_seeds_share_a_gpu_for_training_and_have_it_in_turns_for_what_measures_speed(
    tmp_path: Path, chain: str
) -> None:
    resources = {"gpus": 1, "cpus": 2}
    cluster = Cluster(tmp_path / "run", chain=chain, pack=3, device="cuda", resources=resources)
    on_gpu = [_on_gpu(work) for work in works(cluster)]
    cluster.backend.ensure_started(*on_gpu)
    stages = [fields["attempt"] for fields in reversed(cluster.requests().values())]
    assert ",".join(stages) == ",".join(["+".join(paths("train")), *paths("evaluate")])
    (first, *others) = reversed(cluster.requests().values())
    assert (first["gpus"], first["cpus"]) == ("1", "6")
    assert first["minutes"] == ("43" if chain == "fused" else "13")
    assert [(other["cpus"], other["minutes"]) for other in others] == [("2", "33")] * (chain == "dependent")
    gpus = [json.loads((cluster.run / path / "job.json").read_text())["gpus"] for path in paths("train")]
    assert gpus == [1 / 3] * 3
    assert json.loads((cluster.run / paths("evaluate")[0] / "job.json").read_text())["gpus"] == 1.0


def _on_gpu(work: Submission) -> Submission:
    then = None if work.then is None else _on_gpu(work.then)
    return replace(work, order=work.order.model_copy(update={"uses_gpu": True}), then=then)


@pytest.mark.parametrize("chain", ["fused", "dependent"])
def test_killed_between_any_two_files_each_attempt_is_asked_of_one_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chain: str
) -> None:
    class KilledError(BaseException):
        pass

    for kill_at in range(40):
        cluster = Cluster(tmp_path / str(kill_at), chain=chain, pack=3)
        written = 0

        def counted(write: Any, kill_at: int = kill_at) -> Any:
            def wrapped(*args: Any) -> None:
                nonlocal written
                if written == kill_at:
                    raise KilledError
                written += 1
                write(*args)

            return wrapped

        with monkeypatch.context() as patch:
            for module in (requests, slurm_note):
                patch.setattr(module, "write_json", counted(write_json))
            patch.setattr(cluster.backend.spool, "request", counted(cluster.backend.spool.request))
            try:
                cluster.backend.ensure_started(*works(cluster))
            except KilledError:
                pass
            else:
                assert kill_at > 12
                return
        before = cluster.requests()
        again = SlurmBackend(cluster.run, cluster.spool, cluster.backend.settings)
        later = [replace(work, anchor="f" * 64) for work in works(cluster)]
        later = [replace(work, then=replace(work.then, anchor="f" * 64)) for work in later if work.then]
        again.ensure_started(*later)
        found = cluster.requests()
        assert before.items() <= found.items()
        asked = Counter(
            path for fields in found.values() for path in fields["attempt"].replace("+", ",").split(",")
        )
        assert asked == Counter([*paths("train"), *paths("evaluate")])
        for name, fields in found.items():
            for path in fields["attempt"].replace("+", ",").split(","):
                assert json.loads((cluster.run / path / "slurm.json").read_text())["name"] == name
                assert (cluster.run / path / "job.json").exists()
        assert len(found) == (1 if chain == "fused" else 2)
    pytest.fail("it never came to its end")


def test_a_lost_training_takes_the_evaluations_of_other_seeds_from_nobody(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path / "run", pack=3)
    cluster.backend.ensure_started(*works(cluster))
    shared = json.loads((cluster.run / paths("evaluate")[0] / "slurm.json").read_text())["name"]
    again = works(cluster, 8, number=2)
    cluster.backend.ensure_started(*again)
    assert not cluster.backend.spool.is_cancelled(shared)
    notes = [json.loads((cluster.run / path / "slurm.json").read_text()) for path in paths("evaluate")]
    assert notes[0]["name"] == notes[2]["name"] == shared != notes[1]["name"]
    assert notes[1]["needs"] == str(again[0].attempt) and len(cluster.requests()) == 4


def test_trainings_that_were_lost_together_are_repeated_together(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path / "run", chain="fused", pack=3)
    cluster.backend.ensure_started(*works(cluster))
    again = [
        replace(work, avoid_nodes=[f"n{seed}"])
        for seed, work in zip(SEEDS, works(cluster, number=2), strict=True)
    ]
    cluster.backend.ensure_started(*again)
    (fields,) = [fields for name, fields in cluster.requests().items() if name.endswith(".a2")]
    assert fields["attempt"].startswith("+".join(paths("train", 2)))
    assert fields["exclude"] == "n7,n8,n9"


def test_a_request_that_somebody_deleted_is_published_as_it_was(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path / "run", chain="fused", pack=3)
    cluster.backend.ensure_started(*works(cluster))
    before = cluster.requests()
    for name in before:
        (cluster.spool / "requests" / name).unlink()
    third = replace(works(cluster)[2], anchor="f" * 64)
    cluster.backend.ensure_started(third)  # of the others the ledger has the end
    assert cluster.requests() == before


def test_in_a_copy_of_the_run_orders_are_made_anew_for_its_place(tmp_path: Path) -> None:
    """What was asked for and not begun when the run was copied must not write where it was begun."""
    old = Cluster(tmp_path / "old", chain="fused", pack=3)
    old.backend.ensure_started(*works(old))
    shutil.copytree(old.run / "lineage-0", tmp_path / "new" / "lineage-0")
    new = Cluster(tmp_path / "new", chain="fused", pack=3)
    later = [replace(work, anchor="f" * 64) for work in works(new)]
    new.backend.ensure_started(*later)
    ((name, fields),) = new.requests().items()
    assert name not in old.requests()
    for path in fields["attempt"].replace("+", ",").split(","):
        assert json.loads((new.run / path / "job.json").read_text())["run"] == str(new.run)
        assert json.loads((new.run / path / "slurm.json").read_text())["name"] == name


@pytest.mark.parametrize("with_spool", [True, False])
def test_what_was_over_when_the_run_was_moved_is_left_as_it_was_sealed(
    tmp_path: Path, with_spool: bool
) -> None:
    """A controller that was gone by then takes the results up; its orders name the place where they ran."""
    old = Cluster(tmp_path / "old")
    old.backend.ensure_started(*works(old, 7))
    for kind in ("train", "evaluate"):
        write_manifest(old.attempt(kind))
    shutil.copytree(old.run / "lineage-0", tmp_path / "new" / "lineage-0")
    new = Cluster(tmp_path / "new")
    if with_spool:
        shutil.copytree(old.spool, new.spool, dirs_exist_ok=True)
    requests = new.requests()
    evaluation = new.submission("evaluate", needs=new.attempt("train"))
    new.backend.ensure_started(replace(new.submission(), anchor="f" * 64, then=evaluation), evaluation)
    assert new.requests() == requests and bool(requests) == with_spool
    for kind in ("train", "evaluate"):
        assert check_manifest(new.attempt(kind)) == []
        assert new.backend.standing(new.attempt(kind)).phase == "sealed"


def test_the_largest_pack_fits_into_a_request(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path / "run", chain="fused", pack=32)
    seeds = [20261130043000 + number for number in range(32)]
    group = [replace(work, avoid_nodes=["n" * 300]) for work in works(cluster, *seeds)]
    cluster.backend.ensure_started(*group)
    (path,) = (cluster.spool / "requests").iterdir()
    assert 4096 < path.stat().st_size < 16384
