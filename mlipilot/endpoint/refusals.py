"""What an endpoint means when it refuses a request: servers say the same in many words, and few in codes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Cause = Literal["overflow", "max_tokens_field", "roles", "tools", "format"]

TELLING_STATUS = frozenset({400, 404, 413, 422, 500, 501})
"""Servers answer what they do not support with any of these; llama.cpp and its kin with 500."""
_MAX_TEXT = 4000
_OVERFLOW = re.compile(
    r"exceed_context_size|context_length_exceeded|context[ _](?:length|size|window|limit)|max_model_len"
    r"|maximum model len|prompt is too long|(?:too many|maximum).{0,9} tokens|max_new_tokens.{0,9}must be"
    r"|reduce (?:the length|your message)|request too large"
)
_SIZES = (
    re.compile(r'"n_ctx"\s{0,9}:\s{0,9}(\d{3,9})\b'),
    re.compile(r"(\d{3,9}) maximum context length"),
    re.compile(
        r'(?:context[ _](?:length|size|window)|max_model_len|maximum model len\w*)[^\d"]{0,30}(\d{3,9})\b'
    ),
    re.compile(r"must be <= (\d{3,9})\b"),
)
_MAX_TOKENS_FIELD = re.compile(
    r"use\W{1,4}max_completion_tokens|max_tokens\W{1,4}(?:is )?(?:not supported|unsupported|deprecated)"
)
_ROLES = re.compile(
    r"system (?:role|message|prompt)s?(?: is| are)? ?(?:not|un)[ -]?supported|roles? must alternate"
    r"|only user\b.{0,30}\b(?:roles|supported)|got system\b"
)
_TOOLS = re.compile(r"\btools?\b|tool_c|tool[ -](?:call|choice|use)|function[ _-]call|--jinja")
_CLEAR = re.compile(r"support|requires?\b|must (?:be|alternate)|exceed|context|only user\b")
_FORMAT = re.compile(r"response_format|json_schema|json_object|guided|grammar|schema|structured|oneof")


@dataclass(frozen=True)
class Refusal:
    """Why a request was refused, as far as its text tells."""

    cause: Cause
    context_tokens: int | None = None
    """Of an overflow, when the text holds it."""


def read_refusal(status: int, said: str) -> list[Refusal]:
    """What the text of a refusal may mean, likeliest first; nothing where it does not tell.

    Some of these are told by one word only: a caller takes the first one that its request gives reason for.
    """
    if status not in TELLING_STATUS:
        return []
    text = said[:_MAX_TEXT].lower()
    if status == 413 or _OVERFLOW.search(text):
        tokens = (int(found[1]) for size in _SIZES if (found := size.search(text)))
        return [Refusal("overflow", next(tokens, None))]
    causes: tuple[tuple[Cause, re.Pattern[str]], ...] = (
        ("max_tokens_field", _MAX_TOKENS_FIELD),
        ("roles", _ROLES),
        ("tools", _TOOLS),
        ("format", _FORMAT),
    )
    return [Refusal(cause) for cause, pattern in causes if pattern.search(text)]


def is_clear(status: int, said: str) -> bool:
    """Whether a refusal is none that may pass: an error of the server itself may name the same things."""
    return status < 500 or bool(read_refusal(status, said) and _CLEAR.search(said[:_MAX_TEXT].lower()))
