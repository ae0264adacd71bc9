"""Finding the text that an edit means: exactly, but for blanks, by the changed lines, or not at all.

A model's search text is often off by blanks or indentation. Each rung of the ladder must give one place;
two places are ambiguous and refused, and likeness only ever serves to say "did you mean".
"""

from __future__ import annotations

import ast
import re
import warnings
from pathlib import PurePosixPath

from mlipilot.nearness import near
from mlipilot.untrusted import clip, one_line
from mlipilot.yaml_text import NotYamlError, UnboundedYamlError, check_bounded, parse_yaml


class RefusedError(Exception):
    """A tool call that is not carried out; its text tells the model why, and what to do instead."""


def replace_once(text: str, search: str, replace: str) -> str:
    """`text` with the one place that `search` means replaced. Raises RefusedError."""
    if not search.strip():
        raise RefusedError("search is empty; give the lines to replace, or use write_file for a whole file")
    edited = _replace_exact(text, search, replace)
    if edited is None:
        wanted, new = _trimmed(search), _trimmed(replace)
        edited = _replace_lines(text, wanted, new)
        if edited is None:
            edited = _replace_core(text, wanted, new)
    if edited is None:
        raise RefusedError(f"search was not found.{_did_you_mean(text, search)}")
    if edited == text:
        raise RefusedError("the edit changes nothing: search and replace come to the same text")
    return edited


def check_syntax(name: str, text: str) -> None:
    """Whether a Python or YAML file can be read at all; nothing is executed. Raises RefusedError."""
    suffix = PurePosixPath(name).suffix.lower()
    if suffix == ".py":
        _check_python(name, text)
    elif suffix in (".yaml", ".yml"):
        _check_yaml(name, text)


def _replace_exact(text: str, search: str, replace: str) -> str | None:
    places = _occurrences(text, search)
    whole = [at for at in places if not _cuts_a_word(text, at, at + len(search))]
    if len(whole) > 1:
        raise RefusedError(_ambiguous([text.count("\n", 0, at) + 1 for at in whole]))
    if whole:
        at = whole[0]
        if "\n" not in search and len(replace.splitlines()) > 1 and _indent_left_out(text, at):
            raise RefusedError("the replacement has several lines: give search and replace with their indent")
        if search.endswith("\n") and replace and not replace.endswith("\n"):
            replace += "\n"
        return text[:at] + replace + text[at + len(search) :]
    if places:
        line = text.count("\n", 0, places[0]) + 1
        raise RefusedError(
            f"search is only part of a longer word or number in line {line}: "
            f"{one_line(text.split(chr(10))[line - 1])!r}. Give the whole line."
        )
    return None


def _indent_left_out(text: str, at: int) -> bool:
    """Whether only blanks stand before the place: then further lines could mean two different indents."""
    before = text[text.rfind("\n", 0, at) + 1 : at]
    return bool(before) and before.isspace()


def _occurrences(text: str, search: str) -> list[int]:
    """Every place of `search`, overlapping ones too, so that none is overlooked."""
    return [place.start() for place in re.finditer(f"(?={re.escape(search)})", text)]


def _cuts_a_word(text: str, start: int, end: int) -> bool:
    """Whether a word or number reaches across either end: `weight: 1` must not match in `weight: 10`."""
    return any(0 < at < len(text) and _joined(text[at - 1], text[at : at + 2]) for at in (start, end))


def _joined(left: str, right: str) -> bool:
    word_left = left.isalnum() or left == "_"
    if left == "." and right[0].isdigit():
        return True
    if left.isdigit() and right[0] == "." and right[1:].isdigit():
        return True
    return word_left and (right[0].isalnum() or right[0] == "_")


def _replace_core(text: str, wanted: list[str], new: list[str]) -> str | None:
    """The last rung: only the lines that the edit changes must be there; those around may be misquoted."""
    start, end = 0, 0
    shorter = min(len(wanted), len(new))
    while start < shorter and wanted[start] == new[start]:
        start += 1
    while end < shorter - start and wanted[-1 - end] == new[-1 - end]:
        end += 1
    core = wanted[start : len(wanted) - end]
    if not any(line.strip() for line in core) or len(core) == len(wanted):
        return None
    try:
        return _replace_lines(text, core, new[start : len(new) - end])
    except RefusedError:  # it fits several places: to the model, search as a whole fits none
        return None


