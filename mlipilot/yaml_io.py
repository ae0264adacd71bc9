"""Reading the YAML files that people write: every error names the file, the line, the value and the mend."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from mlipilot.confidential import suspicion
from mlipilot.errors import InputError
from mlipilot.nearness import did_you_mean, near, question
from mlipilot.yaml_text import NotYamlError, parse_yaml

Model = TypeVar("Model", bound=BaseModel)


def load_yaml(path: Path) -> Any:
    """The file's content, mappings and sequences keeping their line numbers. Raises InputError."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        beside = sorted(p.name for p in path.parent.glob("*.yaml")) if path.parent.is_dir() else []
        mend = question(str(path.parent / name) for name in near(path.name, beside))
        raise InputError("no such file", file=path, mend=mend) from None
    except PermissionError:
        raise  # the command line says whose the file is, and what helps
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read: {error}", file=path, mend="name a text file in UTF-8") from None
    try:
        return parse_yaml(text, with_places=True)
    except NotYamlError as error:
        mend = "correct this line, or one before it"
        raise InputError(f"not YAML: {error.problem}", file=path, line=error.line, mend=mend) from None


def load_yaml_model(path: Path, model: type[Model]) -> Model:
    """`path` read as a `model`. Raises InputError."""
    return validate(load_yaml(path), model, path)


def validate(data: Any, model: type[Model], path: Path) -> Model:
    """`data` (as `load_yaml` returned it) checked against `model`. Raises InputError for the first fault."""
    if not isinstance(data, dict):
        raise InputError(f"a mapping is expected, not {type(data).__name__}", file=path, line=1)
    try:
        return model.model_validate(data)
    except ValidationError as error:
        # A misspelt key also shows as a missing one: the misspelling is what the reader wants to see.
        first = min(error.errors(), key=lambda fault: fault["type"] != "extra_forbidden")
        location = first["loc"]
        raise InputError(
            _message(first, location),
            file=path,
            line=line_of(data, location),
            mend=_mend(first, model, location),
        ) from None


def _message(fault: Any, location: tuple[int | str, ...]) -> str:
    where = ".".join(str(part) for part in location) or "the file"
    if fault["type"] == "extra_forbidden":
        return f"unknown key {where!r} (value: {_short(where, fault['input'])})"
    if fault["type"] == "missing":
        return f"{where!r} is missing"
    return f"{where!r}: {fault['msg']} (value: {_short(where, fault['input'])})"


def _short(where: str, value: Any) -> str:
    if suspicion(where.rpartition(".")[2], value):
        return "not shown, as it may be a key"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def line_of(data: Any, location: tuple[int | str, ...]) -> int | None:
    """The line of the deepest part of `location` that the file has; None where it came by `--set`."""
    line: int | None = 1
    for part in location:
        if isinstance(data, CommentedMap) and part in data:
            # A key that `--set` brought in has no line of its own.
            line = data.lc.key(part)[0] + 1 if part in (data.lc.data or {}) else None
        elif isinstance(data, CommentedSeq) and isinstance(part, int) and part < len(data):
            line = data.lc.item(part)[0] + 1
        else:
            break
        data = data[part]
    return line


def _mend(fault: Any, model: type[BaseModel], location: tuple[int | str, ...]) -> str | None:
    """Which keys there are, for one that is not; else what the value is for, where its field says so."""
    names = [part for part in location if isinstance(part, str)]
    owner = _owner(model, tuple(names[:-1])) if names else None
    if owner is None:
        return None
    if fault["type"] == "extra_forbidden":
        keys = [field.alias or name for name, field in owner.model_fields.items()]
        return did_you_mean(names[-1], keys, "the keys here are")
    field = owner.model_fields.get(names[-1])
    return f"{names[-1]}: {field.description}" if field and field.description else None


def _owner(model: type[BaseModel], location: tuple[int | str, ...]) -> type[BaseModel] | None:
    """The model class that `location` lies in, looking through lists, options and unions."""
    current: type[BaseModel] | None = model
    for part in location:
        if isinstance(part, int) or current is None:
            continue
        field = current.model_fields.get(str(part))
        if field is not None:
            current = _model_in(field.annotation)
    return current


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for a in get_args(annotation) if (found := _model_in(a)) is not None), None)
