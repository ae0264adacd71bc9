"""The tools that a pilot calls: their schemas, the check of arguments, and what each one does."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import ValidationError

from mlipilot.audit.files import tree_digest
from mlipilot.endpoint.tool_entries import Schema, object_schema, tool_entry
from mlipilot.pilots.arguments import coerced, fault_of
from mlipilot.pilots.draft_files import DraftFiles
from mlipilot.pilots.edit_matching import RefusedError
from mlipilot.pilots.hypothesis import Hypothesis
from mlipilot.pilots.outcomes import GaveUp, Outcome, Proposal, TurnInput, log_key
from mlipilot.pilots.recipe_bounds import recipe_excess
from mlipilot.pilots.recipe_identity import recipe_identity
from mlipilot.untrusted import as_data, clean, clip, one_line, tail

FULL_ENTRIES = 5
"""How many of the newest history entries are shown in full; older ones keep title and verdict."""
_SHORT_ENTRY = ("iteration", "title", "verdict", "parameters", "score")

_TEXT: Schema = {"type": "string"}
_PATH: Schema = {"type": "string", "description": "a file of the recipe, such as recipe.yaml"}
_KEY: Schema = {
    "type": "string",
    "description": "its dotted path, such as optimiser.learning_rate or loss.energy",
}
_VALUE: Schema = {
    "type": ["number", "string", "boolean", "array", "object"],
    "description": "the new value, as JSON",
}
_ITERATION: Schema = {"type": "integer", "minimum": 0}
_NEXT = "Now call submit_experiment, or edit more first."
_CLAIM = {
    "title": "a short name of the move, unlike those in the history",
    "hypothesis": "what was changed, and what it will do",
    "mechanism": "why it will do so",
    "expected_effect": "which metrics will move which way relative to the incumbent",
}


def _hypothesis_schema() -> Schema:
    """The schema of `Hypothesis`, without references (not every endpoint follows them) and with guidance."""
    schema = Hypothesis.model_json_schema()
    effect = schema["$defs"]["ExpectedEffect"]
    properties = {name: _untitled(part) for name, part in schema["properties"].items()}
    properties["expected_effect"]["items"] = object_schema(
        {name: _untitled(part) for name, part in effect["properties"].items()}
    )
    for name, description in _CLAIM.items():
        properties[name]["description"] = description
    return object_schema(properties)


def _untitled(schema: Schema) -> Schema:
    return {key: value for key, value in schema.items() if key != "title"}


PARAMETERS: dict[str, tuple[str, Schema]] = {
    "list_files": ("List the recipe's files.", object_schema({})),
    "read_file": ("Read a file of the recipe.", object_schema({"path": _PATH})),
    "set_value": (
        "Set one value of recipe.yaml that is there already.",
        object_schema({"key": _KEY, "value": _VALUE}),
    ),
    "replace_in_file": (
        "Replace one place in a file of the recipe. `search` is text copied from the file that occurs there "
        "exactly once; give whole lines.",
        object_schema({"path": _PATH, "search": _TEXT, "replace": _TEXT}),
    ),
    "write_file": (
        "Write a whole file of the recipe, new or not. For small changes use set_value or replace_in_file.",
        object_schema({"path": _PATH, "content": _TEXT}),
    ),
    "show_history": (
        "Show every experiment so far with its verdict, as JSON; with `iteration`, one of them in full.",
        object_schema({}, {"iteration": _ITERATION}),
    ),
    "read_log": (
        "Read the end of a training's log.",
        object_schema({"iteration": _ITERATION}, {"seed": {"type": "integer", "minimum": 0}}),
    ),
    "submit_experiment": (
        "Submit the edited recipe as an experiment; ends the turn. The claim is recorded before the training "
        "and graded afterwards from the metrics.",
        _hypothesis_schema(),
    ),
    "give_up": ("End the work: there is nothing more worth trying.", object_schema({"reason": _TEXT})),
}
"""Each tool's description and the JSON schema of its arguments."""


def tool_schemas(metrics: Sequence[str] = ()) -> list[Schema]:
    """The tools as `/chat/completions` takes them; a claim may name `metrics` only, where they are given."""
    tools = [tool_entry(name, *described) for name, described in PARAMETERS.items()]
    if metrics:
        tools = deepcopy(tools)
        for tool in tools:
            claim = tool["function"]["parameters"]["properties"].get("expected_effect")
            if claim is not None:
                claim["items"]["properties"]["metric"]["enum"] = sorted(metrics)
    return tools


@dataclass(frozen=True)
class ToolResult:
    """What a call came to: the text for the model, and the turn's outcome when the call ended it."""

    text: str
    outcome: Outcome | None = None
    edited: bool = False
    fits: bool = True
    """Whether the call had the form that the tool wants, whatever came of it."""


class Tools(Protocol):
    """A turn for whoever only calls tools: its `Toolbox`, or a conversation."""

    metrics: Sequence[str]  # of which a claim may speak; empty for all
    came_back: bool  # whether the draft was submitted before

    def call(self, name: str, arguments: dict[str, Any]) -> ToolResult:
        """What comes of a call; one that is refused gives a text that begins with `error:`."""
        ...


