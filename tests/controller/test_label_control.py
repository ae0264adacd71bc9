"""The control of labels: who knows the true ones without having been shown them is not confirmed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from mlipilot.audit.discarding import remove
from mlipilot.audit.events.concluding import LabelControl
from mlipilot.audit.manifest import write_manifest
from mlipilot.controller.confirmation import MOST_WITHOUT, knows_without_labels
from mlipilot.controller.next_steps import confirmation_jobs
from mlipilot.controller.recheck import recheck_records
from mlipilot.controller.state import replay
from mlipilot.controller.undoing import tree
from mlipilot.controller.variants import make_variant
from mlipilot.controller.verification import verify_run
from mlipilot.datasets.permuting import permuted_labels
from mlipilot.paths import PERMUTED, JobKey
from mlipilot.report.confirmation_rows import confirmation_sentences
from mlipilot.report.lineage_reading import load_lineage
from tests.controller.test_confirmation_recorded import SPEC, searched
from tests.report.synthetic import SyntheticRun

QUALITIES = {0: 0.1, 1: 0.6, 2: 0.9}


def _made(root: Path, explained: float) -> SyntheticRun:
    made = searched(root, 0.6, 0.9)
    made.confirm(QUALITIES, explained=explained)
    standing = replay(made.ledger.records).incumbent
    made.lineage.incumbent.symlink_to(f"iterations/{standing:04d}")
    made.end("a test")
    return made


def _control(explained: float | None, of_true: float | None, fault: str | None = None) -> LabelControl:
    return LabelControl(seed=7, explained=explained, of_true=of_true, labels_explain=-1.0, fault=fault)


@pytest.mark.parametrize(
    ("explained", "of_true", "is_found"),
    [
        (-0.3, 0.99, False),
        (0.0, 0.99, False),
        (MOST_WITHOUT * 0.99, 0.99, False),
        (MOST_WITHOUT * 0.99 + 1e-9, 0.99, True),
        (0.98, 0.99, True),
        (0.3, 0.5, True),
        (0.9, -2.0, False),  # a model that says nothing anyhow: there is nothing to be had from elsewhere
        (0.9, 0.0, False),
        (None, 0.99, True),  # it hands over what cannot be measured
        (0.9, None, False),
    ],
)
def test_at_most_half_of_what_is_explained_is_known_without_labels(
    explained: float | None, of_true: float | None, is_found: bool
) -> None:
    found = knows_without_labels(_control(explained, of_true))
    assert (found is not None) == is_found
    if found is not None and explained is not None:
        assert f"explains {explained:.2f} of the true forces' variance" in found


def test_where_the_labels_hardly_change_nothing_is_shown() -> None:
    for labels, is_shown in ((0.11, False), (0.1, True), (-1.0, True)):
        control = _control(0.98, 0.99).model_copy(update={"labels_explain": labels})
        assert (knows_without_labels(control) is not None) == is_shown


def test_who_cannot_be_trained_so_shows_nothing_and_is_not_confirmed() -> None:
    said = knows_without_labels(_control(None, 0.99, "the loss is nan"))
    assert said == "it could not be trained on permuted labels: the loss is nan"


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> SyntheticRun:
    return _made(tmp_path_factory.mktemp("honest"), -0.02)


def test_an_honest_one_is_confirmed_and_the_report_says_what_the_control_found(honest: SyntheticRun) -> None:
    made = honest
    state = replay(made.ledger.records)
    assert state.confirmed is not None and state.confirmed.control is not None
    assert state.confirmed.whole.confirmed and state.confirmed.control.explained == -0.02
    words = " ".join(confirmation_sentences(load_lineage(made.run, made.lineage)))
    assert "labels it explains -0.020 of the true forces' variance, on its own 1.0" in words
    assert verify_run(made.run).problems == []


def test_one_whose_weights_came_from_elsewhere_is_not_and_the_baseline_stands(tmp_path: Path) -> None:
    made = _made(tmp_path, 0.95)
    state = replay(made.ledger.records)
    assert state.confirmed is not None and state.incumbent == 0
    assert state.confirmed.whole.fault is not None and state.confirmed.whole.p == 1.0
    assert not any(step.confirmed for step in state.confirmed.steps)
    words = " ".join(confirmation_sentences(load_lineage(made.run, made.lineage)))
    assert "what it knows did not come from its data): the baseline stands" in words
    assert verify_run(made.run).problems == []


def test_it_is_one_more_training_of_the_last_step_with_the_first_seed_and_can_be_left_out(
    tmp_path: Path,
) -> None:
    made = searched(tmp_path, 0.6, 0.9)
    state = replay(made.ledger.records)
    jobs = confirmation_jobs(state, SPEC)
    (control,) = (key for key in jobs if key.variant)
    assert control == JobKey(2, jobs[0].seed, "train", fresh=True, variant=PERMUTED) and jobs[-1] == control
    without = {"confirm": {"seeds": 3, "permuted_labels": False}}
    spec = SPEC.model_validate(SPEC.model_dump(mode="json") | without)
    assert confirmation_jobs(state, spec) == jobs[:-1]


def test_labels_that_were_changed_since_are_found_and_so_are_others_beside_them(
    honest: SyntheticRun,
) -> None:
    (path,) = honest.lineage.confirmation.glob("*.permuted-labels/data/train/train.xyz")
    before = path.read_bytes()
    path.write_bytes(before.replace(b"REF_energy", b"REF_energi"))
    said = recheck_records(honest.run, honest.lineage)
    assert any("this is not what the run's data give with seed" in each for each in said)
    assert {*verify_run(honest.run).problems} == {*said}
    path.write_bytes(before)
    more = path.with_name("more.xyz")
    more.write_text("1\n\nH 0 0 0\n")
    assert any("is not what the run's data give" in said for said in verify_run(honest.run).problems)
    more.unlink()
    assert verify_run(honest.run).problems == []


def test_what_lies_beside_them_or_is_a_link_or_another_order_is_found(tmp_path: Path) -> None:
    made = _made(tmp_path, -0.02)
    (train,) = made.lineage.confirmation.glob("*.permuted-labels/data/train")
    for name in ("../evil.py", "../test/test.xyz"):
        (train / name).parent.mkdir(exist_ok=True)
        (train / name).write_text("x")
        assert any("no record speaks of this file" in said for said in verify_run(made.run).problems)
        (train / name).unlink()
    path, elsewhere = train / "train.xyz", tmp_path / "same.xyz"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    assert any("it cannot be computed again" in said for said in verify_run(made.run).problems)
    path.unlink()
    os.mkfifo(path)
    assert any("not a regular file" in said for said in verify_run(made.run).problems), "and nobody waits"
    path.unlink()
    elsewhere.rename(path)
    assert verify_run(made.run).problems == []


@pytest.mark.parametrize("change", ["argv", "read_only", "cwd"])
def test_a_control_that_was_told_to_train_on_other_data_is_none(change: str, tmp_path: Path) -> None:
    made = _made(tmp_path, -0.02)
    (attempt,) = made.lineage.confirmation.glob("*.permuted-labels/seed-*/train/attempt-1")
    order = json.loads((attempt / "job.json").read_text())
    others = {
        "argv": [word.replace(".permuted-labels/data", "") for word in order["argv"]],
        "read_only": dict(zip(("/elsewhere", "/there"), order["read_only"].values(), strict=True)),
        "cwd": "/",
    }
    order[change] = others[change]
    (attempt / "job.json").write_text(json.dumps(order))
    (attempt / "manifest-sha256.txt").unlink()
    write_manifest(attempt)
    said = recheck_records(made.run, made.lineage)
    assert any("its order is not that of this training" in each for each in said)


def test_whatever_lies_in_its_place_the_labels_are_put_there_and_nowhere_else(tmp_path: Path) -> None:
    made = searched(tmp_path, 0.6, 0.9)
    state = replay(made.ledger.records)
    key = confirmation_jobs(state, SPEC)[-1]
    data, before = made.lineage.training_data(key), tree(made.run.data)
    for plant in ("link", "dangling", "file", "inner", "staging"):
        remove(data.parent)
        data.parent.mkdir(parents=True)
        match plant:
            case "link":
                data.symlink_to(made.run.data)
            case "dangling":
                data.symlink_to(tmp_path / "nowhere")
            case "file":
                data.write_text("in the way")
            case "inner":
                (data / "train").mkdir(parents=True)
                (data / "train" / "train.xyz").symlink_to(made.run.data / "train" / "train.xyz")
            case "staging":
                data.mkdir()
                (data / ".train.staging").symlink_to(made.run.data)
        make_variant(made.run, made.lineage, made.spec, state, key)
        assert tree(made.run.data) == before
        assert tree(data / "train") == permuted_labels(made.run.data / "train", key.seed)
        assert not data.is_symlink() and [path.name for path in data.iterdir()] == ["train"]
