"""The events of a lineage: one model a kind of ledger record, and `Event`, the union of them.

What is written is what was given: a field with a default that nobody set is not in the record's body. Such
fields came later than the kind, or are said of some events only; a record without them is read all the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from pydantic import ValidationError

from mlipilot.audit.events import concluding, proposing, reporting, running
from mlipilot.untrusted import one_line

Event = running.Event | proposing.Event | concluding.Event | reporting.Reported
KINDS: dict[str, type[Event]] = {model.kind: model for model in get_args(Event)}
_LATER = "a later version of MLIPilot may have written it: use that one"


def body_of(event: Event) -> dict[str, Any]:
    """What the record of an event has under `body`."""
    return event.model_dump(mode="json", exclude_unset=True)


def read_event(kind: str, body: Mapping[str, Any]) -> Event:
    """The event of a record. Raises ValueError saying what is wrong with it and what may mend that."""
    if kind not in KINDS:
        raise ValueError(f"there is no kind of record '{one_line(kind, 40)}' in this version; {_LATER}")
    try:
        return KINDS[kind].model_validate(body)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
    place = one_line(".".join(map(str, (kind, *fault["loc"]))), 100)
    if fault["type"] == "extra_forbidden":
        raise ValueError(f"there is no field {place} in this version; {_LATER}")
    found = "" if fault["type"] == "missing" else f" (it is {one_line(repr(fault['input']), 60)})"
    raise ValueError(f"{place}: {fault['msg']}{found}; no version up to this one writes such a record")
