"""The draft recipe that a pilot edits: which paths it may touch, and what may be written there."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from mlipilot.audit.files import files_below, write_atomic
from mlipilot.pilots.edit_matching import RefusedError, check_syntax, replace_once
from mlipilot.pilots.space import RECIPE, Scalar, is_same, leaves_of, values_in
from mlipilot.pilots.values import kind_of, with_value
from mlipilot.untrusted import clean, one_line
from mlipilot.yaml_places import editable_places, find_place
from mlipilot.yaml_text import parse_yaml

MAX_FILE_BYTES = 64 * 1024
MAX_FILES = 64
MAX_DEPTH = 4
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,99}")
_BINARY = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")


class DraftFiles:
    """Reads and edits the draft recipe at `draft`; no edit may change the values of recipe.yaml in `held`."""

    def __init__(self, draft: Path, held: Mapping[str, Scalar] | None = None) -> None:
        self._draft = draft.resolve()
        self._held = held or {}

    def names(self) -> list[str]:
        """POSIX paths of the files that may be read and edited."""
        return [name for name in regular_files(self._draft) if _is_visible(name)]

    def read(self, path: str) -> str:
        """The text of a file of the draft. Raises RefusedError."""
        place = self._place(path)
        if not place.is_file():
            raise RefusedError(f"there is no file {path!r}; the files are: {', '.join(self.names())}")
        return _text_of(place, path)

    def replace(self, path: str, search: str, replace: str) -> None:
        """Replace the one place in a file that `search` means. Raises RefusedError."""
        text, key = self.read(path), search.strip()
        try:
            edited = replace_once(text, search, replace)
        except RefusedError:
            if path == RECIPE and "." in key and find_place(text, key) is not None:
                raise RefusedError(f"{key} is a value's path, no text of the file: use set_value") from None
            raise
        self._write(path, edited)

    def set_value(self, key: str, value: Any) -> None:
        """Set the value at a dotted path of recipe.yaml, which it must have. Raises RefusedError."""
        self._write(RECIPE, with_value(self.read(RECIPE), key, value))

    def write(self, path: str, content: str) -> None:
        """Write a whole file, new or not. Raises RefusedError."""
        place = self._place(path)
        if place.is_dir():
            raise RefusedError(f"{path!r} is a directory")
        if place.is_file() and _text_of(place, path) == content:
            raise RefusedError(f"the edit changes nothing: {path} holds this text already")
        if not place.is_file() and len(self.names()) >= MAX_FILES:
            raise RefusedError(f"a recipe has at most {MAX_FILES} files")
        self._write(path, content)

    def _write(self, path: str, content: str) -> None:
        place = self._place(path)
        _check_text(content, path)
        check_syntax(path, content)
        if place == self._draft / RECIPE:
            _check_values(content, _text_of(place, path) if place.is_file() else "")
            _check_held(content, self._held)
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise RefusedError(f"a part of {path!r} is a file, not a directory") from None
        write_atomic(place, content)

    def _place(self, path: str) -> Path:
        """Where `path` lies in the draft. Raises RefusedError for whatever is not plainly inside."""
        parts = PurePosixPath(path).parts
        if not parts or path.startswith(("/", "~")) or "\\" in path or ".." in parts:
            raise RefusedError(
                f"path {path[:200]!r} is not allowed: give one relative to the recipe, without '..'"
            )
        if any(part.startswith(".") or part == "__pycache__" for part in parts):
            raise RefusedError(f"path {path[:200]!r} is not allowed: hidden files are not part of a recipe")
        if len(parts) > MAX_DEPTH or not all(_NAME.fullmatch(part) for part in parts):
            raise RefusedError(
                f"path {path[:200]!r} is not allowed: "
                f"at most {MAX_DEPTH} plain names of letters, digits, '_', '.', '+', '-'"
            )
        place = self._draft.joinpath(*parts)
        if any(self._draft.joinpath(*parts[:depth]).is_symlink() for depth in range(1, len(parts) + 1)):
            raise RefusedError(f"path {path!r} is not allowed: it is, or lies behind, a symbolic link")
        if place.exists() and not (place.is_file() or place.is_dir()):
            raise RefusedError(f"path {path!r} is not allowed: it is not a regular file")
        return place


def regular_files(directory: Path) -> list[str]:
    """POSIX paths of a recipe's files: no links, no bytecode."""
    found = [path for path in files_below(directory) if path.is_file() and not path.is_symlink()]
    names = [path.relative_to(directory).as_posix() for path in found]
    return [name for name in names if "__pycache__" not in PurePosixPath(name).parts]


def _is_visible(name: str) -> bool:
    return not any(part.startswith(".") for part in PurePosixPath(name).parts)


def _text_of(place: Path, path: str) -> str:
    if place.stat().st_size > MAX_FILE_BYTES:
        raise RefusedError(f"{path} is larger than {MAX_FILE_BYTES // 1024} KiB")
    try:
        text = place.read_bytes().decode("utf-8")
    except UnicodeDecodeError:
        raise RefusedError(f"{path} is binary") from None
    if _BINARY.search(text):
        raise RefusedError(f"{path} is binary")
    return text


def _check_text(content: str, path: str) -> None:
    try:
        size = len(content.encode("utf-8"))
    except UnicodeEncodeError:
        raise RefusedError(f"the content for {path} is not valid Unicode text") from None
    if size > MAX_FILE_BYTES:
        raise RefusedError(f"{path} would be larger than {MAX_FILE_BYTES // 1024} KiB")
    if clean(content) != content.replace("\r\n", "\n"):  # what no reader of a diff would see
        raise RefusedError(f"the content for {path} holds control or invisible characters: write plain text")


def _check_values(content: str, before: str) -> None:
    """A recipe.yaml stays a mapping, and each of its values of its kind, as `set_value` demands it."""
    if not isinstance(parse_yaml(content), dict):
        raise RefusedError(f"{RECIPE} would not be a mapping of keys to values any more")
    old, new = leaves_of(before), leaves_of(content)
    for key in old.keys() & new.keys():
        if None not in (old[key], new[key]) and kind_of(old[key]) != kind_of(new[key]):
            shown = one_line(json.dumps(new[key], default=str), 60)
            raise RefusedError(f"{RECIPE}: {key} would be {shown}: its value must be {kind_of(old[key])}")


def _check_held(content: str, held: Mapping[str, Scalar]) -> None:
    values, places = values_in(content, held), editable_places(content, held)
    for path, value in held.items():
        if path not in values or not is_same(values[path], value) or places[path] is None:
            raise RefusedError(
                f"{path} is not yours to edit: TPE has set it to {value!r} for this experiment. "
                f"Leave it in {RECIPE} as it is, and edit something else."
            )
