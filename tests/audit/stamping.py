"""A time stamp authority on loopback: OpenSSL's, behind HTTP."""

from __future__ import annotations

import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

SETTINGS = """
[req]
distinguished_name = name
x509_extensions = of_authority
prompt = no
[name]
CN = a time stamp authority of a test
[of_authority]
basicConstraints = critical, CA:TRUE
extendedKeyUsage = critical, timeStamping
[tsa]
default_tsa = authority
[authority]
serial = {folder}/serial
signer_cert = {folder}/tsa.pem
signer_key = {folder}/tsa.key
signer_digest = sha256
default_policy = 1.2.3.4
digests = sha256
"""


class Authority:
    """Its certificate, its address, and what it answers in place of a time stamp if it is to misbehave."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.certificate = folder, folder / "tsa.pem"
        self.url = ""
        self.instead: tuple[int, bytes] | None = None
        (folder / "tsa.conf").write_text(SETTINGS.format(folder=folder))
        (folder / "serial").write_text("01\n")
        self._openssl(
            *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-config", "tsa.conf", "-keyout", "tsa.key", "-out", "tsa.pem"),
        )

    def stamp(self, query: bytes) -> bytes:
        """The reply to a request."""
        with tempfile.NamedTemporaryFile() as asked:
            asked.write(query)
            asked.flush()
            self._openssl("ts", "-reply", "-config", "tsa.conf", "-queryfile", asked.name, "-out", "reply")
        return (self.folder / "reply").read_bytes()

    def _openssl(self, *words: str) -> None:
        subprocess.run(["openssl", *words], cwd=self.folder, capture_output=True, check=True)


@contextmanager
def time_stamp_authority(folder: Path) -> Iterator[Authority]:
    """One that listens until the end."""
    authority = Authority(folder)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            query = self.rfile.read(int(self.headers["Content-Length"]))
            is_query = self.headers["Content-Type"] == "application/timestamp-query"
            status, body = authority.instead or ((200, authority.stamp(query)) if is_query else (415, b""))
            self.send_response(status)
            self.send_header("Content-Type", "application/timestamp-reply")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        authority.url = f"http://127.0.0.1:{server.server_port}/"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield authority
        server.shutdown()
        thread.join()
