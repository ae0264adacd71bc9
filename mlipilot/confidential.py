"""The keys of this process, and texts without them: what a server or an exception says passes here first.

A key is looked for as it is and in the forms in which servers echo one; `LEAST` characters of it are enough.
What merely looks like a key is told by its name and its form, so that it is refused and not quoted.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any
from urllib.parse import unquote, urlsplit

from mlipilot.untrusted import ESCAPE_SEQUENCES

LEAST = 8
"""Characters. A shorter key is taken for a placeholder, such as EMPTY: it stays where it is."""
HIDDEN = "[API key]"
"""Stands in place of a key."""

_BASE64_WINDOW = 10
"""Of eight bytes, so many characters are the same whatever stands before and after them."""
_PLAIN = re.compile(r"[^A-Za-z0-9+/_.~-]+")
_BETWEEN = r"[^A-Za-z0-9+/_.~%\\\x1b\x90-\x9f-]+|[%\\\x1b\x90-\x9f]"
_ESCAPES = (
    r"(?:%(?:25){0,4}|\\{1,8}(?:u00|x))1[Bb]\[[0-?]{0,32}[ -/]{0,8}[@-~]|" + ESCAPE_SEQUENCES,
    r"%(?:25){0,4}([0-9A-Fa-f]{2})",
    r"\\{1,8}(?:u00|x)([0-9A-Fa-f]{2})|\\{1,8}[abfnrtv]",
)
"""A terminal's, written out or not; an address's; a string's."""
_LOGIN = re.compile(r"(?<=://)[^\s/?#\"'<>,:@]{0,128}:[^\s/?#\"'<>,]{1,256}@")

_NAME_OF_KEY = re.compile(
    r"(?i)^key$|(?:api|secret|access|private|auth)[_-]?key$|token$|passw(?:or)?d$|secret$|credentials?$"
    r"|authorization$|bearer$"
)
_PREFIXED = re.compile(r"(?<![A-Za-z0-9])(?:sk|gsk|hf|xai|nvapi|ghp|glpat)[-_](?=[A-Za-z_-]*[0-9])[\w-]{16,}")
_UUID = re.compile(r"(?i)[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_RUN = re.compile(r"[A-Za-z0-9]{16,}")
_WORD = re.compile(r"[A-Za-z]?[a-z]{3,}")

_wanted: dict[str, set[str]] = {}
"""What gives a key away, by its first characters."""


def keep(secret: str | None, user: str = "") -> bool:
    """Never show `secret` again, nor the login of `user` with it. False where it is too short for that."""
    secret = (secret or "").strip()
    forms, plain = list[tuple[str, int]](), _read(secret, _PLAIN)
    if len(plain) >= LEAST:
        forms = [(plain, LEAST), (secret.encode().hex(), 2 * LEAST)]
        forms += [(form, _BASE64_WINDOW) for form in _base64_forms(secret)]
    if secret and user:  # of a short password, too, "Basic" sends enough
        forms += [(form, _BASE64_WINDOW) for form in _base64_forms(f"{user}:{secret}")[:2]]
    for form, width in forms:
        for start in range(len(form) - width + 1):
            part = form[start : start + width].lower()
            _wanted.setdefault(part[:LEAST], set()).add(part)
    return len(plain) >= LEAST


def keep_proxies() -> None:
    """Never show the passwords of the proxies that the environment names."""
    from urllib.request import getproxies_environment  # it takes a while

    for url in getproxies_environment().values():
        try:
            login = urlsplit(url if "://" in url else f"http://{url}")
            keep(unquote(login.password or ""), unquote(login.username or ""))
        except ValueError:
            continue  # it is no address, and requests says so


def hidden(text: str) -> str:
    """`text` without keys, and without the logins of addresses."""
    return _LOGIN.sub(f"{HIDDEN}@", _without(text, _spans(text)))


def hidden_in(value: Any) -> Any:
    """A value of JSON's types without keys: in names, numbers, strings, and strings that continue each other.

    Those are the ones of one name in the entries of a list, such as the parts of a message.
    """
    groups: dict[tuple[str, ...], list[str]] = {}
    for place, text in _strings(value, ()):
        groups.setdefault(place, []).append(text)
    cleaned = {place: iter(_pieces(texts)) for place, texts in groups.items()}
    return _rebuilt(value, (), cleaned)


def holds_key(text: str) -> bool:
    """Whether a key of this process is in `text`, in any form."""
    return bool(_spans(text))


def looks_like_key(text: str) -> bool:
    """Whether a word of `text` is random as keys are. A host's name in an address is none."""
    words = re.sub(r"(?<=://)[^\s/?#]*", "", text)
    return bool(_PREFIXED.search(words) or _UUID.search(words) or any(map(_is_random, _RUN.findall(words))))


def suspicion(name: str, value: Any) -> str | None:
    """Why what is set as `name` may be a key, and is not to be shown; None where it seems to be none."""
    value = value if isinstance(value, str) else repr(value)
    if _NAME_OF_KEY.search(name):
        return "by its name it is a key" if value else None
    if name.endswith("_env") and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value):
        return "the name of a variable is expected, and this is none"
    if (name == "base_url" and re.search(r"[@?#;=]", value)) or _LOGIN.search(value):
        return "it is an address with a login, or with more behind its path"
    if holds_key(value):
        return "it is the key that the environment holds"
    is_other = name.endswith("sha256") or value.startswith(("/", "./", "../", "~"))  # a digest, a path
    return "it looks like a key" if not is_other and looks_like_key(value) else None


