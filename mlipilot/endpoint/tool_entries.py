"""Tools and their calls in the form that `/chat/completions` has for them."""

from __future__ import annotations

import json
from typing import Any

Schema = dict[str, Any]


def object_schema(required: dict[str, Schema], optional: dict[str, Schema] | None = None) -> Schema:
    """The JSON schema of an object with these properties and no others."""
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
        "additionalProperties": False,
    }


def tool_entry(name: str, description: str, parameters: Schema) -> dict[str, Any]:
    """A tool whose arguments are as the schema `parameters` says."""
    function = {"name": name, "description": description, "parameters": parameters}
    return {"type": "function", "function": function}


def call_entry(own_id: str, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """A call in an assistant's message."""
    function = {"name": name, "arguments": json.dumps(arguments, ensure_ascii=False)}
    return {"id": own_id, "type": "function", "function": function}
