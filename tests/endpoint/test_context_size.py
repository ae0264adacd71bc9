"""The context size, wherever a server keeps it."""

from __future__ import annotations

from typing import Any

import pytest

from mlipilot.endpoint.context_size import find_context_tokens

MODELS, PROPS, PS, STUDIO = "/models", "/props", "/api/ps", "/api/v0/models"


def entry(**fields: Any) -> dict[str, Any]:
    return {"data": [{"id": "other", "max_model_len": 999}, {"id": "m", **fields}]}


@pytest.mark.parametrize(
    ("pages", "tokens"),
    [
        ({MODELS: entry(max_model_len=8192)}, 8192),
        ({MODELS: entry(context_length=32768)}, 32768),
        ({MODELS: entry(context_window=131072)}, 131072),
        (
            {
                MODELS: entry(meta={"n_ctx_train": 131072}),
                PROPS: {"default_generation_settings": {"n_ctx": 4096}},
            },
            4096,
        ),
        ({MODELS: entry(), PS: {"models": [{"name": "m:latest", "context_length": 4096}]}}, 4096),
        ({STUDIO: entry(max_context_length=131072, loaded_context_length=8192)}, 8192),
        ({MODELS: entry(max_model_len="8192")}, None),
        ({MODELS: entry(max_model_len=2**53), PROPS: {"n_ctx": 4096}}, 4096),
        ({MODELS: entry(max_model_len=True), PROPS: {"n_ctx": 0}}, None),
        ({MODELS: [], PROPS: "no", PS: {"models": 3}, STUDIO: {"data": [None, 3]}}, None),
        ({}, None),
    ],
)
def test_the_size_is_read_where_it_stands(pages: dict[str, Any], tokens: int | None) -> None:
    assert find_context_tokens(lambda path, from_root=False: pages.get(path), "m") == tokens


def test_no_page_is_asked_for_after_the_one_that_says() -> None:
    asked = []

    def look(path: str, from_root: bool = False) -> Any:
        asked.append((path, from_root))
        return {"n_ctx": 2048} if path == PROPS else None

    assert find_context_tokens(look, "m") == 2048
    assert asked == [(MODELS, False), (PROPS, True)]