def _replace_lines(text: str, wanted: list[str], new: list[str]) -> str | None:
    """The rungs that compare whole lines: blanks inside and after a line, then a uniform shift of indent."""
    lines = text.splitlines(keepends=True)
    for matches in (_same_but_for_blanks, _same_but_for_indent):
        found = [at for at in range(len(lines) - len(wanted) + 1) if matches(lines, at, wanted)]
        if len(found) > 1:
            raise RefusedError(_ambiguous([at + 1 for at in found]))
        if found:
            at, end = found[0], found[0] + len(wanted)
            shift = _indent_shift(lines[at:end], wanted)
            assert shift is not None  # noqa: S101 - both rungs only match lines with one common shift
            block = _rejoined([_shifted(line, *shift) for line in new], lines[end - 1])
            return "".join(lines[:at]) + block + "".join(lines[end:])
    return None


def _trimmed(block: str) -> list[str]:
    """The lines of `block` without blank ones at either end."""
    lines = block.splitlines()
    while lines and not lines[0].strip():
        del lines[0]
    while lines and not lines[-1].strip():
        del lines[-1]
    return lines


def _rejoined(lines: list[str], last: str) -> str:
    """`lines` with the line ending of the file, `last` being the last line that they stand for."""
    ending = "\r\n" if last.endswith("\r\n") else "\n"
    body = ending.join(lines)
    return body + ending if lines and last.endswith("\n") else body


def _squeezed(line: str) -> str:
    """A line without its indent and with every other run of blanks as one space."""
    return " ".join(line.split())


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())] if line.strip() else ""


def _same_but_for_blanks(lines: list[str], at: int, wanted: list[str]) -> bool:
    pairs = zip(lines[at:], wanted, strict=False)
    return all(_squeezed(a) == _squeezed(b) and _indent(a) == _indent(b) for a, b in pairs)


def _same_but_for_indent(lines: list[str], at: int, wanted: list[str]) -> bool:
    block = lines[at : at + len(wanted)]
    same = all(_squeezed(a) == _squeezed(b) for a, b in zip(block, wanted, strict=True))
    return same and _indent_shift(block, wanted) is not None


def _indent_shift(block: list[str], wanted: list[str]) -> tuple[str, str] | None:
    """(prefix to take off, prefix to put on) that turns every indent of `wanted` into that of `block`."""
    pairs = [(_indent(a), _indent(b)) for a, b in zip(block, wanted, strict=True) if b.strip()]
    shifts = {(w.removesuffix(_common_suffix(h, w)), h.removesuffix(_common_suffix(h, w))) for h, w in pairs}
    return shifts.pop() if len(shifts) == 1 else None


def _common_suffix(a: str, b: str) -> str:
    length = 0
    while length < min(len(a), len(b)) and a[-1 - length] == b[-1 - length]:
        length += 1
    return a[len(a) - length :]


def _shifted(line: str, off: str, on: str) -> str:
    if not line.strip():
        return ""
    if not line.startswith(off):
        raise RefusedError("replace is indented less than search; give both with the indent of the file")
    return on + line[len(off) :]


def _ambiguous(lines: list[int]) -> str:
    numbers = ", ".join(map(str, lines[:8]))
    return f"search fits {len(lines)} places (lines {numbers}); give more lines around the one that you mean"


def _did_you_mean(text: str, search: str) -> str:
    """The lines most like the first line of `search`, with their numbers; or nothing."""
    first = _trimmed(search)[0].strip()[:200]
    lines = text.splitlines()[:5000]
    stripped = [line.strip()[:200] for line in lines]
    found = near(first, {line for line in stripped if line}, most=3)
    if not found:
        return " Read the file again and copy the lines exactly."
    places = {stripped.index(match) for match in found}
    shown = sorted({at + by for at in places for by in (-1, 0, 1) if 0 <= at + by < len(lines)})
    return " Did you mean:\n" + "\n".join(f"line {at + 1}: {clip(lines[at], 200)}" for at in shown)


def _check_python(name: str, text: str) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a doubtful escape is the recipe's affair
            ast.parse(text)
    except SyntaxError as error:
        place = f"{name}, line {error.lineno}" if error.lineno else name
        raise RefusedError(f"{place} would not be Python any more: {one_line(error.msg)}") from None
    except (ValueError, RecursionError, MemoryError) as error:  # NUL bytes; nesting beyond the parser's depth
        problem = one_line(str(error)) or "it is nested too deeply"
        raise RefusedError(f"{name} would not be Python any more: {problem}") from None


def _check_yaml(name: str, text: str) -> None:
    try:
        check_bounded(text)
        parse_yaml(text)
    except NotYamlError as error:
        place = f"{name}, line {error.line}" if error.line else name
        what = "" if isinstance(error, UnboundedYamlError) else " would not be YAML any more"
        raise RefusedError(f"{place}{what}: {one_line(error.problem)}") from None
