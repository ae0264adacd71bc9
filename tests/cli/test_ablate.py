"""`mlipilot ablate`: what it refuses, what it says of steps that stay, and who carries an image's run on."""

from __future__ import annotations

from pathlib import Path

from mlipilot.controller.state import replay
from tests.cli.verbs import outcome
from tests.controller.test_ablation import RATE, RATE_AGAIN, confirmed
from tests.controller.test_asking_confirmation import over


def test_a_run_that_nothing_confirmed_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    made = over(tmp_path)
    before = made.lineage.ledger.read_bytes()
    for words, said in (
        ([], "no fresh seeds have confirmed anything: `mlipilot confirm` asks for that"),
        (["--lineage", "7"], "lineage 7"),
        (["--seeds", "3"], "No such option"),
    ):
        status, _out, err = outcome(["ablate", str(made.run.root), *words])
        assert status == 2 and said in err and "Traceback" not in err
    assert made.lineage.ledger.read_bytes() == before


def test_a_run_with_an_image_is_asked_and_goes_on_inside_of_it(tmp_path: Path) -> None:
    made = confirmed(tmp_path, RATE, RATE_AGAIN)
    made.run.image_digest.write_text("ab" * 32 + "\n")
    status, out, err = outcome(["ablate", str(made.run.root)])
    assert (status, err) == (0, "")
    assert out.splitlines() == [
        "iteration 1 cannot be taken out: later steps have changed its lines",
        "asked; `sbatch` of its campaign's sbatch file ablates it",
    ]
    made.reread()
    state = replay(made.ledger.records)
    assert state.ablation_asked is not None and state.finished is None
