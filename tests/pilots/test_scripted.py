"""The scripted pilot by itself and over real HTTP: textbook moves one by one, and honest words at the end."""

from __future__ import annotations

import importlib
import json
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

import mlipilot
from mlipilot.endpoint.abilities import Abilities
from mlipilot.endpoint.client import Endpoint
from mlipilot.endpoint.exchange import Exchange
from mlipilot.errors import InputError, PausedError
from mlipilot.evaluation.catalog import System, metrics_of
from mlipilot.pilots import open_pilot
from mlipilot.pilots.history_told import Room
from mlipilot.pilots.loopback import LoopbackServer, serve_until_interrupted
from mlipilot.pilots.outcomes import Feedback, GaveUp, Outcome, Proposal, TurnInput
from mlipilot.pilots.pilot_settings import PilotSettings
from mlipilot.pilots.recipe_identity import recipe_identity
from mlipilot.pilots.scripted import NEEDED_TOOLS, Move, fitting_moves, load_moves, propose, scripted_pilot
from mlipilot.pilots.tools import Toolbox, ToolResult, tool_schemas
from mlipilot.pilots.turn import take_turn
from mlipilot.yaml_places import find_place
from tests.endpoint import faulty_server as faulty
from tests.endpoint.faulty_server import FaultyServer
from tests.pilots.conftest import history_entry

MakeTurn = Callable[..., TurnInput]
_EFFECT = [{"metric": "force_mae_mev_per_a", "direction": "decrease"}]


def move(title: str, **edits: Any) -> dict[str, Any]:
    return {
        "title": title,
        "hypothesis": "It gets better by this.",
        "mechanism": "As every textbook says.",
        "expected_effect": _EFFECT,
        "edits": [{"key": key.replace("__", "."), "value": value} for key, value in edits.items()],
    }


MOVES = [
    move("Forces", loss__forces=10, loss__stage_two__forces=50.0),
    move("Nothing new", schedule__kind="constant", loss__stress=0.0),
    move("Schedule", schedule__kind="one_cycle", ema__decay=0.99),
    move("Width", model__hidden_irreps="16x0e + 4x1o", loss__stress=1000.0),
]


@pytest.fixture(params=["served", "by itself"])
def play(tmp_path: Path, request: pytest.FixtureRequest) -> Callable[..., Outcome]:
    """A turn over HTTP, or with the turn's tools in hand: the same comes of it."""

    def played(
        turn: TurnInput, moves: list[dict[str, Any]], record: Callable[[Exchange], None] = lambda _: None
    ) -> Outcome:
        path = tmp_path / "moves.yaml"
        path.write_text(json.dumps({"moves": moves}))
        if request.param == "by itself":
            return propose(load_moves(path), Toolbox(turn))
        with LoopbackServer(scripted_pilot(path)) as server:
            endpoint = Endpoint(server.base_url, "scripted", None, PilotSettings(trust_env=False))
            return take_turn(endpoint, turn, Room(), record)

    return played


def test_a_turn_ends_in_a_proposal_with_the_draft_edited_and_comments_kept(
    play: Callable[..., Outcome], make_turn: MakeTurn, draft: Path
) -> None:
    outcome = play(make_turn(), MOVES)
    assert isinstance(outcome, Proposal)
    assert outcome.hypothesis.title == "Forces"
    text = (draft / "recipe.yaml").read_text()
    assert "  forces: 10            # weight of the forces\n" in text
    assert "  stage_two: {forces: 50.0, stress: 1000.0}\n" in text


@pytest.mark.parametrize("play", ["served"], indirect=True)
def test_it_looks_before_it_edits_call_by_call(play: Callable[..., Outcome], make_turn: MakeTurn) -> None:
    exchanges: list[Exchange] = []
    play(make_turn(), MOVES, exchanges.append)
    called = [e.reply.calls[0].name for e in exchanges]
    assert called == [
        "show_history", "list_files", "read_file", "set_value", "set_value", "submit_experiment"
    ]  # fmt: skip
    assert all(e.reply.prompt_tokens > 100 and e.reply.completion_tokens > 5 for e in exchanges)


