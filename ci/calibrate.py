"""Measure how far apart the baseline, each scripted move and the gates are, on several seeds.

    python ci/calibrate.py --campaign campaigns/cu_emt.yaml --work runs/calibration

Trains the campaign's baseline, then the recipe after each scripted move, and evaluates each of them on the
test split. As each run of a campaign draws splits of its own, so does each seed here, with itself as the
salt: a gate has to hold over draws. A move that the accept rule rejects is undone before the next, as in a
campaign. With --ablate, the last recipe is then measured with parts of it (normalisation, loss, …) back at
the baseline's, one at a time. What is finished is not repeated: stop it at any time and start it again. The
table goes to docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from mlipilot.audit.files import sha256_file, tree_digest, write_atomic, write_json
from mlipilot.audit.manifest import is_finished
from mlipilot.campaign.baseline_recipe import set_recipe_values
from mlipilot.campaign.spec import Campaign, load_campaign
from mlipilot.controller.accept import judge
from mlipilot.datasets import DATASETS
from mlipilot.evaluation import reference
from mlipilot.evaluation.catalog import CATALOG, metrics_of
from mlipilot.evaluation.metric_settings import REFERENCE_FILE
from mlipilot.evaluation.metrics_file import MetricsFile
from mlipilot.evaluation.scorecard import score
from mlipilot.pilots.scripted import Move, fitting_moves, load_moves
from mlipilot.report.text import mean_sd

ROOT = Path(__file__).resolve().parents[1]
# The parts of a recipe that --ablate takes back, by the beginnings of their keys; the first that fits counts.
PARTS = {
    "normalisation": ("normalisation.",),
    "two stages": ("loss.stage_two",),
    "loss": ("loss.",),
    "capacity": ("model.",),
    "schedule": ("schedule.", "optimiser.", "ema."),
}


@dataclass
class Arm:
    """One recipe that is measured on every seed."""

    title: str
    values: dict[str, Any]
    """What it sets in the campaign's baseline, by dotted key."""
    verdict: str = "start"


class Run(NamedTuple):
    """One training and its evaluation."""

    train_wall_s: float
    measured: MetricsFile


Results = list[list[Run]]
"""By arm and seed."""


def main() -> None:
    """Measure what is missing and write the table."""
    options = _options()
    campaign = load_campaign(options.campaign, options.profile)
    for seed in options.seeds:
        _build(_data(options, seed), seed, campaign, options)
    settings = campaign.scorecard.settings_for(options.profile)
    moves = fitting_moves(load_moves(), metrics_of(settings.system))
    arms, results = _path(moves, campaign, options)
    last = [arm for arm in arms if arm.verdict in ("start", "accepted")][-1]
    for arm in _ablations(last, options.ablate):
        arms.append(arm)
        results.append(_measure(arm, campaign, options))
    _publish(_table(arms, results, campaign, options), campaign.spec.name)


def _data(options: argparse.Namespace, seed: int) -> Path:
    return Path(options.work / f"data-{seed}")


def _build(data: Path, seed: int, campaign: Campaign, options: argparse.Namespace) -> None:
    """The data set as a run with this salt has it, and its reference values, unless they are there."""
    if not is_finished(data):
        dataset = DATASETS[campaign.spec.dataset.name]
        salt = {"salt": seed} if "salt" in dataset.options.model_fields else {}
        chosen = dataset.options.model_validate(campaign.spec.dataset.options | salt)
        dataset.build(chosen, data, lambda done, total, what: _say(f"data {done}/{total} {what}"))
    values, how = reference.obtain(data, campaign.scorecard.settings_for(options.profile), _say)
    if how == "computed":
        write_json(data / REFERENCE_FILE, values.model_dump(mode="json"))


def _path(moves: list[Move], campaign: Campaign, options: argparse.Namespace) -> tuple[list[Arm], Results]:
    """The baseline and the moves upon it, each judged as in a campaign."""
    arms = [Arm("baseline", {})]
    results = [_measure(arms[0], campaign, options)]
    incumbent = 0
    for number, move in enumerate(moves, start=1):
        arm = Arm(
            f"{number} {move.title}", arms[incumbent].values | {edit.key: edit.value for edit in move.edits}
        )
        if _recipe(arm, campaign, options.work) == _recipe(arms[incumbent], campaign, options.work):
            continue  # nothing to change: the scripted pilot leaves such a move out, too
        arms.append(arm)
        results.append(_measure(arm, campaign, options))
        card = campaign.scorecard
        old, new = ([score(card, run.measured) for run in results[n]] for n in (incumbent, -1))
        judgement = judge(card.accept, old, new)
        arm.verdict = judgement.verdict
        _say(f"{arm.title}: {judgement.verdict}, {judgement.reason}")
        if judgement.verdict == "accepted":
            incumbent = len(arms) - 1
    return arms, results


