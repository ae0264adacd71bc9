"""YAML as text: whatever is wrong with it, in its form or in a value, is one kind of error."""

from __future__ import annotations

from copy import deepcopy
from functools import lru_cache
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent

from mlipilot.confidential import holds_key, looks_like_key

MAX_DEPTH = 20


class NotYamlError(ValueError):
    """A text that cannot be read as YAML; `line` counts from 1, where it is known."""

    def __init__(self, problem: str, line: int | None = None) -> None:
        problem = problem.partition(" with value ")[0]  # of a key that is there twice, which may be a secret
        if looks_like_key(problem) or holds_key(problem):
            problem = "a word that looks like a key stands in the wrong place"
        super().__init__(problem)
        self.problem, self.line = problem, line


class UnboundedYamlError(NotYamlError):
    """A text that may take a reader hours or all memory, though it is short."""


def parse_yaml(text: str, *, with_places: bool = False) -> Any:
    """The value of a text; `with_places`: mappings and sequences know their lines. Raises NotYamlError."""
    try:
        return _copied(_read(text, with_places), {})
    except YAMLError as error:
        raise _not_yaml(error) from None
    except Exception as error:  # noqa: BLE001 - `!!bool x` is a KeyError, `!!int ''` an IndexError, and so on
        name = type(error).__name__
        raise NotYamlError(f"a value cannot be read ({name}: {str(error)[:100]})") from None


def _copied(value: Any, done: dict[int, Any]) -> Any:
    """As `deepcopy` has it, but ten times as fast: comments are left out; places, which stay, are shared."""
    if id(value) in done:
        return done[id(value)]
    if type(value) is CommentedMap and not value.merge:
        made: Any = CommentedMap()
        done[id(value)] = made
        for key, inner in value.items():
            made[key] = _copied(inner, done)
    elif type(value) is CommentedSeq:
        made = CommentedSeq()
        done[id(value)] = made
        for inner in value:
            made.append(_copied(inner, done))
    else:
        return deepcopy(value, done)
    made.lc.data, made.lc.line, made.lc.col = value.lc.data, value.lc.line, value.lc.col
    return made


@lru_cache(maxsize=64)  # lineages have files in common, and to read one takes thirty times what a copy takes
def _read(text: str, with_places: bool) -> Any:
    yaml = YAML(typ="rt") if with_places else YAML(typ="safe", pure=True)
    return yaml.load(text)


def check_bounded(text: str) -> None:
    """Refuse deep nesting, and aliases, which can grow without bound, before anything is built of them.

    Raises UnboundedYamlError, or NotYamlError where the text is not YAML.
    """
    depth = 0
    try:
        for event in YAML(typ="safe", pure=True).parse(text):
            line = event.start_mark.line + 1
            if isinstance(event, AliasEvent):
                raise UnboundedYamlError("write the value out; YAML aliases (*) are not allowed", line)
            depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
            if depth > MAX_DEPTH:
                raise UnboundedYamlError(f"it is nested more than {MAX_DEPTH} deep", line)
    except YAMLError as error:
        raise _not_yaml(error) from None
    except RecursionError:
        raise UnboundedYamlError(f"it is nested more than {MAX_DEPTH} deep") from None


def _not_yaml(error: YAMLError) -> NotYamlError:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    return NotYamlError(problem, mark.line + 1 if mark else None)
