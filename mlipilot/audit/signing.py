"""Signatures by SSH keys and time stamps by RFC 3161, made and checked by OpenSSH's and OpenSSL's programs.

Nothing here knows what is signed. A signature is the blob that SSHSIG defines (OpenSSH's PROTOCOL.sshsig),
a time stamp the authority's whole reply in DER.
"""

from __future__ import annotations

import base64
import hashlib
import re
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path
from urllib.parse import urlsplit

from mlipilot.errors import InputError
from mlipilot.programs import Answer, ask
from mlipilot.untrusted import one_line

NAMESPACE = "mlipilot-seal"
"""What SSHSIG parts signatures for one purpose by from those for another."""
_BEGIN, _END = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"
_MAGIC = b"SSHSIG"
_MAX_REPLY_BYTES = 256 * 1024
_AUTHORITY_S = 30.0
_PACKAGE = {"ssh-keygen": "OpenSSH's client (Debian: openssh-client)", "openssl": "OpenSSL"}


def check_readable(path: Path, what: str, mend: str) -> None:
    """Whether a file that a user named is there. Raises InputError, and PermissionError."""
    try:
        path.open("rb").close()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise InputError(f"there is no file with {what} here", file=path, mend=mend) from None


def sign(data: bytes, key: Path) -> bytes:
    """The signature of `data` by a private key, or by the one of a `.pub` file that an agent holds.

    A passphrase is asked for at the terminal. Raises InputError when there is none, and for what else
    ssh-keygen refuses.
    """
    mend = (
        "`--key` takes a private SSH key (`ssh-keygen -t ed25519` makes one), or its .pub if ssh-agent has it"
    )
    check_readable(key, "a key", mend)
    with tempfile.TemporaryDirectory() as folder:
        signed = Path(folder, "signed")
        signed.write_bytes(data)
        # Not by `ask`: who types a passphrase needs the terminal, which a session of its own has not.
        argv = ["ssh-keygen", "-Y", "sign", "-f", str(key), "-n", NAMESPACE, str(signed)]
        try:
            done = subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
        except OSError:
            raise _missing("ssh-keygen") from None
        if done.returncode == 0:
            return _dearmoured(signed.with_name("signed.sig").read_text(encoding="ascii"))
    said = done.stderr.decode(errors="replace")
    if "passphrase" in said and not sys.stdin.isatty():
        said = "it has a passphrase, and there is no terminal to ask for it"
        mend = f"`ssh-add {key}` once, then `--key {key}.pub`"
    raise InputError(f"ssh-keygen cannot sign with this key: {one_line(said)}", file=key, mend=mend)


def check_signature(data: bytes, signature: bytes, signers: Path | None) -> str | None:
    """Which of `signers`, a file as ssh's allowed_signers, made a signature of `data`; None: none of them.

    Raises ValueError when it is not a signature of `data`, InputError where there is no ssh-keygen, and for a
    line of `signers` that is none.
    """
    with tempfile.TemporaryDirectory() as folder:
        armour = Path(folder, "signature")
        armour.write_text(_armoured(signature), encoding="ascii")

        def asked(verb: str, *options: str) -> Answer:
            argv = ["ssh-keygen", "-Y", verb, "-s", str(armour), *options]
            return _asked(argv, data.decode())

        if not asked("check-novalidate", "-n", NAMESPACE).ok:
            raise ValueError("the signature is not one of what it says")
        if signers is None:
            return None
        listed = asked("find-principals", "-f", str(signers))
        if not listed.ok and (bad := re.search(r":([0-9]+): (.+)$", listed.stderr, re.MULTILINE)):
            mend = "each line is `NAME` and what stands in a key's .pub file"
            raise InputError(one_line(bad[2]), file=signers, line=int(bad[1]), mend=mend)
        for name in re.split(r"[,\n]", listed.stdout) if listed.ok else []:
            if name and asked("verify", "-n", NAMESPACE, "-f", str(signers), "-I", name).ok:
                return one_line(name)
    return None


