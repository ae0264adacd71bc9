"""How a run, or one iteration of it, stands: as JSON, and in one line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from mlipilot.controller.accept import mean
from mlipilot.controller.spending import accounts
from mlipilot.controller.state import OWN_FAULTS
from mlipilot.errors import InputError
from mlipilot.jobs.inflight import InFlight
from mlipilot.report.billing_rows import billed_dict, billed_words, billing_dict
from mlipilot.report.jobs import in_flight_lines, job_rows
from mlipilot.report.rows import elapsed_s
from mlipilot.report.text import count, duration, standard_deviation
from mlipilot.report.view import IterationView, LineageView


def status_dict(view: LineageView) -> dict[str, Any]:
    """How a run stands, as JSON: for `mlipilot status --json`."""
    state, cost = view.state, view.total_cost
    drafts = [draft for iteration in view.iterations for draft in iteration.revisions]
    return {
        "run": str(view.run.root),
        "campaign": view.spec.name,
        "profile": view.spec.profile,
        "phase": view.phase,
        "reason": state.finished or state.paused,
        "controller": view.controller,
        "handed_back": _handed_back(view),
        "clusters": view.clusters,
        "iteration": max(len(view.iterations) - 1, 0),
        "iterations_budget": view.spec.budget.iterations,
        "incumbent": state.incumbent,
        "running_jobs": [job.job for job in view.in_flight if job.phase == "running"],
        "jobs_in_flight": [asdict(job) for job in view.in_flight],
        "isolation": {"kinds": view.isolation, "open_doors": view.open_doors},
        "verdicts": {
            status: sum(i.status == status for i in view.iterations[1:])
            for status in ("accepted", "reverted", "invalid", "no proposal")
        },
        "drafts": {
            "submitted": len(drafts),
            "objections": sum(bool(draft.objection) for draft in drafts),
            "smoke_failures": sum(draft.smoke in OWN_FAULTS for draft in drafts),
        },
        "gates": {
            "total": len(view.gates),
            "baseline_passed": view.gates_passed(view.baseline),
            "incumbent_passed": view.gates_passed(view.incumbent),
        },
        "confirmed": None if state.confirmed is None else state.confirmed.model_dump(mode="json"),
        "ablated": None if state.ablated is None else state.ablated.model_dump(mode="json"),
        "examined": None if state.examined is None else state.examined.model_dump(mode="json"),
        "feasible": view.feasible if view.incumbent is not None and view.incumbent.measured else None,
        "violation": {"baseline": _violation(view.baseline), "incumbent": _violation(view.incumbent)},
        "objective": {
            "baseline": view.baseline.objective if view.baseline else None,
            "incumbent": view.incumbent.objective if view.incumbent else None,
        },
        "tokens": {"prompt": cost.prompt_tokens, "completion": cost.completion_tokens},
        "usd": round(cost.usd, 4),
        "budgets": {
            account.name: {"spent": round(account.spent, 4), "limit": account.limit}
            for account in accounts(state, view.spec.budget, elapsed_s(view))
            if account.limit is not None
        },
        "cpu_seconds": round(cost.cpu_s, 3),
        "cpu_unknown_jobs": cost.cpu_unknown,
        "gpu_seconds": round(cost.gpu_s, 3),
        "accounts": billing_dict(view),
        "elapsed_s": round(elapsed_s(view), 3),
        "pilot": view.spec.pilot.label,
        "problems": view.problems,
    }


def _handed_back(view: LineageView) -> dict[str, Any] | None:
    """Who goes on with a lineage whose controller handed its core back, and in `words` when."""
    waiting = view.handed_back
    if waiting is None:
        return None
    jobs, number = ", ".join(waiting.awaited), waiting.successor
    match waiting.fate:
        case "waits":
            words = f"no core is held: job {number} goes on when one of its jobs ({jobs}) ends"
        case "due":
            words = f"one of its jobs ({jobs}) has ended: job {number} goes on when Slurm starts it"
        case "lost":
            resuming = view.run.resuming(view.lineage.number)
            words = (
                f"nobody carries it: job {number}, which was to go on when one of its jobs ({jobs}) ends, "
                f"is not in Slurm's queue any more\n  mend: {resuming} goes on"
            )
    held = [f"job {job} does not run by itself: {mend}" for job, mend in waiting.held.items()]
    return asdict(waiting) | {"words": [words, *held]}


def _violation(iteration: IterationView | None) -> float | None:
    return mean(iteration.violations) if iteration and iteration.measured else None


def status_line(found: Mapping[str, Any]) -> str:
    """What `status_dict` found, in lines: phase, iteration, gates and cost, then the jobs in flight."""
    gates = found["gates"]
    done = f"iteration {found['iteration']} of {found['iterations_budget']}"
    parts = [f"{found['campaign']}: {found['phase']}", done]
    if gates["incumbent_passed"] is not None:
        before, after = gates["baseline_passed"], gates["incumbent_passed"]
        parts.append(f"gates passed {before} → {after} of {gates['total']}")
    parts.append(f"{duration(found['cpu_seconds'])} of CPU time")
    if found["cpu_unknown_jobs"]:
        parts.append(f"{count(found['cpu_unknown_jobs'], 'job')} of unknown CPU time, wall time counted")
    if billed := billed_words(found["accounts"]):
        parts.append(billed)
    if any(found["tokens"].values()):
        parts.append(count(sum(found["tokens"].values()), "token"))
    if found["drafts"]["smoke_failures"]:
        parts.append(count(found["drafts"]["smoke_failures"], "failed smoke step"))
    if found["usd"]:
        parts.append(f"{found['usd']:.2f} US$")
    for name, budget in found["budgets"].items():
        parts.append(f"{budget['spent'] / budget['limit']:.0%} of {name}")
    lines = [" · ".join(parts)]
    lines += found["handed_back"]["words"] if found["handed_back"] else []
    in_flight = in_flight_lines([InFlight(**job) for job in found["jobs_in_flight"]])
    if in_flight and found["handed_back"]:
        lines.append("when the core was handed back:")
    lines += in_flight
    lines += [found["reason"]] if found["reason"] else []
    lines += [f"warning: {door}" for door in found["isolation"]["open_doors"]]
    return "\n".join(lines)


def find_iteration(view: LineageView, number: int) -> IterationView:
    """Iteration `number`. Raises InputError when there is none."""
    if 0 <= number < len(view.iterations):
        return view.iterations[number]
    last = len(view.iterations) - 1
    mend = f"the run has iterations 0 to {last}" if last >= 0 else "none has begun yet"
    raise InputError(f"there is no iteration {number}", file=view.run.root, mend=mend)


def iteration_dict(view: LineageView, number: int) -> dict[str, Any]:
    """One iteration as JSON: for `mlipilot show --json`. Raises InputError when there is none."""
    iteration = find_iteration(view, number)
    names = dict.fromkeys(name for seed in iteration.seeds for name in seed.metrics)
    billed = view.billing.iterations.get(number) if view.billing else None
    return {
        "iteration": iteration.number,
        "title": iteration.title,
        "status": iteration.status,
        "reason": iteration.reason,
        "hypothesis": iteration.hypothesis,
        "mechanism": iteration.mechanism,
        "effects": [asdict(effect) for effect in iteration.effects],
        "revisions": [asdict(revision) for revision in iteration.revisions],
        "lesson": iteration.lesson,
        "diff": iteration.diff,
        "feasible": iteration.feasible if iteration.measured else None,
        "violation": _violation(iteration),
        "objective": iteration.objective,
        "metrics": {name: _metric(iteration, name) for name in names},
        "faults": {str(seed.seed): seed.faults for seed in iteration.seeds if seed.faults},
        "weights_digests": {str(s.seed): s.weights_digest for s in iteration.seeds if s.weights_digest},
        "cost": asdict(iteration.cost),
        "clusters": view.clusters,
        "jobs": [asdict(row) for row in job_rows(view, number)],
        "accounts": billed_dict(billed) if billed else None,
    }


def _metric(iteration: IterationView, name: str) -> dict[str, Any]:
    entries = {str(seed.seed): seed.metrics[name] for seed in iteration.seeds if name in seed.metrics}
    return {
        "unit": next(iter(entries.values())).unit,
        "mean": iteration.mean_value(name),
        "sd": standard_deviation(iteration.values(name)),
        "by_seed": {seed: entry.value for seed, entry in entries.items()},
        "reasons": {seed: entry.reason for seed, entry in entries.items() if entry.reason},
    }
