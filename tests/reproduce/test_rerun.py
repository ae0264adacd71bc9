"""The jobs of a reproduction on real processes, with a recipe that stands in for MACE."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from mlipilot.audit.files import files_below, sha256_file, write_json
from mlipilot.audit.process_identity import identify
from mlipilot.audit.protected import hash_protected
from mlipilot.campaign.spec import load_locked
from mlipilot.controller.job_submission import Attempts
from mlipilot.controller.observer import JobProgress, Silent
from mlipilot.controller.prepare import write_modules
from mlipilot.errors import InputError, PausedError
from mlipilot.jobs.backend import Submission
from mlipilot.jobs.container_commands import Container
from mlipilot.jobs.job_files import read_result
from mlipilot.jobs.processes import children
from mlipilot.paths import JobKey, RunPaths
from mlipilot.reproduce.record import read_record
from mlipilot.reproduce.rerun import attempts_of, claim_output, failures, lay_out, run_jobs
from tests.conftest import StandIn
from tests.waiting import wait_until

MakeAttempts = Callable[..., Attempts]
STANDIN = Path(__file__).resolve().parents[1] / "sbatch" / "standin_apptainer"


@pytest.fixture
def attempts(run: RunPaths, tmp_path: Path) -> MakeAttempts:
    """A reproduction of iteration 0 that is ready to run, its train.py replaced by `code`."""

    def make(code: str, container: Container | None = None) -> Attempts:
        record = read_record(run, run.lineage(0), 0)
        output = RunPaths(tmp_path / "output with spaces")
        claim_output(output.root, run)
        lay_out(record, output)
        (output.lineage(0).recipe(0) / "train.py").write_text(code)
        write_modules(output.modules)
        (output.data / "train").mkdir(parents=True)
        write_json(output.protected, hash_protected(output.root))
        return attempts_of(record, output, container)

    return make


def test_the_jobs_are_those_of_the_run_in_the_output(
    attempts: MakeAttempts, run: RunPaths, tmp_path: Path
) -> None:
    made = attempts("")
    order = made.order(JobKey(0, 2, "train"), 1, 1)
    output = tmp_path / "output with spaces"
    assert order.argv[order.argv.index("--max-steps") + 1] == "400"
    assert order.argv[order.argv.index("--seed") + 1] == "2"
    assert order.cwd == str(output / "lineage-0" / "iterations" / "0000" / "recipe")
    assert order.wall_limit_s == 4 * 900
    assert not any(str(run.root) + "/" in word for word in order.argv)


def test_a_training_that_fails_is_a_failure_and_is_not_evaluated(attempts: MakeAttempts) -> None:
    made = attempts("import sys; print('boom', file=sys.stderr); sys.exit(3)")
    state = run_jobs(made, [JobKey(0, seed, "train") for seed in (1, 2)], Silent())
    assert [key.kind for key in state.jobs] == ["train", "train"]
    first, second = failures(state)
    assert first == "0000/seed-1/train failed: boom (exit status 3)" and "seed-2" in second


def test_in_an_image_each_job_has_a_container_of_its_own(
    attempts: MakeAttempts, stand_in: StandIn, tmp_path: Path
) -> None:
    """The stand-in for Apptainer writes down its words and runs what stands behind the image, here.

    What is measured in its container, the stand-in of the batch scripts' tests says.
    """
    (tmp_path / "measured").mkdir()
    measure = f'STANDIN_APPTAINER={tmp_path}/measured exec {STANDIN} "$@"'
    measure = f'case "$*" in *"/bin/bash -p -s"*) {measure} ;; esac'
    run_it = 'while [ "$1" != /m.sif ]; do [ "$1" != --pwd ] || cd "$2"; shift; done; shift 2; python3 "$@"'
    stand_in("apptainer", f'{measure}; printf "%s\\n" "$@" >>"{tmp_path}/asked"; {run_it}')
    made = attempts(
        "import sys; print('boom', file=sys.stderr); sys.exit(3)", Container(Path("/m.sif"), "none")
    )
    assert failures(run_jobs(made, [JobKey(0, 1, "train")], Silent())) == [
        "0000/seed-1/train failed: boom (exit status 3)"
    ]
    attempt = made.lineage.attempt(JobKey(0, 1, "train"), 1)
    isolation = read_result(attempt).isolation
    assert (isolation.filesystem, isolation.network) == ("container", "none")
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked[asked.index("/m.sif") + 1] == "/opt/mlipilot/bin/python"
    seen = [asked[i + 1].split(":")[0] for i, word in enumerate(asked) if word == "--bind"]
    assert seen[:3] == [str(made.lineage.recipe(0)), str(made.run.data / "train"), str(attempt / "output")]
    assert {Path(path).parent for path in seen[3:]} == {made.run.modules}


@pytest.mark.parametrize("options", [{}, {"salt": None}, {"salt": 11}])
def test_the_data_are_those_of_the_runs_salt(
    run: RunPaths, tmp_path: Path, options: dict[str, int | None]
) -> None:
    """The record is read before, so that the provenance may be another one here."""
    record, output = read_record(run, run.lineage(0), 0), RunPaths(tmp_path / "output")
    write_json(run.data / "provenance.json", {"dataset": "cu_emt", "options": options})
    claim_output(output.root, run)
    lay_out(record, output)
    written = load_locked(output.spec).dataset.options
    assert written.get("salt") == options.get("salt") and written.keys() <= {"salt"}


def _processes_of(root: Path) -> list[Path]:
    """Processes that have a path below `root` on their command line."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found += [entry] if os.fsencode(root) in entry.read_bytes() else []
    return found


