"""`mlipilot confirm`: what it refuses, and where it asks and lets another carry the run on."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlipilot.controller.state import replay
from tests.cli.verbs import outcome
from tests.controller.test_asking_confirmation import over
from tests.controller.test_confirmation_recorded import searched


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--seeds", "1"], "Invalid value for '--seeds'"),
        (["--seeds", "65"], "Invalid value for '--seeds'"),
        (["--seeds", "many"], "Invalid value for '--seeds'"),
        (["--seeds", "5", "--most-seeds", "5"], "--most-seeds 5: not more than --seeds, 5"),
        (["--most-seeds", "65"], "Invalid value for '--most-seeds'"),
        (["--alpha", "0"], "Invalid value for '--alpha'"),
        (["--alpha", "1"], "Invalid value for '--alpha'"),
        (["--lineage", "7"], "lineage 7"),
    ],
)
def test_bad_input_is_refused_and_nothing_is_written(words: list[str], said: str, tmp_path: Path) -> None:
    made = over(tmp_path)
    before = made.lineage.ledger.read_bytes()
    status, _out, err = outcome(["confirm", str(made.run.root), *words])
    assert status == 2 and said in err and "Traceback" not in err
    assert made.lineage.ledger.read_bytes() == before


def test_a_run_that_is_not_over_is_refused(tmp_path: Path) -> None:
    made = searched(tmp_path, 0.6)
    status, _out, err = outcome(["confirm", str(made.run.root)])
    assert status == 2 and f"{made.lineage.ledger}: the lineage is not over" in err


def test_a_run_with_an_image_is_asked_and_goes_on_inside_of_it(tmp_path: Path) -> None:
    made = over(tmp_path)
    made.run.image_digest.write_text("ab" * 32 + "\n")
    status, out, err = outcome(["confirm", str(made.run.root), "--seeds", "4"])
    assert (status, err) == (0, "")
    assert out == "asked; `sbatch` of its campaign's sbatch file confirms it\n"
    made.reread()
    asked = replay(made.ledger.records).asked
    assert asked is not None and (asked.seeds, asked.alpha) == (4, 0.05)
    assert asked.permuted_labels and asked.most_seeds is None
