"""The arguments of a tool call against the tool's schema."""

from __future__ import annotations

import json
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from mlipilot.nearness import did_you_mean
from mlipilot.untrusted import one_line

_SHOWN = 120
"""How much of a wrong value a fault shows, in characters."""
_TYPES: dict[str, tuple[type, ...]] = {
    "integer": (int, float),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}


def coerced(arguments: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """The arguments with strings read as JSON where the schema wants another type and the JSON has it.

    Dialects of tags know strings only, and small models quote numbers and lists.
    """
    properties = schema["properties"]
    return {name: _as_wanted(value, properties.get(name, {})) for name, value in arguments.items()}


def _as_wanted(value: Any, schema: dict[str, Any]) -> Any:
    kind = schema.get("type")
    wanted = _TYPES.get(kind) if isinstance(kind, str) else None  # of several types a text may be meant
    if wanted is None or not isinstance(value, str):
        return value
    try:
        read = json.loads(value)
    except (ValueError, RecursionError):
        return value
    return read if type(read) in wanted else value


def fault_of(arguments: dict[str, Any], schema: dict[str, Any]) -> str | None:
    """The first fault of arguments that do not fit the schema, with its place and the mend, or None."""
    fault = best_match(Draft202012Validator(schema).iter_errors(arguments))
    if fault is None:
        return None
    place = ".".join(str(part) for part in fault.absolute_path) or "arguments"
    return f"{place}: {one_line(_told(fault), 400)}{_nearest(fault)}"


def _told(fault: Any) -> str:
    """The fault's message; a long value is left out, so that what is wrong with it is not cut off."""
    shown = repr(fault.instance)
    if len(shown) <= _SHOWN or not fault.message.startswith(shown):
        return str(fault.message)
    limit = fault.validator_value
    allowed = f" (the limit is {limit})" if isinstance(limit, int) else ""
    return f"{shown[:_SHOWN]} …{fault.message.removeprefix(shown)}{allowed}"


def _nearest(fault: Any) -> str:
    if fault.validator != "enum" or not isinstance(fault.instance, str):
        return ""
    meant = did_you_mean(fault.instance, fault.validator_value, most=3)
    return f"; {meant}" if meant else ""
