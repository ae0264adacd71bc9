"""The text `report.md`; its pictures lie in `figures/`.

It says what the page says (`templates/report.j2`), but for the tiles and the metrics by seed. Markdown lets
HTML and links through, so every value is escaped as it is written, unless a filter below has made it safe.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from mlipilot.report import page

_SPECIAL = re.compile(r"([\\`*{}\[\]#|~$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9]))")
_LINE_START = re.compile(r"^([-+=>]|\d+[.)](?=\s|$))")


def render_markdown(context: dict[str, Any]) -> str:
    """The text for a `page.context`."""
    return _environment().get_template("report.j2").render(**context, form="as_markdown.j2")


@cache
def _environment() -> Environment:
    environment = page.environment(finalize=_escaped)
    environment.filters |= {"fenced": fenced, "code": code}
    return environment


def _escaped(value: Any) -> Markup:
    return value if isinstance(value, Markup) else Markup(escape(str(value)))  # noqa: S704 - it is escaped now


def escape(text: str) -> str:
    """`text` on one line as literal text: no markup, no HTML, no link, no mention, fit for a table's cell."""
    line = " ".join(text.split())
    line = line.replace("&", "&amp;").replace("<", "&lt;")
    line = _SPECIAL.sub(r"\\\1", line)
    line = line.replace("://", "&#58;//").replace("www.", "www&#46;").replace("@", "&#64;")
    return _LINE_START.sub(lambda m: f"&#{ord(m[1][0])};{m[1][1:]}", line)


def fenced(text: str, language: str = "") -> Markup:
    """`text` as a code block, fenced by more backticks than it holds."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return Markup(f"{fence}{language}\n{text.rstrip()}\n{fence}")  # noqa: S704 - in a fence nothing is markup


def code(text: str) -> Markup:
    """`text` as code within a line; backticks and bars, which could end it, are replaced."""
    return Markup("`" + " ".join(text.split()).replace("`", "'").replace("|", "¦") + "`")  # noqa: S704
