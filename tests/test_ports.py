"""Ports that are given to foreign programs are nobody else's."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

from tests.ports import RANGE, reserved_ports

TAKE = """
import sys
from tests.ports import reserved_ports

with reserved_ports(4) as first:
    print(first, flush=True)
    sys.stdin.read()
"""
EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")


def test_two_at_a_time_get_different_ones_though_nobody_listens_yet() -> None:
    with reserved_ports(4) as first, reserved_ports(4) as second:
        assert abs(first - second) >= 4
        for port in range(first, first + 4):
            socket.create_server(("127.0.0.1", port)).close()


def test_another_process_gets_others_and_lets_go_when_it_is_killed() -> None:
    repository = Path(__file__).resolve().parents[1]
    other = subprocess.Popen(
        [sys.executable, "-c", TAKE], cwd=repository, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    theirs = int(other.stdout.readline())
    with reserved_ports(4) as ours:
        assert abs(ours - theirs) >= 4
    other.kill()
    other.communicate()
    with socket.socket(socket.AF_UNIX) as name:
        name.bind(f"\0mlipilot-tests-port-{theirs}")


def test_a_port_that_somebody_listens_on_is_passed_over() -> None:
    with reserved_ports(4) as first:
        listener = socket.create_server(("127.0.0.1", first + 3))
    with listener, reserved_ports(4) as other:
        assert other != first


def test_the_kernel_gives_none_of_them_to_others() -> None:
    least = int(EPHEMERAL.read_text().split()[0])
    assert RANGE[1] <= min(least, 20_000)
