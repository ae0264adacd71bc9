"""A lineage whose endpoint misbehaves: each turn ends in a record or a pause, and can be taken again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from mlipilot.controller.verification import verify_run
from mlipilot.endpoint.client import Endpoint
from mlipilot.errors import PausedError
from mlipilot.pilots.pilot_settings import PilotSettings
from tests.controller.desk import Desk
from tests.endpoint import faulty_server as faulty
from tests.endpoint.dialect_server import DIALECTS, says
from tests.endpoint.faulty_server import Behaviour, FaultyServer
from tests.pilots.test_tools import CLAIM
from tests.pilots.test_turns import HOPELESS, MENDED, NATIVE, PAUSING, READ

SUBMIT = says(NATIVE, "submit_experiment", **CLAIM)
RATE = {"search": "learning_rate: 0.01", "replace": "learning_rate: 0.02"}
RIGHT = (says(NATIVE, "replace_in_file", path="recipe.yaml", **RATE), SUBMIT)
# Each of these ended a controller with a traceback once, and each resume with the same one.
CRASHED: dict[str, tuple[Behaviour, ...]] = {
    "a file as a folder": (says(NATIVE, "write_file", path="recipe.yaml/a/b", content="x"), *RIGHT),
    "a flag that is none": (says(NATIVE, "write_file", path="a.yaml", content="a: !!bool zz"), *RIGHT),
    "a number that is none": (
        says(NATIVE, "set_value", key="optimiser.learning_rate", value="!!int ''"),
        *RIGHT,
    ),
    "a number beyond all": (
        says(NATIVE, "set_value", key="optimiser.learning_rate", value=10**400),
        *RIGHT,
    ),
    "more tokens than a number of JSON": (
        faulty.json_body(
            {
                "choices": [{"message": DIALECTS["native"]("list_files", {}), "finish_reason": "tool_calls"}],
                "usage": {"prompt_tokens": 2**53, "completion_tokens": 2**63},
            }
        ),
        *RIGHT,
    ),
    "a redirect to no address": (faulty.error(302, Location="http://[oops/"),),
    "a redirect in no encoding": (faulty.error(302, Location="http://x/\xff"),),
}


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(tmp_path / "run", monkeypatch, reviewer=False, analyst=False)


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    with FaultyServer() as running:
        running.pages["/health"] = faulty.error(503, "Loading model")
        yield running


def _asked(desk: Desk, server: FaultyServer, *behaviours: Behaviour) -> str:
    """What the ledger or the pause says of a turn."""
    server.answers(*behaviours)
    settings = {"request_timeout_s": 1.0, "loading_patience_s": 0.05, "max_retries": 1, "backoff_s": 0.01}
    endpoint = Endpoint(server.base_url, "m", None, PilotSettings.model_validate(settings))
    desk.monkeypatch.setattr("mlipilot.controller.proposals.open_pilot", lambda *_: nullcontext(endpoint))
    desk.open()
    try:
        desk.proposals.ask(1, desk.state())
    except PausedError as paused:
        return f"paused: {paused}"
    return desk.last()[0]


FAULTS: dict[str, tuple[Behaviour, ...]] = {
    **MENDED,
    **{name: behaviours for name, (behaviours, _) in HOPELESS.items()},
    **{name: (READ, behaviour) for name, (behaviour, _) in PAUSING.items()},
    **CRASHED,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_no_fault_of_an_endpoint_costs_more_than_its_turn(
    desk: Desk, server: FaultyServer, fault: str
) -> None:
    said = _asked(desk, server, *FAULTS[fault])
    assert said in ("drafted", "no_proposal") or said.startswith("paused: ")
    assert "\x1b" not in said
    if said.startswith("paused: "):  # the endpoint is well again, and a later controller goes on
        assert _asked(desk, server, *RIGHT) == "drafted"
    assert verify_run(desk.run).problems == []
