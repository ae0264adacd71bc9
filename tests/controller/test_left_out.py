"""Fresh seeds are trained without some of the structures; `verify` draws them again."""

from __future__ import annotations

import io
import json
from collections import Counter
from pathlib import Path

import pytest
from ase.io import read

from mlipilot.audit.ledger import Ledger
from mlipilot.audit.manifest import write_manifest
from mlipilot.campaign.extent import Confirmation
from mlipilot.campaign.spec import dump_spec, load_locked
from mlipilot.controller.asking_confirmation import ask_confirmation
from mlipilot.controller.next_steps import confirmation_jobs
from mlipilot.controller.recheck import recheck_records
from mlipilot.controller.state import replay
from mlipilot.controller.variants import data_of, make_variant
from mlipilot.controller.verification import verify_run
from mlipilot.datasets.drawing import drawn_structures
from mlipilot.jobs.job_files import read_order
from mlipilot.paths import JobKey, RunPaths
from mlipilot.report.confirmation_rows import confirmation_sentences
from mlipilot.report.lineage_reading import load_lineage
from tests.controller.test_confirmation_recorded import SPEC, searched
from tests.report.synthetic import SyntheticRun

WHOLE = SPEC.model_copy(update={"confirm": Confirmation(seeds=3, leave_out=0.0)})


def _confirmed(root: Path, made: SyntheticRun | None = None) -> SyntheticRun:
    made = made or searched(root, 0.6, 0.9)
    made.confirm({0: 0.1, 1: 0.6, 2: 0.9})
    made.lineage.incumbent.symlink_to("iterations/0002")
    made.end("a test")
    return made


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> SyntheticRun:
    return _confirmed(tmp_path_factory.mktemp("left_out"))


def _orders(made: SyntheticRun) -> dict[Path, list[str]]:
    attempts = made.lineage.confirmation.glob("0*/seed-*/train/attempt-1")
    return {attempt: read_order(attempt).argv for attempt in attempts}


def test_all_steps_have_the_same_structures_with_a_seed_and_each_seed_others(made: SyntheticRun) -> None:
    state = replay(made.ledger.records)
    trainings = [key for key in state.jobs if key.fresh and key.kind == "train" and not key.variant]
    of_seed = {
        seed: {data_of(made.run, made.lineage, SPEC, state, key) for key in trainings if key.seed == seed}
        for seed in {key.seed for key in trainings}
    }
    assert len(trainings) == 9 and all(len(places) == 1 for places in of_seed.values())
    texts = {(place / "train/train.xyz").read_bytes() for places in of_seed.values() for place in places}
    assert len(texts) == 3
    whole = (made.run.data / "train/train.xyz").read_bytes()
    count = len(read(io.StringIO(whole.decode()), index=":", format="extxyz"))
    for text in texts:
        assert len(read(io.StringIO(text.decode()), index=":", format="extxyz")) == count - int(0.1 * count)
    told = Counter(word for argv in _orders(made).values() for word in argv if "confirmation/data" in word)
    assert sorted(told.values()) == [3, 3, 3]


def test_the_search_has_all_of_them(made: SyntheticRun) -> None:
    state = replay(made.ledger.records)
    assert data_of(made.run, made.lineage, SPEC, state, JobKey(1, 1, "train")) == made.run.data


def test_it_verifies_and_the_report_says_so(made: SyntheticRun) -> None:
    assert verify_run(made.run).problems == []
    words = " ".join(confirmation_sentences(load_lineage(made.run, made.lineage)))
    assert "Each of these seeds was trained without another 10 % of the training structures." in words


def test_structures_that_were_changed_or_put_beside_them_are_found(tmp_path: Path) -> None:
    made = _confirmed(tmp_path)
    path = sorted(made.lineage.confirmation.glob("data/seed-*/train/train.xyz"))[0]
    before = path.read_bytes()
    for change in (
        before.replace(b"REF_energy=-", b"REF_energy=-1"),
        (made.run.data / "train/train.xyz").read_bytes(),
    ):
        path.write_bytes(change)
        assert any("not what the run's data give with seed" in said for said in verify_run(made.run).problems)
    path.unlink()
    assert any("not what the run's data give with seed" in said for said in verify_run(made.run).problems)
    path.write_bytes(before)
    for name in ("more.xyz", "../test.xyz", "../../more.xyz"):
        (path.parent / name).write_text("1\n\nH 0 0 0\n")
        assert verify_run(made.run).problems, name
        (path.parent / name).unlink()
    assert verify_run(made.run).problems == []


@pytest.mark.parametrize("of", ["the run", "another seed"])
def test_a_training_that_was_told_other_data_is_found(of: str, tmp_path: Path) -> None:
    made = _confirmed(tmp_path)
    attempt, argv = sorted(_orders(made).items())[0]
    seeds = sorted(path.name for path in (made.lineage.confirmation / "data").iterdir())
    own = next(word for word in argv if "confirmation/data" in word)
    other = next(name for name in seeds if not own.endswith(name))
    place = made.run.data if of == "the run" else made.lineage.confirmation / "data" / other
    order = json.loads((attempt / "job.json").read_text())
    order["argv"] = [str(place) if word == own else word for word in order["argv"]]
    (attempt / "job.json").write_text(json.dumps(order))
    (attempt / "manifest-sha256.txt").unlink()
    write_manifest(attempt)
    assert any(
        "its order is not that of this training" in said for said in recheck_records(made.run, made.lineage)
    )


def test_who_asks_for_all_of_them_has_the_runs_data_and_others_lying_there_are_named(tmp_path: Path) -> None:
    made = _confirmed(tmp_path, searched(tmp_path, 0.6, 0.9, spec=WHOLE))
    state = replay(made.ledger.records)
    assert not (made.lineage.confirmation / "data").exists()
    keys = [key for key in state.jobs if key.fresh and key.kind == "train" and not key.variant]
    assert {data_of(made.run, made.lineage, WHOLE, state, key) for key in keys} == {made.run.data}
    assert verify_run(made.run).problems == []
    words = " ".join(confirmation_sentences(load_lineage(made.run, made.lineage)))
    assert "was trained without" not in words
    planted = made.lineage.training_data(keys[0]) / "train" / "train.xyz"
    planted.parent.mkdir(parents=True)
    planted.write_text("1\n\nH 0 0 0\n")
    assert any("not what the run's data give" in said for said in verify_run(made.run).problems)


def test_a_run_that_was_begun_before_there_was_this_leaves_nothing_out(tmp_path: Path) -> None:
    path = tmp_path / "campaign.lock.yaml"
    path.write_text(dump_spec(SPEC).replace("  leave_out: 0.1\n", ""))
    assert (found := load_locked(path).confirm) is not None and found.leave_out == 0.0
    path.write_text(dump_spec(SPEC))
    assert load_locked(path) == SPEC


def test_a_person_who_asks_says_how_much(tmp_path: Path) -> None:
    made = searched(tmp_path, 0.6, 0.9, spec=SPEC.model_copy(update={"confirm": None}))
    made.lineage.incumbent.symlink_to("iterations/0002")
    made.sealed_check()
    made.end("a test")
    ask_confirmation(made.run, 0, Confirmation(seeds=3, leave_out=0.25))
    state = replay(Ledger(made.lineage.ledger).records)
    key = confirmation_jobs(state, made.spec)[0]
    make_variant(made.run, made.lineage, made.spec, state, key)
    train = RunPaths(made.run.root).data / "train"
    place = data_of(made.run, made.lineage, made.spec, state, key) / "train"
    assert {path.name: path.read_bytes() for path in place.iterdir()} == drawn_structures(
        train, key.seed, 0.25
    )