def test_nothing_runs_on_after_an_interrupt(attempts: MakeAttempts) -> None:
    class Interrupted(Silent):
        def jobs(self, running: Sequence[JobProgress]) -> None:
            if log.is_file() and log.read_text():
                raise KeyboardInterrupt

    made = attempts("import os, time; print(os.getpid(), flush=True); time.sleep(60)")
    log = made.lineage.attempt(JobKey(0, 1, "train"), 1) / "stdout.log"
    others = set(children(os.getpid()))  # of other tests, multiprocessing's own tracker say
    with pytest.raises(KeyboardInterrupt):
        run_jobs(made, [JobKey(0, seed, "train") for seed in (1, 2)], Interrupted())
    wait_until(lambda: not _processes_of(made.run.root))  # a number in a sandbox is none out here
    wait_until(lambda: all(identify(pid) is None for pid in set(children(os.getpid())) - others))


def test_a_job_that_cannot_be_started_leaves_none_behind(
    attempts: MakeAttempts, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = attempts("import time; time.sleep(60)")
    start = made.backend.ensure_started

    def once(*works: Submission) -> None:
        if "seed-2" in works[0].order.name:
            raise PausedError("no worker process could be started")
        start(*works)

    monkeypatch.setattr(made.backend, "ensure_started", once)
    with pytest.raises(PausedError, match="no worker process"):
        run_jobs(made, [JobKey(0, seed, "train") for seed in (1, 2)], Silent())
    first = made.lineage.attempt(JobKey(0, 1, "train"), 1)
    assert made.backend.standing(first).phase in ("sealed", "ended")


def test_the_output_is_outside_the_run_and_empty(run: RunPaths, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not write into the run"):
        claim_output(run.root / "again", run)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("kept")
    for taken in (tmp_path / "full", tmp_path / "full" / "file"):
        with pytest.raises(InputError, match="not an empty directory"):
            claim_output(taken, run)
    claim_output(tmp_path / "new" / "deep", run)
    claim_output(tmp_path / "new" / "deep", run)  # empty: an image's outer half has made it
    assert (tmp_path / "full" / "file").read_text() == "kept"


def test_the_run_is_not_written(attempts: MakeAttempts, run: RunPaths) -> None:
    before = {path: sha256_file(path) for path in files_below(run.root)}
    run_jobs(attempts("raise SystemExit(3)"), [JobKey(0, 1, "train")], Silent())
    assert {path: sha256_file(path) for path in files_below(run.root)} == before
