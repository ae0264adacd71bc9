"""The scripted pilot as an endpoint: `textbook` decides, `loopback` serves. It needs no language model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mlipilot.pilots.loopback import Decider, LoopbackServer, serve_until_interrupted
from mlipilot.pilots.textbook import MOVES, NEEDED_TOOLS, fitting_moves, load_moves, next_call

MODEL = "scripted"


class ScriptedServer(LoopbackServer):
    """The scripted pilot's server. Raises InputError when the port is taken or the moves cannot be read."""

    def __init__(self, port: int = 0, moves: Path = MOVES) -> None:
        super().__init__(_decider(moves), port)


def serve_forever(port: int, announce: Callable[[str], None], moves: Path = MOVES) -> None:
    """Serve in this thread until Ctrl-C; `announce` is given the base URL once requests are answered."""
    serve_until_interrupted(_decider(moves), port, announce)


def _decider(moves: Path) -> Decider:
    loaded = load_moves(moves)
    return Decider(
        MODEL, NEEDED_TOOLS, lambda messages, tools: next_call(messages, fitting_moves(loaded, tools))
    )
