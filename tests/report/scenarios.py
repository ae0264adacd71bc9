"""Runs on disk that tests look at: finished, small, hostile."""

from __future__ import annotations

from pathlib import Path

from mlipilot.audit.files import write_atomic
from mlipilot.paths import JobKey
from tests.events import event
from tests.report.synthetic import SyntheticRun, make_spec, training_log

LOSS = {
    "title": "Balance energy, force and stress in the loss",
    "hypothesis": "Weighting energies and stress up lowers energy and stress errors several times.",
    "mechanism": "The default loss has no stress and is dominated by forces: energies hardly count.",
    "expected_effect": [
        {"metric": "force_mae_mev_per_a", "direction": "decrease"},
        {"metric": "stress_mae_gpa", "direction": "decrease"},
        {"metric": "nve_drift_mev_per_atom_per_ps", "direction": "unchanged"},
    ],
}
LOSS_EDITS = {"energy: 1.0 ": "energy: 100.0 ", "stress: 0.0 ": "stress: 1000.0 "}
SCHEDULE_EDITS = {"kind: constant": "kind: one_cycle", "ema:\n  decay: 0.0": "ema:\n  decay: 0.99"}
SCHEDULE = {
    "title": "One-cycle schedule with a running mean of the weights",
    "hypothesis": "A decaying learning rate and EMA remove the noise of the last steps.",
    "mechanism": "At constant rate Adam keeps jumping around the minimum; annealing and averaging settle it.",
    "expected_effect": [
        {"metric": "energy_mae_mev_per_atom", "direction": "decrease"},
        {"metric": "relative_cost", "direction": "unchanged"},
    ],
}
HOT = {
    "title": "A learning rate ten times higher",
    "hypothesis": "A higher rate reaches a lower loss in the same number of steps.",
    "mechanism": "Larger steps travel further in a fixed budget.",
    "expected_effect": [{"metric": "force_mae_mev_per_a", "direction": "decrease"}],
}
WIDE = {
    "title": "Sixteen channels without normalisation",
    "hypothesis": "More channels describe the many-body part better.",
    "mechanism": "Capacity grows with the number of channels.",
    "expected_effect": [{"metric": "energy_mae_mev_per_atom", "direction": "decrease"}],
}


def small_run(root: Path) -> SyntheticRun:
    """One of every kind of record, with one seed."""
    run = SyntheticRun(root, make_spec(seeds=[1]))
    run.propose(0, None, {})
    run.candidate(0, 0.0)
    run.draft(1, 1, SCHEDULE, {"kind: constant": "kind: one_cicle"})
    run.review(1, 1, "the mechanism speaks of averaging, the diff does not", approved=False)
    run.draft(1, 2, SCHEDULE, {"kind: constant": "kind: one_cycle", "decay: 0.0": "decay: -0.99"})
    run.review(1, 2, "it is worth a try", approved=True)
    run.smoke(1, 2, failed="ema.decay is '-0.99' but must be a non-negative number")
    run.propose(1, SCHEDULE, SCHEDULE_EDITS)
    run.candidate(1, 0.97)
    run.ledger.append(event("lesson", iteration=1, text="annealing and averaging lower every error"))
    run.ledger.append(event("paused", reason="the endpoint is down"))
    run.ledger.append(event("resumed"))
    run.propose(2, WIDE, {"hidden_irreps: 4x0e": "hidden_irreps: 16x0e"})
    run.train(2, 1, 0.1, failed="the loss is nan")
    run.judge(2)
    run.ledger.append(event("no_proposal", iteration=3, reason="the turn ended without an experiment"))
    run.ledger.append(event("gave_up", iteration=4, reason="nothing is left to try"))
    run.sealed_check()
    run.end("the pilot gave up: nothing is left to try")
    return run


def finished_run(root: Path) -> SyntheticRun:
    """Baseline fails gates; one better but infeasible, one feasible, one worse, one that diverges."""
    run = SyntheticRun(root)
    run.propose(0, None, {})
    run.candidate(0, 0.0, broken=("nvt_rdf_wasserstein_a",))
    run.propose(1, LOSS, LOSS_EDITS)
    run.candidate(1, 0.45)
    run.propose(2, SCHEDULE, SCHEDULE_EDITS)
    run.candidate(2, 0.97)
    run.propose(3, HOT, {"learning_rate: 0.01": "learning_rate: 0.5"})
    run.candidate(3, 0.7)
    run.propose(4, WIDE, {"hidden_irreps: 4x0e": "hidden_irreps: 16x0e"})
    run.train(4, 1, 0.1, failed="the loss is nan at step 100 of 400: training diverged (exit status 3)")
    run.judge(4)
    run.sealed_check()
    run.end("the budget of 4 iterations is used up")
    return run


