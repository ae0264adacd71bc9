"""Somebody who has nothing but the documents: an ordinary user in a fresh clone. Standard library only."""

from __future__ import annotations

import contextlib
import os
import pwd
import queue
import secrets
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from types import TracebackType

from tests.documents.blocks import REPOSITORY


class User:
    """A user of this machine, with the environment of a login shell and no more."""

    def __init__(self, name: str) -> None:
        entry = pwd.getpwnam(name)
        self.name, self.home, self.uid, self.gid = name, Path(entry.pw_dir), entry.pw_uid, entry.pw_gid
        self.is_me = entry.pw_uid == os.geteuid()

    def environment(self) -> dict[str, str]:
        """HOME, PATH, USER and LANG; Slurm and Apptainer are on the PATH where this machine has them."""
        programs = [found for name in ("sinfo", "apptainer", "git") if (found := shutil.which(name))]
        folders = ["/usr/local/bin", "/usr/bin", "/bin", *(str(Path(found).parent) for found in programs)]
        path = ":".join(dict.fromkeys(folders))
        return {"HOME": str(self.home), "PATH": path, "USER": self.name, "LANG": "C.UTF-8"}

    def command(self, *words: str) -> list[str]:
        """What runs `words` as this user; root may become anybody."""
        if self.is_me:
            return list(words)
        become = ["setpriv", f"--reuid={self.uid}", f"--regid={self.gid}", "--init-groups", "--"]
        return [*become, *words]

    def desk(self) -> Path:
        """A new folder in the user's home, with what can be cloned in it; whoever asked for it removes it."""
        folder = Path(tempfile.mkdtemp(prefix="mlipilot-documents-", dir=self.home))
        self.own(folder)
        self.upstream(folder)
        return folder

    def own(self, *paths: Path) -> None:
        """Give files to the user."""
        for path in paths:
            os.chown(path, self.uid, self.gid)

    def upstream(self, folder: Path) -> None:
        """Put there what the user clones: the work tree as it stands here, committed, `upstream.git`."""
        bare = folder / "upstream.git"
        identity = {"GIT_AUTHOR_NAME": "tests", "GIT_AUTHOR_EMAIL": "", "GIT_INDEX_FILE": f"{folder}/index"}
        identity |= {"GIT_COMMITTER_NAME": "tests", "GIT_COMMITTER_EMAIL": ""}

        def git(*words: str | Path) -> str:
            done = subprocess.run(
                ["git", *words], cwd=REPOSITORY, env=os.environ | identity, stdout=subprocess.PIPE, check=True
            )
            return done.stdout.decode().strip()

        git("add", "--all")
        commit = git("commit-tree", "-m", "The work tree", git("write-tree"))
        git("init", "--quiet", "--bare", "--initial-branch=main", bare)
        git("push", "--quiet", bare, f"{commit}:refs/heads/main")
        self.own(*bare.rglob("*"), bare)


class Shell:
    """A user's bash, to which one line after another is typed; what is typed reaches no command."""

    # As at a terminal, Ctrl-C ends a command and not the shell.
    _LOOP = """
    trap : INT
    while IFS=' ' read -r mark line <&"$0"; do
      eval "$line" </dev/null
      printf '\\n%s%s\\n' "$mark" "$?"
    done
    """

    def __init__(self, user: User, folder: Path) -> None:
        read_end, self._lines = os.pipe()
        self._said: queue.Queue[bytes] = queue.Queue()
        self.text = ""
        self._process = subprocess.Popen(
            user.command("bash", "--noprofile", "--norc", "-c", self._LOOP, str(read_end)),
            cwd=folder,
            env=user.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=[read_end],
            start_new_session=True,
        )
        os.close(read_end)
        threading.Thread(target=self._listen, daemon=True).start()

    def __enter__(self) -> Shell:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._lines)
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):  # all have ended
                os.killpg(self._process.pid, number)
                deadline = time.monotonic() + 20
                while time.monotonic() < deadline:
                    self._process.poll()  # who has ended counts until then
                    os.killpg(self._process.pid, 0)
                    time.sleep(0.1)

    def _listen(self) -> None:
        assert self._process.stdout is not None
        while said := os.read(self._process.stdout.fileno(), 65536):
            self._said.put(said)

    def type(self, line: str, *, status: int = 0, seconds: float = 600) -> str:
        """What a command says on both streams; it must end with `status` in time."""
        self.begin(line)
        return self.end(status=status, seconds=seconds)

    def begin(self, line: str) -> None:
        """Type a line and do not wait for its end."""
        self._mark = f"<{secrets.token_hex(8)}>"
        self._line, self.text = line, ""
        os.write(self._lines, f"{self._mark} {line}\n".encode())

    def end(self, *, status: int = 0, seconds: float = 600) -> str:
        """Wait for the end of the line that was begun."""
        found = self.wait_for(self._mark, seconds)
        said, _, rest = found.partition(self._mark)
        while "\n" not in rest:
            rest += self.wait_for("", 10)
        got = int(rest.split("\n")[0])
        assert got == status, f"`{self._line}` ended with status {got}, not {status}:\n{said[-6000:]}"
        return said

    def wait_for(self, words: str, seconds: float) -> str:
        """All that was said since the line began, once `words` are in it."""
        deadline = time.monotonic() + seconds
        fresh = not words
        while fresh or words not in self.text:
            left = deadline - time.monotonic()
            if words and self._mark in self.text:
                left = 0  # the line has ended without them
            assert left > 0, f"`{self._line}` has not said {words!r} in {seconds} s:\n{self.text[-6000:]}"
            try:
                self.text += self._said.get(timeout=min(left, 1)).decode(errors="replace")
            except queue.Empty:
                assert self._process.poll() is None, f"`{self._line}` ended the shell:\n{self.text[-6000:]}"
                continue
            fresh = False
        return self.text

    def is_busy(self) -> bool:
        """Whether the line that was begun goes on; hears what it has said meanwhile."""
        with contextlib.suppress(queue.Empty):
            while True:
                self.text += self._said.get(timeout=0.5).decode(errors="replace")
        return self._mark not in self.text

    def interrupt(self) -> None:
        """Ctrl-C."""
        os.killpg(self._process.pid, signal.SIGINT)


def type_the_clone(shell: Shell, line: str, desk: Path, folder: str) -> None:
    """Type the README's first line on a cluster, with an address for `…`, and stand in the clone."""
    assert line == "git clone … mlipilot && cd mlipilot"
    shell.type(line.replace("mlipilot", folder).replace("…", str(desk / "upstream.git")))