def fingerprint(signature: bytes) -> str:
    """That of the key which a signature says it is by, as `ssh-keygen -l` shows it. Raises ValueError."""
    start = len(_MAGIC) + 8  # the version and the length of what follows, of four bytes each
    key = signature[start : start + int.from_bytes(signature[start - 4 : start])]
    if not signature.startswith(_MAGIC) or not key:
        raise ValueError("the signature is none of SSH's")
    return "SHA256:" + base64.b64encode(hashlib.sha256(key).digest()).decode().rstrip("=")


def time_stamp(signature: bytes, url: str) -> bytes:
    """An authority's reply to a request by RFC 3161 to stamp `signature`. Raises InputError."""
    mend = "give the address of a time stamp authority, or seal without `--timestamp`"
    try:
        parts = urlsplit(url)
        is_address = parts.scheme in ("http", "https") and parts.hostname and "@" not in parts.netloc
    except ValueError:
        is_address = False
    if not is_address:
        raise InputError("--timestamp takes an http(s) address without a login in it", mend=mend)
    import requests  # it takes a while to import, and most seals have no time stamp

    with tempfile.TemporaryDirectory() as folder:
        data, query = Path(folder, "data"), Path(folder, "query")
        data.write_bytes(signature)
        made = _asked(["openssl", "ts", "-query", "-data", str(data), "-sha256", "-cert", "-out", str(query)])
        if not made.ok:
            raise InputError(f"openssl makes no request for a time stamp: {made.words}", mend=mend)
        headers = {"Content-Type": "application/timestamp-query"}
        try:
            with requests.post(
                url,
                query.read_bytes(),
                headers=headers,
                timeout=_AUTHORITY_S,
                allow_redirects=False,
                stream=True,
            ) as response:
                reply = next(response.iter_content(_MAX_REPLY_BYTES), b"")
                status = response.status_code
        except (requests.RequestException, ValueError) as error:  # whose words quote the address in full
            said = f"no time stamp: {parts.hostname} did not answer ({type(error).__name__})"
            raise InputError(said, mend=mend) from None
    try:
        if status != 200:
            raise ValueError(f"HTTP status {status}")
        stamped_at(reply, signature)
    except ValueError as error:
        raise InputError(f"no time stamp from {parts.hostname}: {error}", mend=mend) from None
    return reply


def stamped_at(reply: bytes, signature: bytes) -> str:
    """When an authority says that it stamped `signature`; whose word that is nobody has checked.

    Raises ValueError when the reply grants none, or one of something else; InputError without openssl.
    """
    with tempfile.TemporaryDirectory() as folder:
        (file := Path(folder, "reply")).write_bytes(reply)
        shown = _asked(["openssl", "ts", "-reply", "-in", str(file), "-text"]).stdout
    time = re.search(r"^Time stamp: (.+)$", shown, re.MULTILINE)
    if time is None or not re.search(r"^Status: Granted", shown, re.MULTILINE):
        raise ValueError("the reply grants no time stamp")
    if hashlib.sha256(signature).digest() not in reply:
        raise ValueError("the time stamp is of something else")
    return one_line(time[1], 60)


def check_stamp(reply: bytes, signature: bytes, authorities: Path) -> None:
    """Hold a time stamp of `signature` to the certificates (PEM) of authorities that are trusted.

    Raises ValueError where it does not, InputError without openssl.
    """
    with tempfile.TemporaryDirectory() as folder:
        data, token = Path(folder, "data"), Path(folder, "token")
        data.write_bytes(signature)
        token.write_bytes(reply)
        checked = _asked(
            ["openssl", "ts", "-verify", "-data", str(data), "-in", str(token), "-CAfile", str(authorities)]
        )
    if not checked.ok:
        raise ValueError(f"its time stamp is of no authority of {authorities}")


def _asked(argv: list[str], stdin: str = "") -> Answer:
    answer = ask(argv, stdin=stdin)
    if answer.status is None:
        raise _missing(answer.program)
    return answer


def _missing(program: str) -> InputError:
    return InputError(
        f"{program} is not on the PATH, or does not run here",
        mend=f"install {_PACKAGE[program]}, or go where it is",
    )


def _armoured(signature: bytes) -> str:
    return "\n".join((_BEGIN, *textwrap.wrap(base64.b64encode(signature).decode(), 70), _END, ""))


def _dearmoured(text: str) -> bytes:
    return base64.b64decode("".join(text.split(_BEGIN)[1].split(_END)[0].split()))
