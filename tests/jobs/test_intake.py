"""What is taken over of what a candidate left: by fault, each on a sealed attempt."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mlipilot.audit.files import files_below
from mlipilot.audit.manifest import check_manifest, read_manifest
from mlipilot.controller.job_submission import HAND_OVER
from mlipilot.jobs import intake
from mlipilot.jobs.intake import take_over
from mlipilot.jobs.job_files import Isolation, JobOrder, JobResult, read_result
from mlipilot.jobs.kept_checkpoints import KEPT, drop_lost_work, take_up
from mlipilot.jobs.local_backend import LocalBackend
from mlipilot.jobs.notes import Begun
from mlipilot.jobs.sealing import Ending, seal
from mlipilot.report.training_curves import MAX_LOG_BYTES
from tests.hostile import as_a_user, dig
from tests.jobs.conftest import submit, wait

MakeOrder = Callable[..., JobOrder]
KEEPS = {"model/config.json": 100, "model/weights.safetensors": 1000}
WANTED = {"job.json", "result.json", "output/model/config.json", "output/model/weights.safetensors"}


@pytest.fixture
def attempt(run: Path) -> Path:
    """One whose training has ended well, with all that is expected of it."""
    attempt = run / "attempt"
    model = attempt / "output" / "model"
    model.mkdir(parents=True)
    (attempt / "job.json").write_text("{}")
    (model / "config.json").write_text("{}")
    (model / "weights.safetensors").write_bytes(b"w" * 1000)
    return attempt


@pytest.fixture
def sealed(attempt: Path, make_order: MakeOrder) -> Callable[..., JobResult]:
    def sealed(ending: Ending | None = None) -> JobResult:
        order = make_order("").model_copy(update={"keeps": KEEPS})
        seal(attempt, order, ending or Ending("ok", 0), Begun.here(order, Isolation()), changed=[])
        assert check_manifest(attempt) == []
        return read_result(attempt)

    return sealed


def _is_whole(attempt: Path) -> bool:
    return read_manifest(attempt).keys() == WANTED and not any(
        path.is_dir() and path.name not in ("output", "model") for path in attempt.rglob("*")
    )


def _odd_names(out: Path) -> None:
    for name in (b"\xff\xfe", "a\u2028b".encode(), b"a\x0bb", "a\x85b".encode(), b"\x1b[31m", b"a\nb", b" "):
        Path(os.fsdecode(os.fsencode(out) + b"/" + name)).touch()
        Path(os.fsdecode(os.fsencode(out / "model") + b"/" + name)).mkdir()


def _sparse(out: Path) -> None:
    for number in range(4):
        with (out / f"big{number}").open("wb") as stream:
            stream.truncate(4 * 2**30)


def _special(out: Path) -> None:
    os.mkfifo(out / "pipe")
    (out / "link").symlink_to("/etc")
    (out / "model" / "link").symlink_to("/etc/passwd")
    (out.parent / "link").symlink_to("nowhere")
    os.link(out / "model" / "config.json", out / "hard")
    os.mknod(out / "socket", stat.S_IFSOCK | 0o600)


LEFT = {
    "names": (_odd_names, 14),
    "deep": (lambda out: dig(out, 1500), 1501),
    "sparse": (_sparse, 4),
    "special": (_special, 6),
    "pickle": (lambda out: (out / "model" / "model.pt").write_bytes(b"x"), 1),
    "beside": (lambda out: (out.parent / "manifest-sha256.txt.bak").touch(), 1),
}


@pytest.mark.parametrize("what", LEFT)
def test_what_is_not_expected_is_counted_and_dropped(
    attempt: Path, sealed: Callable[..., JobResult], what: str
) -> None:
    leave, entries = LEFT[what]
    leave(attempt / "output")
    begun = time.process_time()
    result = sealed()
    assert time.process_time() - begun < 10
    assert (result.outcome, result.reason) == ("ok", None)
    assert result.dropped is not None and result.dropped.entries == entries and not result.dropped.left
    assert result.dropped.names and all(
        name.isascii() and name.isprintable() for name in result.dropped.names
    )
    assert _is_whole(attempt)


def test_a_hundred_thousand_files_take_seconds(attempt: Path, sealed: Callable[..., JobResult]) -> None:
    many = attempt / "output" / "many"
    many.mkdir()
    folder = os.open(many, os.O_DIRECTORY)
    for number in range(100_000):
        os.close(os.open(str(number), os.O_CREAT, dir_fd=folder))
    os.close(folder)
    begun = time.process_time()
    result = sealed()
    assert time.process_time() - begun < 30
    assert result.dropped is not None and result.dropped.entries == 100_001
    assert _is_whole(attempt)


def test_of_an_honest_training_nothing_is_said(attempt: Path, sealed: Callable[..., JobResult]) -> None:
    for scratch in ("home/caches", "output/checkpoint"):
        (attempt / scratch).mkdir(parents=True)
        (attempt / scratch / "x").touch()
    (attempt / "stdout.log").write_text("done\n")
    result = sealed()
    assert (result.outcome, result.dropped) == ("ok", None)
    assert read_manifest(attempt).keys() == WANTED | {"stdout.log"}
    assert (attempt / "stdout.log").read_text() == "done\n"
    assert (attempt / "output/model/weights.safetensors").read_bytes() == b"w" * 1000


def _replace(out: Path, name: str, kind: str) -> None:
    place = out / name if name else out
    place.rename(out.parent / "real")
    match kind:
        case "link":
            place.symlink_to(out.parent / "real")
        case "folder":
            place.mkdir()
            (place / "x").touch()
        case "pipe":
            os.mkfifo(place)
        case "file":
            place.touch()
        case "large":
            with place.open("wb") as stream:
                stream.truncate(4 * 2**30)
        case "none":
            pass


@pytest.mark.parametrize(
    ("name", "kind", "says"),
    [
        ("model/config.json", "link", "model/config.json is no regular file"),
        ("model/config.json", "folder", "model/config.json is no regular file"),
        ("model/weights.safetensors", "pipe", "model/weights.safetensors is no regular file"),
        ("model/config.json", "large", "model/config.json has 4294967296 bytes; at most 100 are taken"),
        ("model/weights.safetensors", "none", "there is no model/weights.safetensors"),
        ("model", "none", "there is no model/"),
        ("model", "link", "model/ is no folder"),
        ("model", "file", "model/ is no folder"),
        ("", "link", "output is no folder"),
        ("", "file", "output is no folder"),
        ("", "none", "there is no output"),
    ],
)
def test_what_is_expected_and_wrong_is_the_candidates_fault(
    attempt: Path, sealed: Callable[..., JobResult], name: str, kind: str, says: str
) -> None:
    _replace(attempt / "output", name, kind)
    result = sealed()
    assert (result.outcome, result.exit_status) == ("failed", 0)
    assert result.reason == f"the hand-over is refused: {says}"
    (attempt / "manifest-sha256.txt").unlink()
    assert sealed().outcome == "failed"  # as after a kill just before the end


def test_a_training_that_failed_says_so_and_not_what_it_left(
    attempt: Path, sealed: Callable[..., JobResult]
) -> None:
    _replace(attempt / "output", "model", "link")
    result = sealed(Ending("failed", 3, "exit status 3"))
    assert (result.outcome, result.reason) == ("failed", "exit status 3")


def test_a_file_that_somebody_else_holds_cannot_be_changed_by_that(
    attempt: Path, sealed: Callable[..., JobResult]
) -> None:
    config = attempt / "output" / "model" / "config.json"
    os.link(config, attempt.parent / "other name")
    with config.open("a") as held:
        sealed()
        held.write("changed")
    (attempt.parent / "other name").write_text("changed")
    assert check_manifest(attempt) == [] and config.read_text() == "{}"


def test_of_a_long_log_head_and_tail_are_kept(attempt: Path, sealed: Callable[..., JobResult]) -> None:
    assert intake.LOG_HEAD_BYTES >= MAX_LOG_BYTES
    with (attempt / "stdout.log").open("wb") as stream:
        stream.write(b"first\n")
        stream.truncate(4 * 2**30)
        stream.seek(0, os.SEEK_END)
        stream.write(b"last\n")
    sealed()
    log = (attempt / "stdout.log").read_bytes()
    size, most = 4 * 2**30 + 5, intake.LOG_HEAD_BYTES + intake.LOG_TAIL_BYTES
    words = f"\n[mlipilot: {size - most} of {size} bytes were cut out here]\n".encode()
    assert log.startswith(b"first\n") and log.endswith(b"\0last\n") and len(log) == most + len(words)
    assert log[intake.LOG_HEAD_BYTES :].startswith(words)


@pytest.mark.parametrize("name", ["stdout.log", "begun.json", "measured"])
def test_what_trusted_code_wrote_and_is_something_else_now_is_a_fault(
    attempt: Path, sealed: Callable[..., JobResult], name: str
) -> None:
    (attempt / name).symlink_to("/etc/passwd")
    result = sealed()
    assert result.outcome == "failed" and name in (result.reason or "")
    assert _is_whole(attempt)


def test_a_kept_file_is_no_longer_than_it_may_be(attempt: Path, sealed: Callable[..., JobResult]) -> None:
    (attempt / KEPT).write_text("x" * (2**20 + 1))
    assert "kept.json is not what trusted code wrote" in (sealed().reason or "")


def test_what_a_lost_attempt_left_is_no_part_of_the_iteration(tmp_path: Path) -> None:
    lost = tmp_path / "seed-1" / "train" / "attempt-1"
    (lost / "output" / "model").mkdir(parents=True)
    dig(lost / "output", 1500)
    _sparse(lost / "output")
    (lost / "job.json").write_text("{}")
    (lost / "stderr.log").write_text("oom\n")
    drop_lost_work(tmp_path)
    assert [path.name for path in files_below(lost)] == ["job.json", "stderr.log"]
    assert not (lost / "output").exists()


def test_a_checkpoint_that_cannot_be_looked_through_is_none(tmp_path: Path) -> None:
    first, second = tmp_path / "attempt-1", tmp_path / "attempt-2"
    for attempt in (first, second):
        attempt.mkdir()
    take_up(first)
    (first / "output" / "checkpoint").mkdir()
    dig(first / "output" / "checkpoint", 1500)
    assert take_up(second) == 0
    assert not (first / "output" / "checkpoint").exists()
    assert not (second / "output" / "checkpoint").exists()


def test_what_is_shut_is_opened_by_its_owner(tmp_path: Path) -> None:
    code = """