def _ablations(last: Arm, parts: list[str]) -> list[Arm]:
    """The last recipe with each of the parts back at the baseline's."""
    part_of = {
        key: next(part for part, starts in PARTS.items() if key.startswith(starts)) for key in last.values
    }
    return [
        Arm(f"all but {part}", {key: value for key, value in last.values.items() if part_of[key] != part}, "")
        for part in parts
    ]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, help="where runs are kept; runs/calibration-NAME otherwise")
    parser.add_argument("--campaign", type=Path, default=Path("campaigns/cu_emt.yaml"))
    parser.add_argument("--profile", choices=["smoke", "full"], default="smoke")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument(
        "--ablate", choices=PARTS, nargs="+", default=[], help="parts to take back one by one"
    )
    parser.add_argument("--jobs", type=int, default=1, help="trainings at a time, one thread each")
    options = parser.parse_args()
    options.work = (options.work or ROOT / f"runs/calibration-{options.campaign.stem}").resolve()
    options.work.mkdir(parents=True, exist_ok=True)
    return options


def _measure(arm: Arm, campaign: Campaign, options: argparse.Namespace) -> list[Run]:
    """The runs of one arm, one a seed."""
    recipe = _recipe(arm, campaign, options.work)
    settings = campaign.scorecard.settings_for(options.profile).model_dump(mode="json")
    evaluator = [*map(sha256_file, sorted((ROOT / "mlipilot/evaluation").rglob("*.py")))]

    def one(seed: int) -> Run:
        data = _data(options, seed)
        # What a training depends on does not change with the scorecard, and is not repeated for its sake.
        trained = _mark(str(campaign.spec.budget.optimizer_steps), tree_digest(data / "train"))
        measured = _mark(json.dumps(settings, sort_keys=True), tree_digest(data), *evaluator)
        run = recipe.parent / f"seed-{seed}-{trained}"
        wall_s = _trained(run, recipe, data, seed, campaign)
        result = _evaluated(run / f"evaluate-{measured}", run / "train/model", data, campaign)
        _say(f"{arm.title} seed {seed}: training {wall_s:.0f} s, evaluation {result.wall_s:.0f} s")
        return Run(round(wall_s, 1), result)

    with ThreadPoolExecutor(options.jobs) as pool:
        return list(pool.map(one, options.seeds))


def _mark(*parts: str) -> str:
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:8]


def _recipe(arm: Arm, campaign: Campaign, work: Path) -> Path:
    """The recipe of an arm in a directory named after its content."""
    temporary = work / "recipe"
    shutil.rmtree(temporary, ignore_errors=True)
    shutil.copytree(campaign.recipe_path, temporary, ignore=shutil.ignore_patterns("__pycache__"))
    set_recipe_values(temporary, {**campaign.spec.recipe_values, **arm.values})
    target = work / tree_digest(temporary)[:12] / "recipe"
    if not target.exists():
        target.parent.mkdir(exist_ok=True)
        shutil.copytree(temporary, target)
    return target


def _trained(run: Path, recipe: Path, data: Path, seed: int, campaign: Campaign) -> float:
    """Train unless that was done; the wall time that it took."""
    note = run / "trained.json"
    if not note.is_file():
        shutil.rmtree(run, ignore_errors=True)
        run.mkdir()
        train = [sys.executable, "train.py", "--recipe", "recipe.yaml", "--data", str(data / "train")]
        train += ["--output", str(run / "train"), "--seed", str(seed)]
        train += ["--max-steps", str(campaign.spec.budget.optimizer_steps)]
        started = time.monotonic()
        _call(train, run / "train.log", recipe)
        write_json(note, {"wall_s": time.monotonic() - started})
    return float(json.loads(note.read_text())["wall_s"])


