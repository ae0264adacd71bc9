"""Asking another program, which may be missing, fail, print anything, or never answer.

Inside an image what only the host has is asked of the host, where `sbatch/mlipilot` listens: `sbatch/host.sh`
says in what files.
"""

from __future__ import annotations

import math
import os
import secrets
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from mlipilot.untrusted import one_line

HOST_VARIABLE = "MLIPILOT_HOST"  # the folder in which the host is asked; set by `sbatch/mlipilot`
_HOST_S = 10.0  # for what the host does besides running the program


@dataclass(frozen=True)
class Answer:
    """How a program ended and what it printed."""

    program: str
    status: int | None
    """None: it could not be started, or did not end in time."""
    stdout: str
    stderr: str
    hung: bool = False

    @property
    def is_missing(self) -> bool:
        """Whether there is no such program, or none that can be started."""
        return self.status is None and not self.hung

    @property
    def ok(self) -> bool:
        """Whether it ended well."""
        return self.status == 0

    @property
    def is_answer(self) -> bool:
        """Whether it ended well and, if it printed nothing, without an error: Slurm's do both at a time."""
        return self.ok and (bool(self.stdout.strip()) or "error:" not in self.stderr)

    @property
    def words(self) -> str:
        """Why it did not end well, in its own words: programs say that last."""
        lines = [line for line in (self.stderr or self.stdout).splitlines() if line.strip()]
        said = next((line for line in lines if "unknown flag" in line), "; ".join(lines[-2:]))
        return one_line(said, 300) or f"{self.program} ended with status {self.status} and said nothing"


def ask(
    argv: Sequence[str],
    *,
    timeout_s: float = 15.0,
    stdin: str = "",
    environment: Mapping[str, str] | None = None,
    most_bytes: int = 256 * 1024,
) -> Answer:
    """Run a program to its end, or end it and all of its group when `timeout_s` is over.

    Of each of its two outputs the first `most_bytes` are read.
    """
    program = argv[0]
    # Files, not pipes: a pipe stays open for as long as any descendant holds it.
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        given.write(stdin.encode())
        given.seek(0)
        try:
            process = subprocess.Popen(
                argv, stdin=given, stdout=out, stderr=err, env=environment, start_new_session=True
            )
        except FileNotFoundError:
            return _ask_host(argv, timeout_s, stdin, environment or {}, most_bytes)
        except OSError as error:
            return Answer(program, None, "", f"{program} cannot be run: {error.strerror}")
        try:
            status = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return Answer(program, None, "", f"{program} did not answer within {timeout_s:g} s", hung=True)
        finally:
            if process.returncode is None:
                _end(process)
        return Answer(program, status, _text(out, most_bytes), _text(err, most_bytes))


def slurm_environment() -> dict[str, str]:
    """The environment for Slurm's commands: within a job, that job's own settings would become theirs."""
    of_slurm = ("SLURM_", "SBATCH_", "SRUN_", "SINFO_", "SACCT_", "SQUEUE_")
    kept = {k: v for k, v in os.environ.items() if k == "SLURM_CONF" or not k.startswith(of_slurm)}
    return kept | {"LC_ALL": "C"}


def _ask_host(
    argv: Sequence[str], timeout_s: float, stdin: str, environment: Mapping[str, str], most_bytes: int
) -> Answer:
    """The answer of the host to what is not here; that it is missing where no host listens or has it."""
    program = argv[0]
    missing = Answer(program, None, "", f"{program} is not on the PATH")
    if not os.environ.get(HOST_VARIABLE):
        return missing
    folder, name = Path(os.environ[HOST_VARIABLE]), secrets.token_hex(8)
    added = [f"{key}={value}" for key, value in environment.items() if os.environ.get(key) != value]
    words = [str(math.ceil(timeout_s)), str(len(added)), *added, stdin, *argv]
    ended = folder / f"{name}.status"
    try:
        (folder / f"{name}.question").write_bytes(b"".join(word.encode() + b"\0" for word in words))
        pipe = os.open(folder / "questions", os.O_WRONLY | os.O_NONBLOCK)  # fails when nobody listens
        try:
            os.write(pipe, f"{name}\n".encode())
        finally:
            os.close(pipe)
        deadline = time.monotonic() + timeout_s + _HOST_S
        while not ended.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        status = ended.read_text(encoding="ascii").strip() if ended.exists() else "124"
        if status == "none":
            return missing
        if status in ("124", "137"):  # the words of `timeout` for what it had to end
            return Answer(program, None, "", f"{program} did not answer within {timeout_s:g} s", hung=True)
        with (folder / f"{name}.out").open("rb") as out, (folder / f"{name}.err").open("rb") as err:
            return Answer(program, int(status), _text(out, most_bytes), _text(err, most_bytes))
    except (OSError, ValueError):
        return missing


def _text(stream: IO[bytes], most_bytes: int) -> str:
    stream.seek(0)
    return stream.read(most_bytes).decode(errors="replace")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End it and its group; first gently, so that Apptainer unmounts an image."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        # One that hangs in the kernel (a dead file server) cannot be waited for.
        with suppress(subprocess.TimeoutExpired):
            process.wait(2.0)
