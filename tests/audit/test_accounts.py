"""The extract of Slurm's accounts, as sacct writes them on several sites, and with noise in them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from mlipilot.audit.accounts import AccountedJob, extract_in
from mlipilot.paths import RunPaths

COLUMNS = (
    "JobIDRaw|JobID|JobName|State|Submit|Eligible|Start|End|ElapsedRaw|AllocCPUS|CPUTimeRAW|TotalCPU|MaxRSS"
)
COLUMNS += "|ReqMem|AllocTRES|WorkDir"
NAME = "mlp-0123456789abcdef-l0.0001.s7.t.a1"


def job(
    number: str = "7",
    *,
    state: str = "COMPLETED",
    eligible: str = "2026-11-29T10:00:10",
    start: str = "2026-11-29T10:01:10",
    elapsed: str = "60",
    given: str = "billing=2,cpu=2,gres/gpu=1,mem=300M,node=1",
) -> str:
    times = f"2026-11-29T10:00:00|{eligible}|{start}|Unknown"
    return (
        f"{number}|{number}|{NAME}|{state}|{times}|{elapsed}|2|{2 * int(elapsed)}|00:00||300M|{given}|/r|un"
    )


def batch(cpu: str = "01:30.500", memory: str = "150M", number: str = "7") -> str:
    return f"{number}.batch|{number}.batch|batch|COMPLETED||||||2|120|{cpu}|{memory}||cpu=2,mem=300M|"


def read(tmp_path: Path, *rows: str) -> list[AccountedJob]:
    run = RunPaths(tmp_path)
    run.spool.mkdir(exist_ok=True)
    text = "\n".join(["time=1796000000 begun=1795000000 accounting=1", COLUMNS, *rows]) + "\n"
    (run.spool / "accounts").write_bytes(text.encode("utf-8", "surrogateescape"))
    found = extract_in(run.spool)
    assert found is not None and found.keeps_accounts
    return found.jobs


def test_a_job_with_its_units(tmp_path: Path) -> None:
    (found,) = read(tmp_path, job(), batch())
    assert (found.job_id, found.name, found.directory) == ("7", NAME, "/r|un")
    assert found.submitted == datetime(2026, 11, 29, 10, 0, 0, tzinfo=UTC)
    assert (found.waited_s, found.elapsed_s) == (60.0, 60.0)  # from when it was eligible
    assert (found.billed_core_s, found.billed_gpu_s) == (120.0, 60.0)
    assert (found.used_core_s, found.memory_bytes, found.most_memory_bytes) == (
        90.5,
        300 * 2**20,
        150 * 2**20,
    )


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("00:00.013", 0.013),
        ("59:59", 3599),
        ("01:02:03", 3723),
        ("2-03:04:05", 183845),
        ("", None),
        ("INVALID", None),
        ("-1:00", None),
    ],
)
def test_cpu_times(tmp_path: Path, text: str, seconds: float | None) -> None:
    (found,) = read(tmp_path, job(), batch(cpu=text))
    assert found.used_core_s == seconds


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("3248K", 3248 * 2**10),
        ("1.50G", 1.5 * 2**30),
        ("1024", 1024),
        ("", None),
        ("16?", None),
        ("1e9", None),
    ],
)
def test_sizes(tmp_path: Path, text: str, size: float | None) -> None:
    (found,) = read(tmp_path, job(), batch(memory=text))
    assert found.most_memory_bytes == size


@pytest.mark.parametrize(
    ("given", "gpu_s"),
    [
        ("cpu=2,gres/gpu=2", 120.0),
        ("cpu=2,gres/gpu:a100=2,gres/gpu=2", 120.0),
        ("cpu=2,gres/gpu:a100=1,gres/gpu:h100=1", 120.0),
        ("cpu=2,mem=300M", 0.0),
        ("", 0.0),
        ("gres/gpu=many", 0.0),
    ],
)
def test_gpus_by_number_or_by_type(tmp_path: Path, given: str, gpu_s: float) -> None:
    (found,) = read(tmp_path, job(given=given))
    assert found.billed_gpu_s == gpu_s


def test_what_never_began_has_waited_for_nothing_that_counts(tmp_path: Path) -> None:
    pending = job("8", state="PENDING", start="Unknown", elapsed="0", given="")
    cancelled = job("9", state="CANCELLED by 0", elapsed="0", given="")
    found = read(tmp_path, pending, cancelled)
    assert [(one.waited_s, one.billed_core_s) for one in found] == [(None, 0.0)] * 2
    assert found[1].state == "CANCELLED"


def test_each_start_has_its_own_step(tmp_path: Path) -> None:
    first, again = read(tmp_path, job(state="REQUEUED"), batch("00:10"), job(elapsed="30"), batch("00:20"))
    assert (first.state, first.used_core_s, again.used_core_s) == ("REQUEUED", 10.0, 20.0)
    assert again.billed_core_s == 60.0


def test_noise_is_left_out(tmp_path: Path) -> None:
    noise = [
        "Maintenance on Monday",
        "",
        "a|b",
        "|" * 15,
        batch(number="6"),
        "7.extern" + "|" * 15,
        "\udcff|" * 15,
    ]
    found = read(tmp_path, *noise, job(), *noise, batch(), *noise)
    assert [(one.job_id, one.used_core_s) for one in found] == [("7", 90.5)]


@pytest.mark.parametrize(
    "text", ["", "\n", "accounting=1\n", "time=x begun=1 accounting=1\n", "time=1 begun=1"]
)
def test_what_is_no_extract_is_none(tmp_path: Path, text: str) -> None:
    run = RunPaths(tmp_path)
    run.spool.mkdir()
    (run.spool / "accounts").write_text(text)
    assert extract_in(run.spool) is None
    (run.spool / "accounts").unlink()
    assert extract_in(run.spool) is None