def _is_random(run: str) -> bool:
    """Whether letters and digits are mixed as in no name of a model: little is left that could be a word."""
    digits = sum(character.isdigit() for character in run)
    changes = sum(a.isdigit() != b.isdigit() for a, b in pairwise(run))
    rest = len(_WORD.sub("", run))
    return digits >= 2 and len(run) - digits >= 3 and (rest >= 0.4 * len(run) or changes > 0.3 * len(run))


def _base64_forms(secret: str) -> list[str]:
    """What is in base64 wherever `secret` begins in what is encoded; both alphabets."""
    data, forms = secret.encode("latin-1", errors="replace"), []
    for offset, begins in ((0, 0), (1, 2), (2, 3)):
        encoded = base64.b64encode(bytes(offset) + data).decode()[begins : (offset + len(data)) * 8 // 6]
        forms += [encoded, encoded.translate(str.maketrans("+/", "-_"))]
    return forms


def _spans(text: str) -> list[tuple[int, int]]:
    """Where keys are in `text`, in order and apart from each other."""
    found: list[tuple[int, int]] = []
    for pattern in _readings(text):
        read = _read(text, pattern)
        parts = [
            (at, at + len(part) - 1)
            for at in range(len(read) - LEAST + 1)
            for part in _wanted.get(read[at : at + LEAST], ())
            if read.startswith(part, at)
        ]
        places = _places(text, pattern) if parts else []
        found += [(places[first][0], places[last][1]) for first, last in parts]
    merged: list[tuple[int, int]] = []
    for begin, end in sorted(found):
        if merged and begin <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((begin, end))
    return merged


def _readings(text: str) -> list[re.Pattern[str]]:
    """What is to be left out or decoded of `text`, in turn: nothing, each kind of escapes in it, all of them.

    What stands before a key may look like the beginning of one kind, and swallow a part of the key.
    """
    kinds = [escape for escape in _ESCAPES if re.search(escape, text)]
    alternatives = [[kind] for kind in kinds] + [kinds] * (len(kinds) > 1)
    return [_PLAIN, *(re.compile("|".join([*each, _BETWEEN])) for each in alternatives)]


def _read(text: str, pattern: re.Pattern[str]) -> str:
    """`text` as keys are looked for: in small letters, and what `pattern` finds left out or decoded."""
    return pattern.sub(_character, text).lower()


def _character(found: re.Match[str]) -> str:
    """The character that is written in hexadecimal; nothing for one that is left out itself."""
    code = found[found.lastindex] if found.lastindex else ""
    return _PLAIN.sub("", chr(int(code, 16))) if code else ""


def _places(text: str, pattern: re.Pattern[str]) -> list[tuple[int, int]]:
    """Where in `text` each character of what is read begins and ends."""
    places, at = list[tuple[int, int]](), 0
    for found in pattern.finditer(text):
        places += zip(range(at, found.start()), range(at + 1, found.start() + 1), strict=True)
        at = found.end()
        places += [(found.start(), at)] * len(_character(found))
    return [*places, *zip(range(at, len(text)), range(at + 1, len(text) + 1), strict=True)]


def _without(text: str, spans: list[tuple[int, int]]) -> str:
    parts, at = list[str](), 0
    for begin, end in spans:
        parts += [text[at:begin], HIDDEN]
        at = end
    return "".join([*parts, text[at:]])


def _pieces(texts: list[str]) -> Iterator[str]:
    """`texts`, which are one text in pieces, each without its share of the keys in it."""
    spans, before = _spans("".join(texts)), 0
    for text in texts:
        after = before + len(text)
        own = [(max(0, b - before), min(e, after) - before) for b, e in spans if b < after and e > before]
        yield _LOGIN.sub(f"{HIDDEN}@", _without(text, own))
        before = after


def _strings(value: Any, place: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Every string of a value with its place, in which entries of lists have no number."""
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item, place)
    elif isinstance(value, dict):
        for name, item in value.items():
            yield (*place, "names", ""), name
            yield from _strings(item, (*place, name))


def _rebuilt(value: Any, place: tuple[str, ...], cleaned: dict[tuple[str, ...], Iterator[str]]) -> Any:
    """`value`, its strings taken from `cleaned` in the order of `_strings`."""
    if isinstance(value, str):
        return next(cleaned[place])
    if isinstance(value, list):
        return [_rebuilt(item, place, cleaned) for item in value]
    if isinstance(value, dict):
        return {
            next(cleaned[(*place, "names", "")]): _rebuilt(item, (*place, name), cleaned)
            for name, item in value.items()
        }
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return HIDDEN if is_number and holds_key(str(value)) else value