class Toolbox:
    """The tools of one turn, bound to its draft, history and logs."""

    def __init__(self, turn: TurnInput) -> None:
        self._turn = turn
        self.metrics, self.came_back = turn.metrics, turn.feedback is not None
        self._files = DraftFiles(turn.draft, turn.held)

    def texts(self) -> dict[str, str]:
        """The text of each file of the draft that can be read, by name."""
        found = {}
        for name in self._files.names():
            with suppress(RefusedError):
                found[name] = self._files.read(name)
        return found

    def call(self, name: str, arguments: dict[str, Any]) -> ToolResult:
        """Carry out one call. A call that is refused gives a text that begins with `error:`."""
        try:
            fitting = check_arguments(name, arguments)
        except RefusedError as refusal:
            return ToolResult(f"error: {refusal}", fits=False)
        carry_out: Callable[..., ToolResult] = getattr(self, f"_{name}")  # each of PARAMETERS is a method
        try:
            return carry_out(**fitting)
        except RefusedError as refusal:
            return ToolResult(f"error: {refusal}")

    def _list_files(self) -> ToolResult:
        return ToolResult("\n".join(self._files.names()))

    def _read_file(self, path: str) -> ToolResult:
        return ToolResult(self._files.read(path))

    def _set_value(self, key: str, value: Any) -> ToolResult:
        self._files.set_value(key, value)
        return ToolResult(f"ok: {key} was set. {_NEXT}", edited=True)

    def _replace_in_file(self, path: str, search: str, replace: str) -> ToolResult:
        self._files.replace(path, search, replace)
        return ToolResult(f"ok: {path} was edited. {_NEXT}", edited=True)

    def _write_file(self, path: str, content: str) -> ToolResult:
        self._files.write(path, content)
        return ToolResult(f"ok: {path} was written. {_NEXT}", edited=True)

    def _show_history(self, iteration: int | None = None) -> ToolResult:
        entries = self._turn.history
        if iteration is not None:
            chosen = [entry for entry in entries if entry.get("iteration") == iteration]
            if not chosen:
                raise RefusedError(f"there is no iteration {iteration} in the history")
            return ToolResult(as_json([_shown(chosen[0], full=True)]))
        oldest_full = len(entries) - FULL_ENTRIES
        return ToolResult(as_json([_shown(e, full=at >= oldest_full) for at, e in enumerate(entries)]))

    def _read_log(self, iteration: int, seed: int | None = None) -> ToolResult:
        logs, iteration = self._turn.logs, int(iteration)
        own = [key for key in sorted(logs) if key.partition("/")[0] == str(iteration)]
        key = log_key(iteration, int(seed)) if seed is not None else next(iter(own), "")
        if key not in logs:
            known = ", ".join(own or sorted(logs)) or "none"
            raise RefusedError(f"there is no such log; the logs (iteration/seed) are: {known}")
        try:
            text = tail(logs[key], self._turn.log_lines)
        except OSError:
            raise RefusedError(f"the log of {key} cannot be read") from None
        return ToolResult(as_data(text or "(empty)", f"the end of the training log of iteration/seed {key}"))

    def _submit_experiment(self, **claim: Any) -> ToolResult:
        hypothesis = _hypothesis(claim)
        excess = recipe_excess(self._turn.draft, self._turn.starting)
        if excess is not None:
            raise RefusedError(f"the recipe is too much: {excess}")
        identity = recipe_identity(self._turn.draft)
        if identity == recipe_identity(self._turn.incumbent):
            raise RefusedError(
                "the recipe says what the incumbent's does, unchanged: edit it before you submit"
            )
        # A draft that failed may come back with a mend as small as 1.0 for 1: its bytes are what was tried.
        for digest in (identity, tree_digest(self._turn.draft)):
            if digest in self._turn.tried:
                raise RefusedError(
                    f"this recipe was tried: {one_line(self._turn.tried[digest], 600)}. Submit another one"
                )
        return ToolResult("ok: submitted", outcome=Proposal(hypothesis))

    def _give_up(self, reason: str) -> ToolResult:
        text = one_line(reason, 1000) or "no reason was given"
        return ToolResult("ok: the work ends", outcome=GaveUp(text))


def check_arguments(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments as the tool takes them. Raises RefusedError naming the first fault."""
    if name not in PARAMETERS:
        raise RefusedError(f"there is no tool {name[:60]!r}; the tools are: {', '.join(PARAMETERS)}")
    schema = PARAMETERS[name][1]
    fitting = coerced(arguments, schema)
    fault = fault_of(fitting, schema)
    if fault is not None:
        raise RefusedError(f"{name}: {fault}")
    return fitting


def _hypothesis(claim: dict[str, Any]) -> Hypothesis:
    texts = {key: clean(value).strip() for key, value in claim.items() if isinstance(value, str)}
    if "title" in texts:
        texts["title"] = one_line(texts["title"])
    try:
        hypothesis = Hypothesis.model_validate({**claim, **texts})
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(str(part) for part in fault["loc"])
        raise RefusedError(f"submit_experiment: {place}: {fault['msg']}") from None
    named = [effect.metric for effect in hypothesis.expected_effect]
    if len(set(named)) != len(named):
        raise RefusedError("submit_experiment: expected_effect names a metric twice")
    return hypothesis


def _shown(entry: dict[str, Any], *, full: bool) -> dict[str, Any]:
    """A history entry as the model sees it: texts cleaned, long ones clipped, old ones in short."""
    shown = {key: value for key, value in entry.items() if full or key in _SHORT_ENTRY}
    limits = {"diff": 3000, "reason": 600, "hypothesis": 1000, "title": 200}
    return {
        key: clip(clean(value), limits.get(key, 1000)) if isinstance(value, str) else value
        for key, value in shown.items()
    }


def as_json(value: Any) -> str:
    """`value` as a model is told it, indented."""
    return json.dumps(value, ensure_ascii=False, indent=1)