def test_a_draft_that_came_back_is_withdrawn(play: Callable[..., Outcome], make_turn: MakeTurn) -> None:
    feedback = Feedback(1, "Forces", "smoke", "it failed")
    outcome = play(make_turn(feedback=feedback), MOVES)
    assert outcome == GaveUp("scripted pilot: it mends no draft")


def test_the_history_decides_which_move_comes_next(play: Callable[..., Outcome], make_turn: MakeTurn) -> None:
    history = [history_entry(0, "baseline")]
    titles = []
    for verdict in ("accepted", "reverted", "invalid"):
        turn = make_turn(history=history)
        outcome = play(turn, MOVES)
        assert isinstance(outcome, Proposal)
        titles.append(outcome.hypothesis.title)
        history.append(history_entry(len(titles), titles[-1], verdict=verdict))
        shutil.copytree(turn.incumbent, turn.draft, dirs_exist_ok=True)
    assert titles == ["Forces", "Schedule", "Width"]
    assert play(make_turn(history=history), MOVES) == GaveUp(
        "scripted pilot: every textbook move has been tried"
    )


def test_only_moves_whose_claims_the_turn_can_grade_are_made(
    play: Callable[..., Outcome], make_turn: MakeTurn
) -> None:
    outcome = play(make_turn(metrics=["stress_mae_gpa"]), MOVES)
    assert outcome == GaveUp("scripted pilot: every textbook move has been tried")


def test_a_recipe_that_was_tried_is_its_last_move(
    play: Callable[..., Outcome], make_turn: MakeTurn, draft: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(draft, tmp_path / "tried"))
    play(make_turn(), MOVES)
    tried = {recipe_identity(draft): "iteration 1, reverted: no gain"}
    shutil.copytree(copy, draft, dirs_exist_ok=True)
    outcome = play(make_turn(tried=tried), MOVES)
    assert isinstance(outcome, GaveUp)
    assert outcome.reason.startswith("scripted pilot: submit_experiment was refused: error: this recipe was")


@pytest.mark.parametrize(
    ("recipe", "says"),
    [
        (
            "loss:\n  forces: 1\n",
            "recipe.yaml has no key 'loss.stage_two.forces' on one line, which 'Forces' sets",
        ),
        ("loss: [1, 2]\n", "no key 'loss.forces'"),
        ("just text\n", "no key 'loss.forces'"),
        (
            "loss:\n  forces:\n    - 1\n    - 2\n  stage_two: {forces: 1}\n",
            "no key 'loss.forces' on one line",
        ),
        (None, "there is no recipe.yaml among the files"),
        ("\x00", "read_file was refused: error: recipe.yaml is binary"),
    ],
)
def test_a_recipe_that_it_cannot_edit_is_said_so(
    play: Callable[..., Outcome], make_turn: MakeTurn, draft: Path, recipe: str | None, says: str
) -> None:
    (draft / "recipe.yaml").unlink()
    if recipe is not None:
        (draft / "recipe.yaml").write_text(recipe)
    outcome = play(make_turn(), MOVES)
    assert isinstance(outcome, GaveUp)
    assert outcome.reason.startswith("scripted pilot: ")
    assert says in outcome.reason


def test_a_line_that_stands_twice_is_told_apart(
    play: Callable[..., Outcome], make_turn: MakeTurn, draft: Path
) -> None:
    (draft / "recipe.yaml").write_text("a:\n  x: 1\n  y: 2\nb:\n  x: 1\n  y: 2\nc:\n")
    assert isinstance(play(make_turn(), [move("Move b", b__y=3, c="on", a__x=4)]), Proposal)
    assert (draft / "recipe.yaml").read_text() == "a:\n  x: 4\n  y: 2\nb:\n  x: 1\n  y: 3\nc: on\n"


