"""How long a conversation may be, as far as an endpoint says so; each server has its own place for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

LEAST_CONTEXT_TOKENS = 256
"""Smaller numbers are taken for something else."""
_MOST_CONTEXT_TOKENS = 10**9
_OF_A_MODEL = (
    "loaded_context_length",  # LM Studio, where the others are what the model could have
    "max_model_len",  # vLLM, SGLang
    "context_length",  # Ollama, OpenRouter, Together
    "context_window",  # Groq
    "max_context_length",  # Mistral
)


def find_context_tokens(look: Callable[..., Any], model: str) -> int | None:
    """The context size of `model`, or None; `look(path, from_root=...)` gives a page's JSON, or None."""
    return next(_sizes(look, model), None)


def _sizes(look: Callable[..., Any], model: str) -> Iterator[int]:
    """Every size that is found, page by page: a page is looked at only when those before it did not say."""
    yield from _of_models(look("/models"), "data", "id", model)
    props = look("/props", from_root=True)  # llama.cpp: of one slot, which is what a conversation gets
    if isinstance(props, dict):
        generation = props.get("default_generation_settings")
        for holder in (generation, props):
            yield from _number(holder, "n_ctx")
    yield from _of_models(look("/api/ps", from_root=True), "models", "name", model)
    yield from _of_models(look("/api/v0/models", from_root=True), "data", "id", model)


def _of_models(page: Any, list_key: str, name_key: str, model: str) -> Iterator[int]:
    entries = page.get(list_key) if isinstance(page, dict) else None
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, dict) and entry.get(name_key) in (model, f"{model}:latest"):
            for key in _OF_A_MODEL:
                yield from _number(entry, key)


def _number(holder: Any, key: str) -> Iterator[int]:
    value = holder.get(key) if isinstance(holder, dict) else None
    if not isinstance(value, int) or isinstance(value, bool):
        return
    if LEAST_CONTEXT_TOKENS <= value <= _MOST_CONTEXT_TOKENS:
        yield value
