"""A recipe is code, not data: how much it may say beyond the one that its run started from, in what form.

Weights that come with a recipe need no training. The smallest models here have some 2,000 weights, 2 KiB at
eight bits each; so what a recipe adds may not hold as much, or not in a form that holds it. What the starting
recipe has itself is never too much. `docs/pilots.md` says what these bounds cannot show.
"""

from __future__ import annotations

import ast
import io
import lzma
import math
import re
import tokenize
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from mlipilot.pilots.draft_files import regular_files
from mlipilot.untrusted import one_line
from mlipilot.yaml_text import parse_yaml

MOST_ADDED_FILES = 16
MOST_NAME = 60
"""Characters of a file's path, and of a name in code: hardly read by people, and easily by a program."""
MOST_ADDED_BYTES = 48 * 1024
"""Two and a half times the shipped recipe."""
MOST_ADDED_COMPRESSED_BYTES = 4 * 1024
"""Some 350 lines of code: whatever the form, more information than that is no change of a recipe."""
MOST_ADDED_NAMES = 1500
"""Characters of the names that code had not used before, each counted once."""
MOST_ADDED_BLANKS = 200
"""At the ends of lines: nobody sees them."""
MOST_LINE = 300
"""Characters: a diff is read by lines."""
MOST_LITERAL = 2000
"""Characters of a string, docstring or comment."""
MOST_ADDED_TEXT = 8000
"""Characters of all of them."""
MOST_UNBROKEN = 100
"""Characters without a blank in a text: no word is as long."""
LEAST_JUDGED = 120
"""Characters from which on a text's letters say what it is."""
MOST_ENTROPY_BITS = 5.3
"""A character: prose has 4.2, code and regular expressions up to 5.2, base64 5.4 and more."""
MOST_DIGITS_SHARE = 0.4
"""Of a text's characters: decimal and hexadecimal numbers have more."""
MOST_ADDED_NOT_ASCII = 400
"""Characters: one can stand for two bytes of data."""
MOST_TOGETHER = 64
"""Numbers and strings of one statement, or keys and values below one key of a YAML file."""
MOST_ADDED_NUMBERS = 300
MOST_ADDED_DIGITS = 2000
"""Characters of these numbers together."""
MOST_NUMBER = 25
"""Characters of one number: a double has 17 digits."""
_MEND = "A recipe is code, not data: compute what it needs, or learn it from the training data"
_NUMBER = re.compile(r"(?<![A-Za-z_])[-+]?\d[\d.eE+-]*")
_WORD = re.compile(r"\w+")


@dataclass
class _Content:
    """What a file says: its texts and its numbers, each with the line on which it begins."""

    lines: list[str]
    texts: list[tuple[int, str]] = field(default_factory=list)
    numbers: list[tuple[int, str]] = field(default_factory=list)
    together: list[tuple[int, int]] = field(default_factory=list)
    """How many values stand in one statement, or below one key."""
    names: list[str] = field(default_factory=list)
    """Of variables, functions and the like."""


def recipe_excess(recipe: Path, start: Path) -> str | None:
    """Which bound a recipe exceeds that began as `start`, with value and mend; None where it keeps to all.

    Raises OSError for a file that cannot be read.
    """
    return next(_excesses(_files(recipe), _files(start)), None)


def _files(recipe: Path) -> dict[str, bytes]:
    return {name: (recipe / name).read_bytes() for name in regular_files(recipe)}


