"""Attempts that share a job: side by side, stage by stage, each with an end of its own."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

from mlipilot.audit.files import write_json
from mlipilot.audit.manifest import is_finished
from mlipilot.jobs.job_files import JobOrder, read_result
from tests.jobs.test_job_sh import ATTEMPT, MakeOrder, Node, node
from tests.waiting import wait_for_text

__all__ = ["node"]
EVALUATION = ATTEMPT.replace("/train/", "/evaluate/")
MEET = (
    "import pathlib, time; open('{mine}', 'w').close(); "
    "[time.sleep(0.02) for _ in iter(pathlib.Path('{theirs}').exists, True)]"
)


def add(here: Node, path: str, order: JobOrder, **changes: object) -> Path:
    """Another attempt of the same job."""
    attempt = here.run / path
    attempt.mkdir(parents=True)
    write_json(attempt / "job.json", order.model_copy(update=changes).model_dump())
    write_json(attempt / "slurm.json", {"name": "mlp-x"})
    return attempt


def seed_8(path: str) -> str:
    return path.replace("seed-7", "seed-8")


def test_two_run_at_the_same_time_and_each_is_sealed(
    node: Callable[..., Node], make_order: MakeOrder, tmp_path: Path
) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    here = node(MEET.format(mine=a, theirs=b))
    other = add(here, seed_8(ATTEMPT), make_order(MEET.format(mine=b, theirs=a)))
    here.attempts = [f"{ATTEMPT}+{seed_8(ATTEMPT)}"]
    status, said = here.work()
    assert status == 0, said
    assert read_result(here.attempt).outcome == read_result(other).outcome == "ok"


def test_the_next_stage_begins_when_all_are_over_and_takes_up_what_ended_well(
    node: Callable[..., Node], make_order: MakeOrder
) -> None:
    here = node("import time; time.sleep(0.5)")
    failing = add(here, seed_8(ATTEMPT), make_order("raise SystemExit(3)"))
    sealed = f"import pathlib; assert pathlib.Path('{here.attempt}/manifest-sha256.txt').exists()"
    of_both = [
        add(here, EVALUATION, make_order(sealed), needs=str(here.attempt)),
        add(here, seed_8(EVALUATION), make_order("pass"), needs=str(failing)),
    ]
    here.attempts = [f"{ATTEMPT}+{seed_8(ATTEMPT)}", f"{EVALUATION}+{seed_8(EVALUATION)}"]
    status, said = here.work()
    assert status == 0, said
    assert (read_result(here.attempt).outcome, read_result(failing).outcome) == ("ok", "failed")
    assert read_result(of_both[0]).outcome == "ok" and not is_finished(of_both[1])
    assert f"{seed_8(EVALUATION)}: nothing to run" in said


def test_each_is_charged_what_it_used_itself(node: Callable[..., Node], make_order: MakeOrder) -> None:
    here = node("import time; time.sleep(1)")
    busy = "import time; [None for _ in iter(lambda: time.process_time() > 1.5, True)]"
    other = add(here, seed_8(ATTEMPT), make_order(busy))
    here.attempts = [f"{ATTEMPT}+{seed_8(ATTEMPT)}"]
    assert here.work()[0] == 0
    idle_s, busy_s = read_result(here.attempt).cpu_s, read_result(other).cpu_s
    assert idle_s is not None and busy_s is not None
    assert idle_s + 1 < busy_s < 4


def test_a_cancel_ends_all_of_them(node: Callable[..., Node], make_order: MakeOrder) -> None:
    code = "import time; print('up', flush=True); time.sleep(60)"
    here = node(code)
    other = add(here, seed_8(ATTEMPT), make_order(code))
    later = add(here, EVALUATION, make_order("pass"))
    here.attempts = [f"{ATTEMPT}+{seed_8(ATTEMPT)}", EVALUATION]
    job = here.start()
    logs = [attempt / "stdout.log" for attempt in (here.attempt, other)]
    for log in logs:
        wait_for_text(log)
    here.cancel()
    job.send_signal(signal.SIGUSR2)
    job.communicate(timeout=30)
    assert read_result(here.attempt).outcome == read_result(other).outcome == "cancelled"
    assert not is_finished(later)


def test_one_that_cannot_begin_keeps_nobody_else_from_it(
    node: Callable[..., Node], make_order: MakeOrder
) -> None:
    here = node("pass")
    other = add(here, seed_8(ATTEMPT), make_order("pass\npass"))  # which no command line can hold
    evaluation = add(here, EVALUATION, make_order("pass"), needs=str(here.attempt))
    here.attempts = [f"{ATTEMPT}+{seed_8(ATTEMPT)}", EVALUATION]
    status, said = here.work()
    assert status == 1, said
    assert read_result(here.attempt).outcome == read_result(evaluation).outcome == "ok"
    assert not is_finished(other)
