"""The trusted ends of a Slurm job, called as `sbatch/job.sh` calls them; the middle is played by the test."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mlipilot.audit.files import write_json
from mlipilot.audit.manifest import check_manifest, is_finished
from mlipilot.jobs.disk_space import NO_ROOM
from mlipilot.jobs.job_files import JobOrder, JobResult, read_order, read_result
from mlipilot.jobs.measured import of_host
from mlipilot.jobs.phases import NOT_TO_SEAL, NOTHING_TO_RUN
from mlipilot.jobs.spool import Spool
from tests.hostile import dig
from tests.jobs.phasing import phase as _phase

MakeOrder = Callable[..., JobOrder]


@pytest.fixture
def attempt(run: Path, make_order: MakeOrder) -> Path:
    """An attempt that is due."""
    directory = run / "attempt"
    directory.mkdir()
    order = make_order("pass").model_copy(update={"reads": [str(run / "recipe")]})
    write_json(directory / "job.json", order.model_dump())
    return directory


def _change(attempt: Path, **changes: object) -> None:
    order = json.loads((attempt / "job.json").read_text())
    write_json(attempt / "job.json", order | changes)


def _measure(attempt: Path, *leaks: str, network: str = "namespace") -> None:
    """What `sbatch/job.sh` has `measure.sh` print, in a container without a fault but these."""
    recipe = str(attempt.parent / "recipe").replace(" ", "\\040")
    output = str(attempt / "output").replace(" ", "\\040")
    table = (
        "0:1 / / ro - overlay overlay ro,lowerdir=/s/overlay-lowerdir:/s/rootfs",
        "0:2 /dev /dev rw - tmpfs tmpfs rw",
        f"8:1 {recipe} {recipe} ro - ext4 /dev/sda rw",
        f"8:1 {output} {output} rw - ext4 /dev/sda rw",
    )
    binds = [f"bind {bind}" for bind in of_host(read_order(attempt), attempt)]
    (attempt / "measured.host").write_text("".join(f"{line}\n" for line in binds))
    lines = [*(f"mount 1 1 {line}" for line in table), *binds, *leaks, f"network {network}", "measured"]
    (attempt / "measured").write_text("".join(f"{line}\n" for line in lines))


def _begins(attempt: Path, **options: object) -> int:
    """Up to where the command would run, in a container without a fault."""
    began = _phase("begin", attempt, **options)
    if began != 0:
        return began
    _measure(attempt)
    return _phase("judge", attempt, **options)


def _ended(attempt: Path, status: int, wall_s: float = 1.5, **options: object) -> JobResult:
    assert _begins(attempt) == 0
    assert _phase("end", attempt, exit_status=status, wall_s=wall_s, cpu_s=1.25, **options) == 0
    assert check_manifest(attempt) == []
    return read_result(attempt)


def test_a_good_job(attempt: Path) -> None:
    result = _ended(attempt, 0)
    assert (result.outcome, result.exit_status, result.wall_s, result.cpu_s) == ("ok", 0, 1.5, 1.25)
    assert (result.job_id, result.isolation.filesystem, result.isolation.network) == (
        "42",
        "container",
        "none",
    )
    assert result.isolation.measured and result.isolation.network_by == "namespace"
    argv = (attempt / "container.none").read_text().splitlines()
    assert argv[0] == "timeout" and argv[-1] == "/m.sif" and "--containall" in argv
    assert (attempt / "exec.argv").read_text().splitlines() == read_order(attempt).argv


@pytest.mark.parametrize(
    ("status", "wall_s", "outcome", "reason"),
    [
        (3, 1, "failed", "exit status 3"),
        (-9, 1, "failed", "ended by signal 9"),
        (124, 61, "time_limit", "limit of 60 s"),
        (-9, 71, "time_limit", "limit of 60 s"),
        (124, 1, "failed", "exit status 124"),
    ],
)
def test_how_a_job_ends(attempt: Path, status: int, wall_s: float, outcome: str, reason: str) -> None:
    result = _ended(attempt, status, wall_s)
    assert result.outcome == outcome and reason in (result.reason or "")


def test_a_job_that_was_cancelled_here_is_sealed_as_such(attempt: Path, run: Path) -> None:
    write_json(attempt / "slurm.json", {"name": "mlp-0123456789abcdef-x"})
    Spool(run / "spool").ask_to_cancel("mlp-0123456789abcdef-x")
    assert _ended(attempt, -15, cancelled=True).outcome == "cancelled"


def test_a_job_ended_from_outside_is_not_sealed_and_can_start_again(attempt: Path) -> None:
    write_json(attempt / "slurm.json", {"name": "mlp-0123456789abcdef-x"})
    assert _begins(attempt) == 0
    assert _phase("end", attempt, exit_status=-15, cancelled=True) == NOT_TO_SEAL
    assert not is_finished(attempt)
    assert _begins(attempt, restart=1) == 0


def test_a_job_that_starts_again_has_the_rest_of_its_time_and_pays_for_all_of_it(attempt: Path) -> None:
    write_json(attempt / "slurm.json", {"name": "mlp-0123456789abcdef-x"})
    begun = time.monotonic()
    assert _begins(attempt) == 0
    assert (attempt / "container.none").read_text().splitlines()[3] == "60"
    (attempt / "output" / "checkpoint").mkdir()
    time.sleep(1.1)
    (attempt / "output" / "checkpoint" / "state").touch()
    most_s = time.monotonic() - begun + 0.02  # the kernel gives files times in steps of some milliseconds
    assert _phase("end", attempt, exit_status=-15, wall_s=1.2, cancelled=True) == NOT_TO_SEAL
    assert _begins(attempt, restart=1) == 0
    left_s = int((attempt / "container.none").read_text().splitlines()[3])
    assert 60 - most_s - 1 <= left_s < 60
    assert (attempt / "output" / "checkpoint" / "state").exists()
    _change(attempt, uses_gpu=True)
    assert _phase("end", attempt, restart=1, exit_status=124, wall_s=59.5) == 0
    result = read_result(attempt)
    assert (result.outcome, result.gpu_s) == ("time_limit", result.wall_s)
    assert 59.5 + 1.1 - 0.02 <= result.wall_s <= 59.5 + most_s
    assert check_manifest(attempt) == [] and not (attempt / "output").exists()


def test_of_two_jobs_one_runs_the_attempt(attempt: Path) -> None:
    assert _begins(attempt) == 0
    assert _begins(attempt, job_id="43") == NOTHING_TO_RUN
    assert _begins(attempt) == NOTHING_TO_RUN


def test_a_job_does_nothing_to_an_attempt_that_is_asked_of_another(
    attempt: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_JOB_NAME", "mlp-0123456789abcdef-x")
    write_json(attempt / "slurm.json", {"name": "mlp-0123456789abcdef-y"})
    assert _phase("begin", attempt) == NOTHING_TO_RUN
    assert not (attempt / "worker.json").exists()
    write_json(attempt / "slurm.json", {"name": "mlp-0123456789abcdef-x"})
    assert _begins(attempt) == 0
    write_json(attempt / "slurm.json", {"name": "mlp-0123456789abcdef-y"})
    assert _phase("end", attempt) == NOT_TO_SEAL
    assert not is_finished(attempt)


def test_a_sealed_attempt_is_left_alone(attempt: Path) -> None:
    _ended(attempt, 0)
    assert _phase("begin", attempt, restart=1) == NOTHING_TO_RUN
    assert _phase("end", attempt, exit_status=1) == 0
    assert read_result(attempt).outcome == "ok"


def test_an_evaluation_without_its_training_does_not_run(attempt: Path, tmp_path: Path) -> None:
    _change(attempt, needs=str(tmp_path / "training"))
    assert _phase("begin", attempt) == NOTHING_TO_RUN
    assert not (attempt / "worker.json").exists()


def test_no_network_is_required_and_not_had(attempt: Path) -> None:
    _change(attempt, require_no_network=True)
    assert _phase("begin", attempt) == 0
    _measure(attempt, network="host")
    assert _phase("judge", attempt) == NOTHING_TO_RUN
    result = read_result(attempt)
    assert result.outcome == "not_isolated" and "requires jobs without a network" in str(result.reason)
    assert result.isolation.network == "host" and is_finished(attempt)


LEAKS = ("mount 1 1 8:1 /srv/secret /srv/secret rw - ext4 /dev/sda rw", "variable SITE_TOKEN")


def test_what_a_container_shows_besides_is_named_and_nothing_runs(attempt: Path) -> None:
    assert _phase("begin", attempt) == 0
    _measure(attempt, *LEAKS)
    assert _phase("judge", attempt) == NOTHING_TO_RUN
    result = read_result(attempt)
    assert result.outcome == "not_isolated" and check_manifest(attempt) == []
    for words in (
        "mount /srv/secret (ext4 /dev/sda, writable)",
        "variable SITE_TOKEN",
        "jobs.on_leak: record",
    ):
        assert words in str(result.reason)


def test_where_a_campaign_will_have_it_a_leak_is_recorded_alone(attempt: Path) -> None:
    _change(attempt, on_leak="record")
    assert _phase("begin", attempt) == 0
    _measure(attempt, *LEAKS)
    assert _phase("judge", attempt) == 0
    assert _phase("end", attempt) == 0
    result = read_result(attempt)
    assert result.outcome == "ok" and result.isolation.variables == ["SITE_TOKEN"]
    assert result.isolation.mounts == ["/srv/secret (ext4 /dev/sda, writable)"]


@pytest.mark.parametrize("said", [None, "", "mount 1 1 0:1 / / ro - tmpfs tmpfs ro\nnetwork namespace\n"])
def test_what_was_not_measured_to_the_end_is_not_trusted(attempt: Path, said: str | None) -> None:
    assert _phase("begin", attempt) == 0
    if said is not None:
        (attempt / "measured").write_text(said)
    (attempt / "measured.log").write_text("FATAL: no user namespaces\n")
    assert _phase("judge", attempt) == NOTHING_TO_RUN
    result = read_result(attempt)
    assert result.outcome == "not_isolated" and "FATAL: no user namespaces" in str(result.reason)


def test_a_measurement_of_an_earlier_start_does_not_count(attempt: Path) -> None:
    write_json(attempt / "slurm.json", {"name": "mlp-0123456789abcdef-x"})
    assert _phase("begin", attempt) == 0
    _measure(attempt)
    assert _phase("begin", attempt, restart=1) == 0
    assert _phase("judge", attempt, restart=1) == NOTHING_TO_RUN


@pytest.mark.parametrize("file", ["measured", "measured.host"])
def test_another_directory_in_the_place_of_a_bind_is_found(attempt: Path, file: str) -> None:
    assert _phase("begin", attempt) == 0
    _measure(attempt)
    text = (attempt / file).read_text()
    bind = of_host(read_order(attempt), attempt)[-1]
    (attempt / file).write_text(text.replace(f"bind {bind}", "bind 1:1 " + bind.partition(" ")[2]))
    assert _phase("judge", attempt) == NOTHING_TO_RUN
    assert f"{attempt}/output, which is something else there" in str(read_result(attempt).reason)


def test_results_of_older_versions_are_read(attempt: Path) -> None:
    result = _ended(attempt, 0).model_dump()
    old = {name: result["isolation"][name] for name in ("backend", "filesystem", "network", "environment")}
    read = JobResult.model_validate(result | {"isolation": old})
    assert not read.isolation.measured and read.isolation.leaks == []


def test_a_protected_file_that_differs_before(attempt: Path, run: Path) -> None:
    (run / "data" / "train.xyz").write_text("other")
    assert _phase("begin", attempt) == NOTHING_TO_RUN
    assert read_result(attempt).outcome == "protected_changed"


def test_a_protected_file_that_differs_after(attempt: Path, run: Path) -> None:
    assert _begins(attempt) == 0
    (run / "scorecard.yaml").write_text("x: 2\n")
    assert _phase("end", attempt) == 0
    assert read_result(attempt).outcome == "protected_changed" and is_finished(attempt)


def _note_end(attempt: Path, **how: object) -> None:
    """As job.sh does when the command has ended."""
    start = {"job_id": "42", "restart": 0, "node": "n1"}
    ended = {"exit_status": 0, "cancelled": False, "wall_s": 1.5, "cpu_s": None}
    (attempt / "ended.json").write_text(json.dumps(start | ended | how))


def test_a_cpu_time_that_could_not_be_read_is_unknown(attempt: Path) -> None:
    assert _begins(attempt) == 0
    assert _phase("end", attempt, cpu_s=None) == 0
    assert read_result(attempt).cpu_s is None


def test_a_start_seals_what_an_older_one_had_brought_to_an_end(attempt: Path) -> None:
    assert _begins(attempt) == 0
    (attempt / "output" / "weights").write_text("learnt")
    _note_end(attempt)
    assert _phase("begin", attempt, restart=1, node="n2") == NOTHING_TO_RUN
    assert check_manifest(attempt) == [] and (attempt / "output" / "weights").exists()
    result = read_result(attempt)
    assert (result.outcome, result.wall_s, result.isolation.network) == ("ok", 1.5, "none")
    assert result.sealed_by == "job 42 (start 1) on n2"


def test_a_start_runs_again_what_was_ended_from_outside(attempt: Path) -> None:
    assert _begins(attempt) == 0
    (attempt / "output" / "weights").write_text("half learnt")
    _note_end(attempt, exit_status=-15, cancelled=True)
    assert _begins(attempt, restart=1) == 0
    assert not is_finished(attempt) and not list((attempt / "output").iterdir())


def test_an_evaluation_seals_its_training_first(attempt: Path, run: Path) -> None:
    training = run / "training"
    training.mkdir()
    write_json(training / "job.json", json.loads((attempt / "job.json").read_text()))
    assert _begins(training) == 0
    _note_end(training)
    _change(attempt, needs=str(training))
    assert _begins(attempt, job_id="43") == 0
    assert check_manifest(training) == []
    assert read_result(training).sealed_by == "job 43 (start 0) on n1"


def test_a_job_does_not_begin_where_its_result_could_not_be_kept(
    attempt: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    _change(attempt, min_free_mib=10**9)
    assert _phase("begin", attempt) == NO_ROOM
    assert "not storable: " in capfd.readouterr().out and not (attempt / "worker.json").exists()
    _change(attempt, min_free_mib=1)
    assert _begins(attempt) == 0


def test_what_has_ended_is_sealed_however_little_room_there_is(attempt: Path) -> None:
    assert _begins(attempt) == 0
    _note_end(attempt)
    _change(attempt, min_free_mib=10**9)
    assert _phase("begin", attempt, restart=1) == NOTHING_TO_RUN
    assert is_finished(attempt)


def test_a_start_that_failed_between_claim_and_command_begins_again(attempt: Path) -> None:
    (attempt / "exec.env").mkdir()  # cannot be replaced by a file
    assert _phase("begin", attempt) == NO_ROOM
    assert (attempt / "worker.json").exists()
    (attempt / "exec.env").rmdir()
    assert _begins(attempt) == 0


def test_an_end_that_is_not_of_the_start_that_ran_last_seals_nothing(attempt: Path) -> None:
    assert _begins(attempt) == 0
    assert _begins(attempt, restart=1) == 0
    assert _phase("end", attempt) == NOT_TO_SEAL
    assert _phase("end", attempt, restart=1) == 0


def test_what_a_candidate_left_is_taken_over_by_the_end_and_is_its_own_fault_alone(attempt: Path) -> None:
    _change(attempt, keeps={"model/config.json": 9})
    assert _begins(attempt) == 0
    (attempt / "output" / "model").mkdir()
    (attempt / "output" / "model" / "config.json").symlink_to("/etc/passwd")
    dig(attempt / "output", 1500)
    files = {path.name for path in attempt.iterdir()}
    assert _phase("end", attempt) == 0 and check_manifest(attempt) == []
    result = read_result(attempt)
    assert result.reason == "the hand-over is refused: model/config.json is no regular file"
    assert result.outcome == "failed" and result.dropped is not None
    assert result.dropped.entries == 1502
    assert files <= {path.name for path in attempt.iterdir()}, "what a start writes is no candidate's"