def _excesses(files: dict[str, bytes], start: dict[str, bytes]) -> Iterator[str]:
    added = files.keys() - start.keys()
    yield from _over("files beyond those of the starting recipe", len(added), MOST_ADDED_FILES)
    for name in sorted(added):
        yield from _over(f"characters in the file name {name[:40]}…", len(name), MOST_NAME)
    changed = {name: data for name, data in sorted(files.items()) if start.get(name) != data}
    contents, known = {}, _Content([])
    for name, data in changed.items():
        try:
            contents[name] = _content(name, data)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            yield f"{name} cannot be read as what it is: {one_line(str(error))}. {_MEND}"
    for name, data in start.items():
        try:
            content = _content(name, data)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        for mine, theirs in zip(vars(known).values(), vars(content).values(), strict=True):
            mine += theirs
    added_texts = {name: _beyond(content.texts, known.texts) for name, content in contents.items()}
    for name, content in contents.items():
        yield from _of_file(name, content, added_texts[name], known)
    yield from _of_all(contents, added_texts, known)
    before, now = b"".join(start.values()), b"".join(files.values())
    yield from _over("bytes more than the starting recipe", len(now) - len(before), MOST_ADDED_BYTES)
    names = "\n".join(sorted(added)).encode()
    compressed = _compressed(before + now + names) - _compressed(before)
    yield from _over(
        "bytes added to the starting recipe, compressed", compressed, MOST_ADDED_COMPRESSED_BYTES
    )


def _of_file(name: str, content: _Content, texts: list[tuple[int, str]], known: _Content) -> Iterator[str]:
    lines, most_together = set(known.lines), max((n for _, n in known.together), default=0)
    for number, line in enumerate(content.lines, 1):
        if line not in lines:
            place = f"{name}, line {number}: "
            yield from _over(f"{place}characters in a line", len(line), MOST_LINE)
            longest = max(map(len, _WORD.findall(line)), default=0)
            yield from _over(f"{place}characters in a name or number", longest, MOST_NAME)
    for number, text in texts:
        place = f"{name}, line {number}: "
        yield from _over(f"{place}characters in a string or comment", len(text), MOST_LITERAL)
        words = [word for word in text.split() if _entropy_bits(word) > 2]  # of rules, such as ----, no more
        yield from _over(f"{place}characters without a blank", max(map(len, words), default=0), MOST_UNBROKEN)
        yield from _dense(place, text)
    yield from _dense(f"{name}: all strings and comments together: ", "".join(text for _, text in texts))
    for number, count in content.together:
        if count > most_together:
            place = f"{name}, line {number}: "
            yield from _over(f"{place}values in one statement or below one key", count, MOST_TOGETHER)
    for number, text in _beyond(content.numbers, known.numbers):
        yield from _over(f"{name}, line {number}: characters in a number", len(text), MOST_NUMBER)


def _of_all(
    contents: dict[str, _Content], texts: dict[str, list[tuple[int, str]]], known: _Content
) -> Iterator[str]:
    together = "".join(text for added in texts.values() for _, text in added)
    yield from _over("characters of strings and comments added", len(together), MOST_ADDED_TEXT)
    odd = sum(not character.isascii() for character in together)
    yield from _over("characters outside of ASCII added", odd, MOST_ADDED_NOT_ASCII)
    lines = [line for content in contents.values() for line in content.lines if line not in known.lines]
    blanks = sum(len(line) - len(line.rstrip()) for line in lines)
    yield from _over("blanks at the ends of lines added", blanks, MOST_ADDED_BLANKS)
    numbers = [pair for content in contents.values() for pair in content.numbers]
    added = _beyond(numbers, known.numbers)
    yield from _over("numbers added", len(added), MOST_ADDED_NUMBERS)
    digits = sum(len(text) for _, text in added)
    yield from _over("characters of numbers added", digits, MOST_ADDED_DIGITS)
    names = {name for content in contents.values() for name in content.names} - set(known.names)
    yield from _over("characters of names added", sum(map(len, names)), MOST_ADDED_NAMES)


def _over(what: str, value: int, most: int) -> Iterator[str]:
    place, colon, thing = what.rpartition(": ")
    if value > most:
        yield f"{place}{colon}{value:,} {thing}; at most {most:,}. {_MEND}"


def _dense(place: str, text: str) -> Iterator[str]:
    """Whether a text is written as data are."""
    text = "".join(character for character in text if character.isascii())
    if len(text) < LEAST_JUDGED:
        return
    if (bits := _entropy_bits(text)) > MOST_ENTROPY_BITS:
        yield f"{place}{bits:.2f} bits a character in a text; at most {MOST_ENTROPY_BITS}. {_MEND}"
    share = sum(character.isdigit() for character in text) / len(text)
    if share > MOST_DIGITS_SHARE:
        yield f"{place}{share:.0%} digits in a text; at most {MOST_DIGITS_SHARE:.0%}. {_MEND}"


