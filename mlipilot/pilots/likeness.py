"""Whether two requests are the same, but for what is measured anew and cannot be equal.

Left out of the comparison, and nothing else:

- numbers of the metrics in `OF_THE_MACHINE` (throughput, relative cost, memory), where a table or JSON gives
  them by name, and the grade of an expected effect on one of them;
- `elapsed_s` in the log of a training;
- the directory of the run, before `lineage-N/` in a path that a log or an error tells;
- the digest in the delimiters of a log: it is that of the text between them, which is compared.
"""

from __future__ import annotations

import re
from typing import Any

from mlipilot.evaluation.catalog import OF_THE_MACHINE
from mlipilot.untrusted import one_line

_MEASURED = "(measured)"
_NUMBER = r"(?:-?\d[\d.]*(?:e[+-]?\d+)?|null)"
_NAME = rf"(?:{'|'.join(sorted(OF_THE_MACHINE))})"
_ANEW = [
    (re.compile(rf'("{_NAME}": ){_NUMBER}'), rf"\1{_MEASURED}"),
    (
        re.compile(
            rf'("metric": "{_NAME}",\s+"direction": "\w+",\s+"before": ){_NUMBER}(,\s+"after": ){_NUMBER}'
            r'(,\s+"grade": )"\w+"'
        ),
        rf"\1{_MEASURED}\2{_MEASURED}\3{_MEASURED}",
    ),
    (re.compile(rf'("elapsed_s": ){_NUMBER}'), rf"\1{_MEASURED}"),
    (re.compile(r"(UNTRUSTED OUTPUT )[0-9a-f]{16}\b"), r"\1(digest)"),
]
_WORD = re.compile(r"/[^\s\"':,()]+")
_IN_RUN = re.compile(r"/lineage-\d+/")
_ROW = re.compile(rf"^{_NAME} \|.*$", re.MULTILINE)
_CELL = re.compile(rf"(?<=\| ){_NUMBER}(?= |$)")
_MARK = re.compile(r"\([0-9a-f]{12}\)")
_CONTEXT = 30
"""Characters that are shown before and after the place where two texts part."""


def first_difference(recorded: Any, asked: Any, where: str = "") -> str | None:
    """Where two JSON values part first, with a few words of both, or None when they are alike."""
    if isinstance(recorded, dict) and isinstance(asked, dict):
        for key in [*recorded, *(key for key in asked if key not in recorded)]:
            place = f"{where}.{one_line(str(key), 40)}".lstrip(".")
            if key not in recorded or key not in asked:
                return f"{place} is {'new' if key in asked else 'missing'}"
            if (found := first_difference(recorded[key], asked[key], place)) is not None:
                return found
        return None
    if isinstance(recorded, list) and isinstance(asked, list):
        for index, (one, other) in enumerate(zip(recorded, asked, strict=False)):
            if (found := first_difference(one, other, f"{where}[{index}]")) is not None:
                return found
        return (
            None if len(recorded) == len(asked) else f"{where} has {len(asked)} entries, not {len(recorded)}"
        )
    if isinstance(recorded, str) and isinstance(asked, str):
        one, other = masked(recorded), masked(asked)
        # What is shown of a file tells more than the digest of the whole, which stands before it.
        plain = _texts_part(_MARK.sub("(digest)", one), _MARK.sub("(digest)", other), where)
        return plain or _texts_part(one, other, where)
    if recorded == asked and isinstance(recorded, bool) == isinstance(asked, bool):
        return None
    return f"{where} is {one_line(repr(asked), 60)}, not {one_line(repr(recorded), 60)}"


def masked(text: str) -> str:
    """`text` without what the module's rule leaves out."""
    for pattern, kept in _ANEW:
        text = pattern.sub(kept, text)
    text = _WORD.sub(_without_run, text)
    return _ROW.sub(lambda row: _CELL.sub(_MEASURED, row.group()), text)


def _without_run(path: re.Match[str]) -> str:
    found = _IN_RUN.search(path.group())
    return f"RUN{path.group()[found.start() :]}" if found else path.group()


def _texts_part(recorded: str, asked: str, where: str) -> str | None:
    if recorded == asked:
        return None
    pairs = zip(recorded, asked, strict=False)
    at = next((at for at, (one, other) in enumerate(pairs) if one != other), min(len(recorded), len(asked)))
    begin = max(0, at - _CONTEXT)
    line = recorded.count("\n", 0, at) + 1
    then, now = (one_line(text[begin : at + _CONTEXT], 3 * _CONTEXT) for text in (recorded, asked))
    return f"{where}, line {line}, has {now!r} where {then!r} was sent"
