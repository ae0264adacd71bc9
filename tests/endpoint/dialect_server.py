"""How models of every family write a call, and how endpoints fail, as behaviours of the `FaultyServer`."""

from __future__ import annotations

import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.endpoint import faulty_server as faulty
from tests.endpoint.faulty_server import Behaviour

Arguments = dict[str, Any]
Speak = Callable[[str, Arguments], dict[str, Any]]
"""The assistant's message that calls a tool."""


def _json(name: str, arguments: Arguments, key: str = "arguments") -> str:
    return json.dumps({"name": name, key: arguments})


def _native(arguments: Callable[[Arguments], Any]) -> Speak:
    def speak(name: str, given: Arguments) -> dict[str, Any]:
        function = {"name": name, "arguments": arguments(given)}
        return {"content": None, "tool_calls": [{"id": "x", "type": "function", "function": function}]}

    return speak


def _text(write: Callable[[str, Arguments], str]) -> Speak:
    return lambda name, arguments: {"content": write(name, arguments)}


def _qwen_xml(name: str, arguments: Arguments) -> str:
    parameters = "".join(
        f"<parameter={key}>\n{value if isinstance(value, str) else json.dumps(value)}\n</parameter>\n"
        for key, value in arguments.items()
    )
    return f"<tool_call>\n<function={name}>\n{parameters}</function>\n</tool_call>"


def _pythonic(name: str, arguments: Arguments) -> str:
    return f"[{name}({', '.join(f'{key}={value!r}' for key, value in arguments.items())})]"


def _deepseek(name: str, arguments: Arguments) -> str:
    return (
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>"
        f"{name}\n```json\n{json.dumps(arguments)}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>"
    )


def _deepseek_31(name: str, arguments: Arguments) -> str:
    return (
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>"
        f"{name}<｜tool▁sep｜>{json.dumps(arguments)}<｜tool▁call▁end｜><｜tool▁calls▁end｜>"
    )


DIALECTS: dict[str, Speak] = {
    "native": _native(json.dumps),
    "native, arguments as an object": _native(lambda arguments: arguments),
    "native, arguments encoded twice": _native(lambda arguments: json.dumps(json.dumps(arguments))),
    "native, nulls for what is optional": _native(lambda arguments: {**arguments, "note": None}),
    "native, brackets missing": _native(lambda arguments: json.dumps(arguments).rstrip("}]")),
    "bare JSON": _text(_json),
    "fenced JSON": _text(lambda name, given: f"I do this:\n```json\n{_json(name, given)}\n```\nThen I wait."),
    "constrained JSON": _text(lambda name, given: json.dumps({"tool": name, "arguments": given})),
    "JSON without its last brackets": _text(lambda name, given: _json(name, given).rstrip("}]")),
    "a Python dictionary": _text(lambda name, given: repr({"name": name, "arguments": given})),
    "Hermes": _text(lambda name, given: f"Well.\n<tool_call>\n{_json(name, given)}\n</tool_call>"),
    "Hermes, not closed": _text(lambda name, given: f"<tool_call>\n{_json(name, given)}"),
    "Qwen3 XML": _text(_qwen_xml),
    "Llama, function tags": _text(lambda name, given: f"<function={name}>{json.dumps(given)}</function>"),
    "Llama, python tag": _text(
        lambda name, given: f"<|python_tag|>{_json(name, given, 'parameters')}<|eom_id|>"
    ),
    "Llama, pythonic": _text(_pythonic),
    "Llama, pythonic behind its tag": _text(
        lambda name, given: f"<|python_tag|>{_pythonic(name, given)}<|eot_id|>"
    ),
    "Mistral": _text(lambda name, given: f"[TOOL_CALLS]{name}[ARGS]{json.dumps(given)}"),
    "Mistral, older": _text(lambda name, given: f"[TOOL_CALLS][{_json(name, given)}]</s>"),
    "DeepSeek V3": _text(_deepseek),
    "DeepSeek V3.1": _text(_deepseek_31),
    "Granite": _text(lambda name, given: f"<|tool_call|>[{_json(name, given)}]"),
    "Granite 3.1": _text(lambda name, given: f"<tool_call>[{_json(name, given)}]"),
    "Phi": _text(lambda name, given: f"functools[{_json(name, given)}]"),
    "Phi-4-mini": _text(lambda name, given: f"<|tool_call|>[{_json(name, given)}]<|/tool_call|>"),
    "inside the thoughts": _text(
        lambda name, given: f"<think>I want to see.\n{_json(name, given)}\n</think>"
    ),
    "behind thoughts that the template opened": _text(
        lambda name, given: f"Hm.\n</think>\n{_json(name, given)}"
    ),
    "in the reasoning field": lambda name, given: {
        "content": None,
        "reasoning_content": f"So\n<tool_call>{_json(name, given)}</tool_call>",
    },
    "in the other reasoning field": lambda name, given: {"content": "", "reasoning": _json(name, given)},
    "content in parts": lambda name, given: {"content": [{"type": "text", "text": _json(name, given)}]},
}


def says(speak: Speak, name: str, **arguments: Any) -> Behaviour:
    """The reply of a model that calls a tool in its dialect; it says `stop`, as many do."""
    return faulty.message(**speak(name, arguments))


def refusal(status: int, message: str, **fields: Any) -> Behaviour:
    """An error as OpenAI's servers write it."""
    return faulty.json_body({"error": {"message": message, "code": status, **fields}}, status)


NO_TOOL_PARSER = refusal(
    400, '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'
)
NO_JSON_SCHEMA = refusal(
    500, 'response_format type must be one of "text" or "json_object", but got: json_schema'
)
OVERFLOW_LLAMA_CPP = refusal(
    400,
    "request (13392 tokens) exceeds the available context size (8192 tokens), try increasing it",
    type="exceed_context_size_error",
    n_prompt_tokens=13392,
    n_ctx=8192,
)
OVERFLOW_VLLM = refusal(
    400,
    "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens (7000 in the "
    "messages, 2000 in the completion). Please reduce the length of the messages or completion.",
)


def counted(prompt_tokens: int, completion_tokens: int = 3, **message: Any) -> Behaviour:
    """A reply with the endpoint's own count of tokens."""
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": "stop"}
    usage = {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens}
    return faulty.json_body({"choices": [choice], "usage": usage})


NO = refusal(400, "no")
BARE = counted(20, content="Blue.")


def able(
    *,
    native: Behaviour = NO,
    json_schema: Behaviour = NO,
    json_object: Behaviour = NO,
    prompt: Behaviour = NO,
    bare: Behaviour = BARE,
) -> Behaviour:
    """An endpoint that answers by the way in which it is asked; `bare` is a conversation without tools."""

    def behave(handler: BaseHTTPRequestHandler) -> None:
        request = faulty.owner_of(handler).requests[-1]
        form = request.get("response_format", {}).get("type")
        in_text = '{"tool":' in json.dumps(request["messages"]).replace('\\"', '"')
        by_form = {"json_schema": json_schema, "json_object": json_object}
        unformed = native if "tools" in request else prompt if in_text else bare
        by_form.get(form, unformed)(handler)

    return behave
