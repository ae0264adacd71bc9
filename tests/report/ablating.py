"""Taking the steps out of a confirmed synthetic run, as the controller does."""

from __future__ import annotations

from collections.abc import Mapping

from mlipilot.audit.files import sha256_bytes
from mlipilot.controller.ablation import compute_ablation
from mlipilot.controller.asking_ablation import ask_ablation
from mlipilot.controller.next_steps import next_step
from mlipilot.controller.state import replay
from mlipilot.controller.steps import Ablate, SubmitJob
from mlipilot.controller.verdict import Measurements
from tests.report.synthetic import SyntheticRun
from tests.report.synthetic_values import metrics_file


def ablate(made: SyntheticRun, qualities: Mapping[int, float]) -> None:
    """Ask, train and measure: of these qualities is what stands without each step that can be taken out."""
    ask_ablation(made.run, made.lineage.number)
    made.reread()
    while isinstance(due := next_step(replay(made.ledger.records), made.spec), SubmitJob):
        key, quality = due.key, qualities[due.key.without or 0]
        if key.kind == "train":
            made.train_as(key, quality)
            continue
        content = metrics_file(50 + key.iteration, key.seed, quality)
        content["model"]["weights_digest"] = sha256_bytes(key.text.encode())
        made.evaluate_as(key, quality, content)
    assert due == Ablate()
    measured = Measurements(made.lineage, made.spec, made.card)
    made.ledger.append(compute_ablation(replay(made.ledger.records), measured))
