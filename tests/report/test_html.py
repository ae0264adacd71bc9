"""The page is one file: no script, nothing from outside, a policy that says so."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable

import pytest

from mlipilot.report.export import Export
from mlipilot.report.figures import Picture
from mlipilot.report.html import render_html
from mlipilot.report.markdown import render_markdown
from mlipilot.report.page import context, diff_lines
from mlipilot.report.view import LineageView

Render = Callable[[dict[str, object]], str]
NAMES = ("progress", "gates", "parity", "training", "dynamics")


@pytest.fixture(scope="module")
def said(view: LineageView) -> dict[str, object]:
    return context(
        view, [Picture(n, n, "caption", b"light", b"dark") for n in NAMES], Export(missing="no model")
    )


def test_the_policy_allows_the_pages_own_style_only(said: dict[str, object]) -> None:
    html = render_html(said)
    style = re.search(r"<style>(.*?)</style>", html, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:;" in html
    assert "unsafe" not in html
    assert not re.search(r"https?://|//[a-z]+\.", html)


def test_it_tells_who_proposed(said: dict[str, object]) -> None:
    assert "scripted pilot (no language model)" in render_html(said)
    assert "scripted pilot (no language model)" in render_markdown(said)


@pytest.mark.parametrize("render", [render_html, render_markdown])
def test_it_holds_what_an_auditor_needs(said: dict[str, object], view: LineageView, render: Render) -> None:
    text = render(said)
    assert view.state.started is not None and view.incumbent is not None
    wanted = [
        view.records[-1].hash,
        view.state.started.spec_sha256,
        view.state.started.scorecard_sha256,
    ]
    wanted += [view.state.started.data_manifest_sha256, view.incumbent.recipe_digest or "?"]
    wanted += [seed.weights_digest or "?" for seed in view.incumbent.seeds]
    wanted += ["One-cycle schedule with a running mean of the weights", "passes every gate on every seed"]
    wanted += ["sha256sum -c manifest-sha256.txt", "mlipilot verify", "refuted", "held", "kind: one_cycle"]
    wanted += ["The jobs ran as local processes", "a force of 61 eV/Å", "no model", "2.13.0"]
    assert [piece for piece in wanted if piece not in text] == []


def test_page_and_text_say_the_same(said: dict[str, object]) -> None:
    """The text leaves out the links to sections, the tiles, and each candidate's metrics by seed."""
    page, text = render_html(said), render_markdown(said)
    headings = re.findall(r"<h2 [^>]*>(.*?)</h2>", page)
    assert len(headings) == 10 and headings == re.findall(r"^## (.*)$", text, re.MULTILINE)
    by_seed = page.count("Every metric by seed")
    facts = page.count("<dl>")
    assert by_seed > 0 and page.count("<thead>") - by_seed + facts == len(
        re.findall(r"^\|-", text, re.MULTILINE)
    )


def test_a_picture_has_a_light_and_a_dark_form(said: dict[str, object]) -> None:
    html = render_html(said)
    assert html.count(base64.b64encode(b"light").decode()) == 5
    assert html.count(f'{base64.b64encode(b"dark").decode()}" media="(prefers-color-scheme: dark)"') == 5


def test_a_missing_picture_is_told(view: LineageView) -> None:
    pictures = [Picture(n, n.title(), "caption", missing="nothing was measured") for n in NAMES]
    said = context(view, pictures, Export(missing="x"))
    assert "Parity: not drawn, nothing was measured." in render_html(said)
    assert "Parity: not drawn, nothing was measured." in render_markdown(said)


def test_diff_lines_by_kind() -> None:
    diff = "--- a/x\n+++ b/x\n@@ -1 +1 @@\n-old\n+new\n same\n\\ No newline at end of file"
    assert [line.kind for line in diff_lines(diff)] == ["file", "file", "hunk", "del", "add", "same", "same"]
