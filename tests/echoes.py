"""The forms in which a server gives a key back, and a reader who knows all of them."""

from __future__ import annotations

import base64
import json
import re
import textwrap
from collections.abc import Callable
from urllib.parse import quote, unquote

_BETWEEN = re.compile(r"\x1b\[[0-9;]*m|[^A-Za-z0-9+/_.~-]")
"""What a reader passes over; of keys it is no part."""


def _base64(key: str) -> str:
    return base64.b64encode(key.encode()).decode()


def _every(key: str, write: Callable[[int], str]) -> str:
    return "".join(write(ord(character)) for character in key)


FORMS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "upper": str.upper,
    "lower": str.lower,
    "swapped": str.swapcase,
    "base64": _base64,
    "base64 without padding": lambda key: _base64(key).rstrip("="),
    "base64 for URLs": lambda key: base64.urlsafe_b64encode(key.encode()).decode(),
    "base64 behind 1 byte": lambda key: _base64(f":{key}"),
    "base64 behind 2 bytes": lambda key: _base64(f"u:{key}"),
    "base64 behind 3 bytes": lambda key: _base64(f"me:{key}@host"),
    "base64 for URLs amid others": lambda key: base64.urlsafe_b64encode(f"?{key}?~".encode()).decode(),
    "base64 in lines": lambda key: "\r\n".join(textwrap.wrap(_base64(f"user:{key}"), 7)),
    "base64, URL-encoded": lambda key: quote(_base64(key), safe=""),
    "URL": lambda key: quote(key, safe=""),
    "URL, all": lambda key: _every(key, "%{:02X}".format),
    "URL, small": lambda key: _every(key, "%{:02x}".format),
    "URL twice": lambda key: quote(quote(key, safe=""), safe=""),
    "URL twice, all": lambda key: _every(key, "%25{:02x}".format),
    "URL, in escaped lines": lambda key: "\\n".join(quote(part, safe="") for part in textwrap.wrap(key, 3)),
    "JSON": json.dumps,
    "JSON, all": lambda key: _every(key, "\\u{:04x}".format),
    "JSON twice": lambda key: _every(key, "\\\\u{:04X}".format),
    "Python, all": lambda key: _every(key, "\\x{:02x}".format),
    "hexadecimal": lambda key: key.encode().hex(),
    "hexadecimal, upper": lambda key: key.encode().hex().upper(),
    "hexadecimal, apart": lambda key: key.encode().hex(":"),
    "spaces": lambda key: " ".join(key),
    "lines": lambda key: "\n    ".join(textwrap.wrap(key, 3)),
    "line breaks, escaped": lambda key: "\\n".join(textwrap.wrap(key, 5)),
    "zero width": lambda key: "\u200b".join(key),
    "soft hyphens": lambda key: "\u00ad".join(key),
    "colours": lambda key: "".join(f"\x1b[3{n % 8}m{c}\x1b[0m" for n, c in enumerate(key)),
    "within a string of the terminal": lambda key: f"\x1b]0;{key}",
    "quoted pieces": lambda key: '", "'.join(textwrap.wrap(key, 2)),
    "beginning": lambda key: f"{key[:8]}…",
    "halves": lambda key: f"{key[: max(8, len(key) // 2)]}***",
}


def reveals(text: str, part: str) -> bool:
    """Whether some reading of `text` holds `part`, in letters of whatever size."""
    texts = [text]
    for _ in range(3):
        texts.append(unquote(texts[-1]))
    texts += [re.sub(r"\\+(?:u00|x)([0-9A-Fa-f]{2})", lambda m: chr(int(m[1], 16)), one) for one in texts]
    texts += [re.sub(r"\\+n", "", one) for one in texts]
    bare = {_BETWEEN.sub("", one) for one in texts} | {
        re.sub(r"[^A-Za-z0-9+/_.~-]", "", one) for one in texts
    }
    read = bare | {found for one in bare for found in _decoded(one)}
    return any(part.lower() in one.lower() for one in read)


def _decoded(text: str) -> set[str]:
    """What is in `text` in base64 or hexadecimal, wherever it begins."""
    found = set[str]()
    for run in re.findall(r"[A-Za-z0-9+/_-]{10,}", text):
        for start in range(4):
            quads = run[start:].translate(str.maketrans("-_", "+/"))
            quads = quads[: len(quads) // 4 * 4] if len(quads) % 4 == 1 else quads + "=" * (-len(quads) % 4)
            found.add(base64.b64decode(quads).decode("latin-1"))
    for run in re.findall(r"[0-9A-Fa-f]{16,}", text):
        for start in range(2):
            digits = run[start:]
            found.add(bytes.fromhex(digits[: len(digits) // 2 * 2]).decode("latin-1"))
    return found
