"""Signatures and time stamps, by way of a seal: which keys sign, whose signature it is, what is missing."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from mlipilot.audit.seals import seal_run, seals_of
from mlipilot.controller.verification import verify_run
from mlipilot.errors import InputError
from mlipilot.paths import RunPaths
from tests.audit.stamping import Authority

pytestmark = pytest.mark.skipif(
    not (shutil.which("ssh-keygen") and shutil.which("openssl")), reason="ssh-keygen or openssl is missing"
)


def test_a_key_that_is_allowed_for_other_purposes_only_is_nobodys(
    run: RunPaths, keys: Path, tmp_path: Path
) -> None:
    seal_run(run, keys / "alice", None)
    (tmp_path / "signers").write_text(f'alice namespaces="git" {(keys / "alice.pub").read_text()}')
    assert [seal.signer for seal in verify_run(run, tmp_path / "signers").seals] == [None]


def test_a_line_of_signers_that_is_none_is_named(run: RunPaths, keys: Path, tmp_path: Path) -> None:
    seal_run(run, keys / "alice", None)
    (tmp_path / "signers").write_text("# whom we trust\nalice\n")
    with pytest.raises(InputError, match=r"signers:2: .*\n  mend: each line is"):
        verify_run(run, tmp_path / "signers")


@pytest.mark.parametrize("answer", [(500, b""), (200, b"<html>"), (302, b"")])
def test_an_authority_that_grants_nothing_leaves_no_seal(
    run: RunPaths,
    keys: Path,
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
    answer: tuple[int, bytes],
) -> None:
    monkeypatch.setattr(authority, "instead", answer)
    with pytest.raises(InputError, match=r"no time stamp from 127\.0\.0\.1"):
        seal_run(run, keys / "alice", authority.url)
    assert not run.seals.exists()


@pytest.mark.parametrize(
    "url", ["ftp://x", "http://", "http://u:secret@x/", "http://[", "http://127.0.0.1:9/"]
)
def test_an_address_that_is_none_or_dead_leaves_no_seal(run: RunPaths, keys: Path, url: str) -> None:
    with pytest.raises(InputError, match="mend: ") as raised:
        seal_run(run, keys / "alice", url)
    assert "secret" not in str(raised.value) and not run.seals.exists()


def test_a_passphrase_without_a_terminal_has_its_mend(
    run: RunPaths, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SSH_ASKPASS", "SSH_AUTH_SOCK"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(InputError, match=r"no terminal to ask for it\n  mend: `ssh-add"):
        seal_run(run, keys / "locked", None)
    with pytest.raises(InputError, match=r"locked\.pub: ssh-keygen cannot sign with this key"):
        seal_run(run, _alone(keys, run), None)
    assert not run.seals.exists()


def test_a_passphrase_is_asked_for_at_the_terminal(run: RunPaths, keys: Path) -> None:
    words = [sys.executable, "-m", "mlipilot", "seal", str(run.root), "--key", str(keys / "locked")]
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, words)
    shown = b""
    with suppress(OSError):  # what a terminal answers when its last process has ended
        while part := os.read(terminal, 4096):
            shown += part
            if shown.endswith(b": ") and b"passphrase" in part:
                os.write(terminal, b"secret\n")
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, shown
    assert len(seals_of(run)) == 1 and b"sealed: " in shown


def test_an_agent_signs_for_the_public_key(
    run: RunPaths, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("ssh-agent") is None:
        pytest.skip("there is no ssh-agent here")
    socket = run.root.parent / "agent"
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.DEVNULL)
    try:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
        while not socket.exists():
            assert agent.poll() is None
        subprocess.run(["ssh-add", "-q", keys / "alice"], check=True, capture_output=True)
        seal_run(run, _alone(keys, run, "alice"), None)
    finally:
        agent.terminate()
        agent.wait()
    assert [seal.signer for seal in verify_run(run, keys / "signers").seals] == ["alice@example.org"]


def _alone(keys: Path, run: RunPaths, name: str = "locked") -> Path:
    """A public key without its private one beside it."""
    return Path(shutil.copy(keys / f"{name}.pub", run.root.parent))


def test_what_is_no_key_or_not_there_is_named(run: RunPaths, keys: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none: there is no file with a key here\n  mend: "):
        seal_run(run, tmp_path / "none", None)
    with pytest.raises(InputError, match="signers: ssh-keygen cannot sign with this key"):
        seal_run(run, keys / "signers", None)


def test_without_ssh_keygen_nothing_is_signed_and_signers_cannot_be_asked(
    run: RunPaths, keys: Path, path_without: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seal_run(run, keys / "alice", None)
    monkeypatch.setenv("PATH", path_without("ssh-keygen"))
    found = verify_run(run)
    assert found.problems == [] and [seal.agrees for seal in found.seals] == [True]
    assert any("which was not checked: ssh-keygen is not on the PATH" in note for note in found.notes)
    for refused in (lambda: verify_run(run, keys / "signers"), lambda: seal_run(run, keys / "alice", None)):
        with pytest.raises(InputError, match=r"ssh-keygen is not on the PATH.*\n  mend: install OpenSSH"):
            refused()


def test_without_openssl_there_is_no_time_stamp(
    run: RunPaths,
    keys: Path,
    authority: Authority,
    path_without: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seal_run(run, keys / "alice", authority.url)
    monkeypatch.setenv("PATH", path_without("openssl"))
    found = verify_run(run)
    assert found.problems == [] and any("its time stamp was not checked" in note for note in found.notes)
    for refused in (
        lambda: verify_run(run, authorities=authority.certificate),
        lambda: seal_run(run, keys / "alice", authority.url),
    ):
        with pytest.raises(InputError, match="openssl is not on the PATH"):
            refused()