def test_the_shipped_moves_set_keys_that_the_shipped_recipe_has() -> None:
    recipe = Path(mlipilot.__file__).parent / "recipes" / "mace" / "recipe.yaml"
    text = recipe.read_text(encoding="utf-8")
    moves = load_moves()
    for shipped in moves:
        for edit in shipped.edits:
            assert find_place(text, edit.key) is not None, f"{shipped.title}: {edit.key}"
    assert len({shipped.title for shipped in moves}) == len(moves) >= 4
    assert "baseline" not in {shipped.title for shipped in moves}


@pytest.mark.parametrize("system", ["crystal", "structures", "molecules"])
def test_it_makes_only_moves_whose_claims_the_scorecard_can_grade(system: System) -> None:
    moves = fitting_moves(load_moves(), metrics_of(system))
    named = {effect.metric for shipped in moves for effect in shipped.expected_effect}
    assert moves and named <= set(metrics_of(system))


def test_copper_and_molecules_have_moves_of_their_own() -> None:
    titles = {
        system: [m.title for m in fitting_moves(load_moves(), metrics_of(system))]
        for system in ("crystal", "molecules")
    }
    assert not set(titles["crystal"]) & set(titles["molecules"])
    assert len(titles["crystal"]) == len(titles["molecules"]) == 4


def test_every_tool_that_it_uses_exists() -> None:
    assert {tool["function"]["name"] for tool in tool_schemas()} >= NEEDED_TOOLS


def test_a_conversation_that_goes_on_after_its_experiment_is_ended(make_turn: MakeTurn) -> None:
    class Endless(Toolbox):
        def call(self, name: str, arguments: dict[str, Any]) -> ToolResult:
            return ToolResult(super().call(name, arguments).text)  # as in a conversation: no outcome

    moves = [Move.model_validate(MOVES[0])]
    assert propose(moves, Endless(make_turn())) == GaveUp("scripted pilot: the turn goes on after its end")


def test_the_same_request_gets_the_same_answer_byte_for_byte() -> None:
    request = {"model": "scripted", "messages": [{"role": "user", "content": "go"}], "tools": tool_schemas()}
    answers = []
    for _ in range(2):
        with LoopbackServer(scripted_pilot()) as server:
            answers.append(
                requests.post(f"{server.base_url}/chat/completions", json=request, timeout=10).content
            )
    assert answers[0] == answers[1]
    usage = json.loads(answers[0])["usage"]
    assert usage["prompt_tokens"] == 1 + len(json.dumps(request)) // 4
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


@pytest.mark.parametrize(
    ("request_body", "status", "says"),
    [
        (b"{", 400, "not JSON"),
        (b"[]", 400, "messages must be a list"),
        (b'{"messages": 3}', 400, "messages must be a list"),
        (b'{"messages": [], "stream": true}', 400, "does not stream"),
        (b'{"messages": [], "tools": [3]}', 400, "cannot be read"),
        (b"[" * 100_000, 400, "not JSON"),
    ],
)
def test_a_wrong_request_gets_an_openai_error(request_body: bytes, status: int, says: str) -> None:
    with LoopbackServer(scripted_pilot()) as server:
        answer = requests.post(f"{server.base_url}/chat/completions", data=request_body, timeout=10)
    assert answer.status_code == status
    assert says in answer.json()["error"]["message"]


def test_without_tools_it_says_what_it_is() -> None:
    with LoopbackServer(scripted_pilot()) as server:
        body = {"messages": [{"role": "user", "content": "hi"}]}
        answer = requests.post(f"{server.base_url}/chat/completions", json=body, timeout=10).json()
        health = requests.get(server.base_url.replace("/v1", "/health"), timeout=10).json()
        missing = requests.get(f"{server.base_url}/nothing", timeout=10)
    assert answer["choices"][0]["message"]["content"].startswith("I am the scripted pilot")
    assert health == {"status": "ok"}
    assert missing.status_code == 404


