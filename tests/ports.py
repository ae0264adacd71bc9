"""Ports for programs that have to be given a number; whatever can, binds port 0 and keeps what it gets."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

RANGE = (10_000, 20_000)
"""Below what `sbatch/endpoint.sh` draws, and what the kernel gives to port 0 and to outgoing connections."""


@contextmanager
def reserved_ports(count: int) -> Iterator[int]:
    """The first of so many free ports in a row, which no other process of these tests gets meanwhile."""
    for first in range(*RANGE, count):
        with socket.socket(socket.AF_UNIX) as name:
            try:
                # A name in the kernel, not a file: it is free again when this process is gone.
                name.bind(f"\0mlipilot-tests-port-{first}")
                with ExitStack() as probes:
                    for port in range(first, first + count):
                        probes.enter_context(socket.create_server(("127.0.0.1", port)))
            except OSError:
                continue
            yield first
            return
    raise OSError(f"no {count} free ports in a row in {RANGE}")