def confirmed_run(root: Path) -> SyntheticRun:
    """Two steps are kept; three fresh seeds confirm the whole and the first step, and not the second."""
    run = SyntheticRun(root, make_spec(confirm={"seeds": 3}))
    run.propose(0, None, {})
    run.candidate(0, 0.0)
    run.propose(1, LOSS, LOSS_EDITS)
    run.candidate(1, 0.9)
    run.propose(2, SCHEDULE, SCHEDULE_EDITS)
    run.candidate(2, 1.0)
    run.confirm({0: 0.0, 1: 0.9, 2: 0.85})
    run.sealed_check(0.8)
    run.end("a test")
    return run


def three_lineages(root: Path) -> list[SyntheticRun]:
    """Two that end with every gate passed, the second with the lower objective; one that is paused."""
    spec = make_spec(seeds=[1, 2], budget={"iterations": 3, "optimizer_steps": 400})
    qualities = ((0.0, 0.5, 0.97, 0.6), (0.0, 0.97, 1.1), (0.0, 0.5))
    moves = (
        (LOSS, LOSS_EDITS),
        (SCHEDULE, SCHEDULE_EDITS),
        (WIDE, {"hidden_irreps: 4x0e": "hidden_irreps: 16x0e"}),
    )
    lineages = []
    for number, tried in enumerate(qualities):
        lineage = SyntheticRun(root, spec, number)
        lineage.propose(0, None, {})
        lineage.candidate(0, tried[0])
        for iteration, (quality, move) in enumerate(zip(tried[1:], moves, strict=False), start=1):
            lineage.propose(iteration, *move)
            lineage.candidate(iteration, quality)
        lineages.append(lineage)
    for lineage, quality in zip(lineages[:2], (0.97, 1.1), strict=True):
        lineage.sealed_check(quality)
        lineage.end("the wall-clock budget is used up")
    lineages[2].ledger.append(event("paused", reason="the endpoint is down"))
    return lineages


EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>[bold red]x[/] `` ``` | $x^{$ [a](javascript:b) http://evil.example"
ESCAPES = "\x1b[31mred\x1b[0m\x1b]0;title\x07\x9b5m\u202eright-to-left\u200b\x00"


def hostile_run(root: Path) -> SyntheticRun:
    """Titles, prose, diff and logs that try to become markup, escape sequences or a flood."""
    run = SyntheticRun(root, make_spec(seeds=[1], description=EVIL))
    run.propose(0, None, {})
    run.candidate(0, 0.0)
    stated = {"title": EVIL[:60] + ESCAPES, "hypothesis": EVIL, "mechanism": EVIL, "expected_effect": []}
    run.draft(1, 1, stated, {"forces: 100.0 ": f"forces: 10.0 # {EVIL}\n"})
    run.review(1, 1, EVIL + ESCAPES, approved=False)
    run.smoke(1, 1, failed=EVIL + ESCAPES)
    run.propose(
        1,
        {
            "title": EVIL[:60] + ESCAPES,
            "hypothesis": EVIL + ESCAPES + "\n\n# heading\n\n" + "flood " * 200,
            "mechanism": f"{EVIL}\n```\n</pre><script>alert(3)</script>\n",
            "expected_effect": [{"metric": "force_mae_mev_per_a", "direction": "decrease"}],
        },
        {"forces: 100.0 ": f"forces: 10.0 # {EVIL} {ESCAPES}\n````\n" + "x" * 5000 + "\n" + "flood\n" * 2000},
    )
    key = JobKey(1, 1, "train")
    attempt = run.start(key)
    write_atomic(attempt / "stdout.log", EVIL + ESCAPES + "\n" + training_log(1, 0.2))
    write_atomic(attempt / "stderr.log", (EVIL + ESCAPES + "</pre>\n") * 50)
    run.finish(key, 1.0, failed=f"{EVIL} {ESCAPES}")
    run.judge(1)
    run.ledger.append(event("lesson", iteration=1, text=EVIL + ESCAPES))
    run.ledger.append(event("paused", reason=EVIL + ESCAPES))
    return run
