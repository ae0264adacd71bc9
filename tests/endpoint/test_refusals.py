"""What servers write when they refuse, and what is understood."""

from __future__ import annotations

import pytest

from mlipilot.endpoint.refusals import is_clear, read_refusal

OVERFLOWS = [
    (
        '{"error":{"code":400,"message":"request (13392 tokens) exceeds the available context size (8192 '
        'tokens), try increasing it","type":"exceed_context_size_error","n_ctx":8192}}',
        8192,
    ),
    (
        "the request exceeds the available context size. try increasing the context size",
        None,
    ),
    (
        "This model's maximum context length is 16384 tokens. However, you requested 19591 tokens (9591 in "
        "the messages, 10000 in the completion). Please reduce the length of the messages or completion.",
        16384,
    ),
    ("The input (61709 tokens) is longer than the model's context length (40960 tokens).", 40960),
    (
        "Prompt contains 235396 tokens, too large for model with 131072 maximum context length",
        131072,
    ),
    ("`inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000 `inputs` tokens", 4096),
    ("The decoder prompt (length 9000) is longer than the maximum model length of 8192.", 8192),
    ('{"error":{"message":"exceeds the available context size","code":400}}', None),
    ('{"error":{"code":"context_length_exceeded","message":"too long"}}', None),
    ("prompt is too long: 210000 tokens > 200000 maximum", None),
    (
        "Trying to keep the first 111490 tokens when context overflows. However, the model is loaded with "
        "context length of only 32768 tokens, which is not enough.",
        32768,
    ),
]


@pytest.mark.parametrize(("said", "tokens"), OVERFLOWS)
@pytest.mark.parametrize("status", [400, 500])
def test_an_overflow_is_understood_with_its_size(status: int, said: str, tokens: int | None) -> None:
    (refusal,) = read_refusal(status, said)
    assert (refusal.cause, refusal.context_tokens) == ("overflow", tokens)


def test_a_request_that_is_too_large_is_an_overflow() -> None:
    assert read_refusal(413, "")[0].cause == "overflow"


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        (
            "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.",
            "max_tokens_field",
        ),
        ("System role not supported", "roles"),
        ("Conversation roles must alternate user/assistant/user/assistant/...", "roles"),
        ("After the optional system message, conversation roles must alternate user and assistant", "roles"),
        ("Only user and assistant roles are supported!", "roles"),
        ("Only user, assistant and tool roles are supported, got system", "roles"),
        ('"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set', "tools"),
        ("registry.ollama.ai/library/gemma:2b does not support tools", "tools"),
        ("tools param requires --jinja flag", "tools"),
        ("Unsupported param: tools", "tools"),
        ("No endpoints found that support tool use", "tools"),
        ("Function calling is not enabled for this model", "tools"),
        ('response_format type must be one of "text" or "json_object", but got: json_schema', "format"),
        ("'response_format.type' must be 'json_schema' or 'text'", "format"),
        ("failed to parse grammar", "format"),
        ("The provided JSON schema contains features not supported by xgrammar.", "format"),
    ],
)
def test_the_likeliest_cause_comes_first(said: str, cause: str) -> None:
    assert read_refusal(400, said)[0].cause == cause


@pytest.mark.parametrize(
    "said",
    [
        "no",
        "",
        "model 'qwen' not found",
        "max_tokens is too large: 40960. It supports at most 16384.",
        "invalid temperature",
    ],
)
def test_other_refusals_teach_nothing(said: str) -> None:
    assert read_refusal(400, said) == []


@pytest.mark.parametrize("status", [401, 403, 429, 503])
def test_a_key_or_a_queue_is_no_way_of_asking(status: int) -> None:
    assert read_refusal(status, "tools are not supported") == []


def test_an_error_of_the_server_is_a_refusal_only_when_it_says_so() -> None:
    assert is_clear(500, "tools param requires --jinja flag")
    assert is_clear(500, "Conversation roles must alternate")
    assert not is_clear(500, "Failed to parse tool call arguments as JSON")
    assert not is_clear(500, "boom")
    assert is_clear(400, "boom")
