"""The page `report.html`: one file, no script, nothing from outside.

Hypotheses, titles, diffs and logs are hostile text: autoescaping is on for every value, and a strict
Content-Security-Policy allows the page's own style sheet (by its digest) and embedded pictures, nothing else.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from mlipilot.report import page


def render_html(context: dict[str, Any]) -> str:
    """The page for a `page.context`."""
    environment = _environment()
    style, digest = _style(environment)
    template = environment.get_template("report.html.j2")
    return template.render(**context, form="as_html.j2", style=style, style_digest=digest)


@cache
def _environment() -> Environment:
    environment = page.environment()
    environment.filters["data_uri"] = _data_uri
    return environment


def _style(environment: Environment) -> tuple[Markup, str]:
    """The style sheet, and the digest of exactly the text between <style> and </style>."""
    assert environment.loader is not None  # noqa: S101 - it was made with one
    text, _, _ = environment.loader.get_source(environment, "report.css")
    style = "\n" + text.strip() + "\n"
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return Markup(style), digest  # noqa: S704 - our own file


def _data_uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()
