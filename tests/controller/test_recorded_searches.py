"""A search that is driven by another's record: it searches again, or follows what was said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mlipilot.controller import steps
from mlipilot.pilots.recorded import DivergedError
from tests.controller.desk import SUBMIT
from tests.controller.recorder import Recorder
from tests.controller.test_search import SPACE
from tests.events import event
from tests.pilots.roles.conftest import calling

SEARCHED: dict[str, Any] = {"kind": "random", "model": None, "base_url": None}


def _searching(root: Path, monkeypatch: pytest.MonkeyPatch, **pilot: Any) -> Recorder:
    """A lineage over a declared space, of a random search where nothing else is said."""
    return Recorder(root, monkeypatch, SPACE, **SEARCHED | pilot)


def test_a_search_is_replayed_by_searching_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = _searching(tmp_path / "recorded", monkeypatch)
    desk.whole_iteration()
    desk.ledger.append(event("gave_up", iteration=2, reason="for the test"))
    assert [body.get("title") for body in desk.course()] == [
        *("baseline", "Random search, suggestion 1", "Random search, suggestion 1", None)
    ]
    replaying = _searching(tmp_path / "again", monkeypatch, replay=str(desk.run.root))
    replaying.whole_iteration()
    assert replaying.course() == desk.course()[:-1]
    assert not desk.lineage.transcript.exists() and not replaying.lineage.transcript.exists()
    with pytest.raises(DivergedError, match="iteration 2: the recipe that is proposed is not the one"):
        replaying.turn(2)
    with pytest.raises(DivergedError, match=r"the researcher is due, and was not asked then"):
        replaying.turn(3)


def test_another_draft_than_the_recorded_one_stops_the_replay_of_a_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = _searching(tmp_path / "recorded", monkeypatch)
    desk.turn()
    replaying = _searching(tmp_path / "again", monkeypatch, kind="cma-es", replay=str(desk.run.root))
    with pytest.raises(DivergedError) as error:
        replaying.turn()
    said = "iteration 1: the recipe that is proposed is not the one on record"
    assert said in str(error.value) and "mend:" in str(error.value) and error.value.exit_status == 2
    assert replaying.due() == steps.AskPilot(1)


def test_a_search_that_spoke_as_models_do_is_replayed_as_it_spoke(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Searches did so in earlier versions: their records hold exchanges."""
    recipe = (Recorder(tmp_path / "baseline", monkeypatch).lineage.recipe(0) / "recipe.yaml").read_text()
    calls = (
        calling("show_history"),
        calling("read_file", path="recipe.yaml"),
        calling("write_file", path="recipe.yaml", content=recipe.replace("energy: 1.0", "energy: 7.0")),
        SUBMIT,
    )
    desk = Recorder(tmp_path / "recorded", monkeypatch, SPACE).has(*calls)
    desk.turn()
    assert desk.last()[0] == "drafted"
    replaying = _searching(tmp_path / "again", monkeypatch, replay=str(desk.run.root))
    replaying.turn()
    assert replaying.course() == desk.course() and replaying.exchanges() == desk.exchanges()