def _entropy_bits(text: str) -> float:
    shares = [count / len(text) for count in Counter(text).values()]
    return -sum(share * math.log2(share) for share in shares)


@lru_cache(maxsize=16)
def _compressed(data: bytes) -> int:
    # The window holds all of it, so that what was there before costs next to nothing again. The preset's own
    # of 64 MiB makes no recipe shorter, and takes 670 MB of memory, which are cleared first.
    window = 1 << max(20, len(data).bit_length())
    filters = [
        {"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": min(window, 1 << 26)}
    ]
    return len(lzma.compress(data, format=lzma.FORMAT_RAW, filters=filters))


def _beyond(said: list[tuple[int, str]], known: list[tuple[int, str]]) -> list[tuple[int, str]]:
    """What is said more often than it was known, with its lines."""
    left = Counter(text for _, text in known)
    added = []
    for line, text in said:
        left[text] -= 1
        if left[text] < 0:
            added.append((line, text))
    return added


@lru_cache(maxsize=16)  # what a recipe began as is asked for with each that is tried
def _content(name: str, data: bytes) -> _Content:
    """What a file says; nobody changes that. Raises ValueError or SyntaxError where it cannot be read so."""
    text = data.decode("utf-8")
    if "\0" in text:
        raise ValueError("it is binary")
    content = _Content(text.splitlines())
    suffix = PurePosixPath(name).suffix.lower()
    if suffix == ".py":
        _read_python(text, content)
    elif suffix in (".yaml", ".yml"):
        _read_yaml(text, content)
    else:
        content.texts += list(enumerate(content.lines, 1))
        content.numbers += [(n, found) for n, line in content.texts for found in _NUMBER.findall(line)]
    return content


def _read_python(text: str, content: _Content) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd escapes in strings
        tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
            value = node.value if isinstance(node.value, str) else node.value.decode("latin-1")
            content.texts.append((node.lineno, value))
        elif isinstance(node, ast.Constant) and node.value is not None and node.value is not ...:
            content.numbers.append((node.lineno, _spelt(node.value)))
        elif isinstance(node, ast.stmt):
            content.together.append((node.lineno, _constants(node)))
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            content.texts.append((token.start[0], token.string))
        elif token.type == tokenize.NAME:
            content.names.append(token.string)


def _constants(node: ast.AST) -> int:
    """How many numbers and strings a node has, without those of statements inside."""
    if isinstance(node, ast.Constant):
        return int(node.value is not None)
    inside = (child for child in ast.iter_child_nodes(node) if not isinstance(child, ast.stmt))
    return sum(map(_constants, inside))


def _spelt(number: Any) -> str:
    """As it is written, or as long: Python does not spell out integers of thousands of digits."""
    is_long = isinstance(number, int) and number.bit_length() > 4 * MOST_NUMBER
    return "9" * (number.bit_length() // 4) if is_long else repr(number)


def _read_yaml(text: str, content: _Content) -> None:
    comments = [(n, line.partition("#")[2]) for n, line in enumerate(content.lines, 1) if "#" in line]
    values = parse_yaml(text)
    for key, value in values.items() if isinstance(values, dict) else [("", values)]:
        line = next((n for n, said in enumerate(content.lines, 1) if said.startswith(str(key))), 1)
        leaves = list(_leaves({key: value}))
        numbers = [leaf for leaf in leaves if isinstance(leaf, int | float)]
        content.numbers += [(line, _spelt(number)) for number in numbers]
        content.together.append((line, len(leaves)))
        content.texts += [(line, str(leaf)) for leaf in leaves if not isinstance(leaf, int | float)]
    content.texts += comments


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield str(key)
            yield from _leaves(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner)
    elif value is not None:
        yield value
