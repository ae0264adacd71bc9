"""Who a run's endpoint file speaks of; no model is loaded."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mlipilot.audit.files import write_json
from mlipilot.endpoint import local_model
from mlipilot.endpoint.local_model import TOKEN_VARIABLE, ModelSettings, serve_gguf
from mlipilot.errors import InputError

URL = "http://127.0.0.1:1/v1"


class _Model:
    def __init__(self, settings: ModelSettings, token: str | None) -> None:
        self.base_url = URL


@pytest.fixture(autouse=True)
def _signals_as_they_were() -> Iterator[None]:
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("successor", [None, {"base_url": URL, "token": "another"}, [], {}])
def test_only_what_is_its_own_is_withdrawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, successor: Any
) -> None:
    published = tmp_path / "endpoint.json"
    monkeypatch.setenv(TOKEN_VARIABLE, "chosen by the job")
    monkeypatch.setattr(local_model, "LocalModel", _Model)

    def write_and_end(path: Path, value: Any, mode: int) -> None:
        write_json(path, value, mode)
        assert json.loads(path.read_text()) == {"base_url": URL, "token": "chosen by the job"}
        if successor is not None:
            path.write_text(json.dumps(successor))
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(local_model, "write_json", write_and_end)
    serve_gguf(ModelSettings(tmp_path / "tiny.gguf"), published, lambda _: None)
    assert published.exists() is (successor is not None)


def test_a_token_that_is_soon_guessed_is_refused_and_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, "t0ken")
    with pytest.raises(InputError, match=f"the token in {TOKEN_VARIABLE} is guessed") as refused:
        serve_gguf(ModelSettings(tmp_path / "tiny.gguf"), tmp_path / "endpoint.json", lambda _: None)
    assert "t0ken" not in str(refused.value)
