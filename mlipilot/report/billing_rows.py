"""Slurm's bill as rows, a sentence and JSON: our own count beside it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mlipilot.report.billing import Billed, Billing
from mlipilot.report.text import duration, joined, number
from mlipilot.report.view import Cost, LineageView

NO_ACCOUNTS = "Slurm keeps no accounts here."
NO_EXTRACT = "The submitter has not asked Slurm's accounts yet."


@dataclass(frozen=True)
class BilledRow:
    """What Slurm billed for some jobs, and what we have counted ourselves."""

    what: str
    jobs: int
    starts: int
    core_h: str
    own_cpu_h: str
    gpu_h: str
    own_gpu_h: str
    core_use: str
    memory_use: str
    wait: str


def billed_rows(view: LineageView) -> list[BilledRow]:
    """Each iteration, what followed, the controllers and all of it; none where there are no accounts."""
    billing = view.billing
    if billing is None or not billing.keeps_accounts:
        return []
    of_jobs = sum((i.cost for i in view.iterations), view.confirmation_cost + view.sealed_cost)
    rows = [
        _row(f"iteration {i.number}" if i.number else "baseline", billed, i.cost)
        for i in view.iterations
        if (billed := billing.iterations.get(i.number)) is not None
    ]
    others = (
        ("confirmation", billing.confirmation, view.confirmation_cost),
        ("sealed check", billing.sealed, view.sealed_cost),
        ("controllers", billing.controllers, None),
    )
    rows += [_row(what, billed, own) for what, billed, own in others if billed.jobs]
    rows.append(_row("total", billing.total, of_jobs))
    if billing.endpoint.jobs:
        rows.append(_row("the run's model, besides", billing.endpoint, None))
    return rows


def _row(what: str, billed: Billed, own: Cost | None) -> BilledRow:
    return BilledRow(
        what=what,
        jobs=billed.jobs,
        starts=billed.starts,
        core_h=_hours(billed.core_s),
        own_cpu_h=_hours(own.cpu_s) if own else "—",
        gpu_h=_hours(billed.gpu_s),
        own_gpu_h=_hours(own.gpu_s) if own else "—",
        core_use=_percent(billed.core_fraction),
        memory_use=_percent(billed.memory_fraction),
        wait="—" if billed.mean_wait_s is None else duration(billed.mean_wait_s),
    )


def billed_notes(view: LineageView) -> list[str]:
    """How the figures are to be read, or why there are none; nothing of jobs that were no Slurm jobs."""
    billing = view.billing
    if billing is None:
        return [NO_EXTRACT] if view.state.started and view.state.started.backend == "slurm" else []
    if not billing.keeps_accounts:
        return [NO_ACCOUNTS]
    return list(_reading(billing))


def _reading(billing: Billing) -> Iterator[str]:
    total = billing.total
    yield (
        "Slurm bills the cores and GPUs that a job was given for as long as it had them, each start of a job "
        "that was requeued included; our own count is the CPU and GPU time of the candidates' processes."
    )
    yield (
        f"Slurm's accounts as of {billing.time:%Y-%m-%d %H:%M} UTC, by the submitter's extract of them in "
        f"{joined(billing.files)}; `mlipilot report` once more has the newest."
    )
    if total.core_fraction is None:
        yield "Slurm does not tell here what of the cores was used."
    if total.memory_fraction is None:
        yield "Slurm does not measure memory here."


def billed_dict(billed: Billed) -> dict[str, Any]:
    """What was billed, for scripts: hours, fractions from 0 to 1, seconds; None where Slurm tells nothing."""
    return {
        "jobs": billed.jobs,
        "starts": billed.starts,
        "billed_core_hours": round(billed.core_s / 3600, 6),
        "billed_gpu_hours": round(billed.gpu_s / 3600, 6),
        "core_use_fraction": _rounded(billed.core_fraction),
        "largest_memory_use_fraction": _rounded(billed.memory_fraction),
        "mean_queue_wait_s": _rounded(billed.mean_wait_s),
    }


def billing_dict(view: LineageView) -> dict[str, Any] | None:
    """For `mlipilot status --json`: None where Slurm's accounts were never asked."""
    billing = view.billing
    if billing is None:
        return None
    if not billing.keeps_accounts:
        return {"kept": False}
    return {
        "kept": True,
        "asked": billing.time.isoformat(),
        "total": billed_dict(billing.total),
        "iterations": {str(n): billed_dict(billed) for n, billed in billing.iterations.items()},
        "confirmation": billed_dict(billing.confirmation),
        "sealed_check": billed_dict(billing.sealed),
        "controllers": billed_dict(billing.controllers),
        "endpoint_of_run": billed_dict(billing.endpoint),
    }


def billed_words(found: dict[str, Any] | None) -> str:
    """What `billing_dict` found, in a few words; empty where nothing was billed."""
    if found is None:
        return ""
    if not found["kept"]:
        return NO_ACCOUNTS.rstrip(".")
    total = found["total"]
    words = f"{number(total['billed_core_hours'])} core-h"
    if total["billed_gpu_hours"]:
        words += f" and {number(total['billed_gpu_hours'])} GPU-h"
    used = total["core_use_fraction"]
    return f"{words} billed by Slurm" + (f", {used:.0%} of the cores used" if used is not None else "")


def _hours(seconds: float) -> str:
    return number(seconds / 3600)


def _percent(fraction: float | None) -> str:
    return "—" if fraction is None else f"{100 * fraction:.0f} %"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