def test_the_openai_client_is_content_with_it() -> None:
    openai: Any = importlib.import_module("openai")  # a second to import, more to check the types of
    with LoopbackServer(scripted_pilot()) as server:
        client = openai.OpenAI(base_url=server.base_url, api_key="none", max_retries=0)
        assert [model.id for model in client.models.list()] == ["scripted"]
        messages = [{"role": "user", "content": "go"}]
        reply = client.chat.completions.create(model="scripted", messages=messages, tools=tool_schemas())
        (call,) = reply.choices[0].message.tool_calls
        assert (call.function.name, call.function.arguments) == ("show_history", "{}")
        assert reply.choices[0].finish_reason == "tool_calls"
        assert reply.usage.total_tokens > 100
        with pytest.raises(openai.BadRequestError, match="does not stream"):
            client.chat.completions.create(model="scripted", messages=messages, stream=True)


def test_it_is_found_to_call_tools_natively_where_it_is_taken_for_a_language_model() -> None:
    with LoopbackServer(scripted_pilot()) as server:
        settings = PilotSettings(kind="openai", base_url=server.base_url, trust_env=False)
        with open_pilot(settings) as endpoint:
            assert endpoint.abilities == Abilities("native")


def test_a_taken_port_is_the_users_to_mend() -> None:
    with LoopbackServer(scripted_pilot()) as server:
        port = int(server.base_url.rpartition(":")[2].removesuffix("/v1"))
        with pytest.raises(InputError, match=rf"127\.0\.0\.1:{port}[\s\S]*choose another --port"):
            serve_until_interrupted(scripted_pilot(), port, print)


def test_it_can_be_served_on_its_own() -> None:
    addresses: list[str] = []
    ready = threading.Event()

    def announce(url: str) -> None:
        addresses.append(url)
        ready.set()

    threading.Thread(
        target=serve_until_interrupted, args=(scripted_pilot(), 0, announce), daemon=True
    ).start()
    assert ready.wait(10)
    models = requests.get(f"{addresses[0]}/models", timeout=10).json()
    assert models["data"][0]["id"] == "scripted"


def test_moves_of_a_wrong_form_are_the_users_to_mend(tmp_path: Path) -> None:
    path = tmp_path / "moves.yaml"
    path.write_text(json.dumps({"moves": [move("Forces", loss__forces=1) | {"edit": []}]}))
    with pytest.raises(InputError, match="unknown key"):
        scripted_pilot(path)


def test_open_pilot_serves_the_scripted_one_and_never_asks_a_proxy(
    make_turn: MakeTurn, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "")
    with open_pilot(PilotSettings()) as endpoint:
        assert endpoint.model == "scripted"
        assert endpoint.models() == ["scripted"]
    with pytest.raises(PausedError, match="Connection refused"):
        Endpoint(endpoint.base_url, "scripted", None, PilotSettings(max_retries=0, trust_env=False)).models()


def test_open_pilot_takes_key_and_model_from_where_the_settings_say(
    faulty_server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SITE_KEY", "sk-of-the-site\n")
    settings = PilotSettings(
        kind="openai", base_url=faulty_server.base_url, api_key_env="SITE_KEY", trust_env=False, max_retries=0
    )
    pages = faulty_server.pages
    pages["/v1/models"] = faulty.json_body({"data": [{"id": "qwen"}]})
    faulty_server.answers(faulty.call("report_colour", colour="blue"))
    with open_pilot(settings) as endpoint:
        assert endpoint.model == "qwen"
    assert faulty_server.headers[0]["Authorization"] == "Bearer sk-of-the-site"
    pages["/v1/models"] = faulty.json_body({"data": [{"id": "b\x1b[2J"}, {"id": "\x1b]0;a"}, {"id": "a"}]})
    with pytest.raises(InputError, match=r"serves 3 models[\s\S]*it has , a, b$"), open_pilot(settings):
        pass
    pages["/v1/models"] = faulty.json_body({"data": [3]})
    with pytest.raises(PausedError, match="no list of models"), open_pilot(settings):
        pass


def test_an_interrupt_that_comes_as_soon_as_the_address_is_told_ends_it_well() -> None:
    def announce(_: str) -> None:
        raise KeyboardInterrupt

    serve_until_interrupted(scripted_pilot(), 0, announce)