import os
from pathlib import Path
from mlipilot.jobs.intake import take_over
model = Path("attempt/output/model").absolute()
(model / "deep/er").mkdir(parents=True)
for name in ("config.json", "weights.safetensors", "deep/er/x"):
    (model / name).write_text("x")
    (model / name).chmod(0)
for folder in (model / "deep/er", model / "deep", model, model.parent, model.parents[1]):
    folder.chmod(0)
taken = take_over(model.parents[1], {"model/config.json": 9, "model/weights.safetensors": 9})
print(taken.faults, taken.dropped.entries, sorted(os.listdir(model)), (model / "config.json").read_text())
"""
    assert as_a_user(code, tmp_path) == "[] 3 ['config.json', 'weights.safetensors'] x\n"


def test_limits_are_those_of_the_evaluator() -> None:
    assert HAND_OVER == {"model/config.json": 64 * 1024, "model/weights.safetensors": 256 * 1024 * 1024}


HOSTILE = """
import os, sys, subprocess
out = os.path.join(os.environ["HOME"], "..", "output")
os.makedirs(out + "/model")
for name in ("config.json", "weights.safetensors"):
    open(out + "/model/" + name, "w").write("{}")
writer = "import itertools, os, sys\\nfor n in itertools.count(): os.makedirs(f'{sys.argv[1]}/d{n}/e')"
subprocess.Popen([sys.executable, "-c", writer, out], start_new_session=True)
os.chmod("/proc/self/fd/1", 0)
os.mkdir(out + "/shut"); open(out + "/shut/x", "w"); os.chmod(out + "/shut", 0)
print("x" * 7_000_000)
"""


def test_a_worker_takes_over_after_all_that_it_started_has_ended(run: Path, make_order: MakeOrder) -> None:
    order = make_order(HOSTILE).model_copy(update={"keeps": HAND_OVER})
    submit(run / "attempt", order)
    assert wait(run / "attempt").phase == "sealed"
    result = read_result(run / "attempt")
    assert (result.outcome, result.reason) == ("ok", None)
    assert result.dropped is not None and not result.dropped.left
    assert check_manifest(run / "attempt") == []
    assert sorted(path.name for path in (run / "attempt" / "output").iterdir()) == ["model"]
    assert LocalBackend().standing(run / "attempt").phase == "sealed"


def test_only_what_is_asked_for_is_taken(attempt: Path) -> None:
    taken = take_over(attempt, {"model/config.json": 2})
    assert taken.faults == [] and taken.dropped.names == ["output/model/weights.safetensors"]