def _evaluated(output: Path, model: Path, data: Path, campaign: Campaign) -> MetricsFile:
    """The metrics file of a model, measured unless that was done."""
    metrics = output / "metrics.json"
    if not metrics.is_file():
        evaluate = [sys.executable, "-m", "mlipilot.evaluation", "--model", str(model), "--data", str(data)]
        evaluate += ["--scorecard", str(campaign.scorecard_path.resolve())]
        evaluate += ["--profile", campaign.spec.profile, "--output", str(output)]
        _call(evaluate, output.with_suffix(".log"), model)
    return MetricsFile.model_validate_json(metrics.read_bytes())


def _call(command: list[str], log: Path, directory: Path) -> None:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    with log.open("w") as stream:
        status = subprocess.run(
            command, cwd=directory, stdout=stream, stderr=subprocess.STDOUT, env=environment
        )
    if status.returncode:
        raise SystemExit(f"{command[1]} ended with status {status.returncode}: see {log}")


def _table(arms: list[Arm], results: Results, campaign: Campaign, options: argparse.Namespace) -> str:
    card = campaign.scorecard
    bounds = {gate.metric: gate.text for gate in card.gates}
    rows = [["metric", "gate", *(arm.title for arm in arms)], ["---"] * (len(arms) + 2)]
    rows.append(["verdict of the accept rule", "", *(arm.verdict for arm in arms)])
    scores = [[score(card, run.measured) for run in runs] for runs in results]
    failed = [[sum(not gate.passed for gate in one.gates) for one in row] for row in scores]
    rows.append(["gates failed, each seed", "0", *(", ".join(map(str, row)) for row in failed)])
    objectives = [[one.log_objective for one in row] for row in scores]
    rows.append(["ln objective", "", *(_mean_sd(row) for row in objectives)])
    for name in [*bounds, *(name for name in shown_besides(results[0][0].measured) if name not in bounds)]:
        cells = []
        for runs, judged in zip(results, scores, strict=True):
            values = [run.measured.values.get(name) for run in runs]
            fails = sum(gate.metric == name and not gate.passed for one in judged for gate in one.gates)
            cells.append(_mean_sd(values) + (f" ✗{fails}" if fails else ""))
        label = f"{name} ({CATALOG[name].unit})" if CATALOG[name].unit else name
        rows.append([label, bounds.get(name, ""), *cells])
    times = [[run.train_wall_s for run in runs] for runs in results]
    rows.append(["training wall time (s)", "", *map(_mean_sd, times)])
    times = [[run.measured.wall_s or 0.0 for run in runs] for runs in results]
    rows.append(["evaluation wall time (s)", "", *map(_mean_sd, times)])
    seeds, parts = (
        " ".join(map(str, options.seeds)),
        "".join(f" {part!r}" if " " in part else f" {part}" for part in options.ablate),
    )
    ablate = f" --ablate{parts}" if parts else ""
    about = (
        f"Made by `python ci/calibrate.py --campaign {options.campaign} --profile {options.profile}{ablate} "
        f"--jobs {options.jobs} --seeds {seeds}`: mean ± standard deviation over these seeds, each with "
        f"a draw of the data of its own; ✗n: the gate fails on n of {len(options.seeds)}. "
        f"Machine: {_cpu()}, one thread a job, {options.jobs} at a time. Versions: Python "
        f"{platform.python_version()}, "
        + ", ".join(f"{name} {version(name)}" for name in ("torch", "mace-torch", "ase", "numpy", "matcalc"))
        + "."
    )
    return about + "\n\n" + "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


def shown_besides(measured: MetricsFile) -> list[str]:
    """The metrics that say which model is better, as far as the data have references for them."""
    return [name for name in CATALOG if name in measured.metrics and CATALOG[name].better != "none"]


def _mean_sd(values: Sequence[float | None]) -> str:
    numbers = [value for value in values if value is not None]
    if len(numbers) < len(values):
        return f"{len(values) - len(numbers)} of {len(values)} not measured"
    return mean_sd(numbers)


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")


def _publish(table: str, name: str) -> None:
    page = ROOT / "docs/benchmarks.md"
    begin, end = f"<!-- calibration of {name}: begin -->", f"<!-- calibration of {name}: end -->"
    before, found, rest = page.read_text().partition(begin)
    if not found:
        raise SystemExit(f"{page} has no place {begin}; here is the table:\n\n{table}")
    _, _, after = rest.partition(end)
    write_atomic(page, f"{before}{begin}\n{table}{end}{after}")
    _say(f"{page} written")


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


if __name__ == "__main__":
    main()
