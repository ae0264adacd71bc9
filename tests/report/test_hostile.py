"""Whatever a pilot or a training writes stays text: in the page, in Markdown, on the terminal."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from markdown_it import MarkdownIt
from rich.console import Console

from mlipilot.report.export import Export
from mlipilot.report.figures import Picture
from mlipilot.report.figures.style import LIGHT, render
from mlipilot.report.figures.training import training_figure
from mlipilot.report.html import render_html
from mlipilot.report.markdown import code, escape, fenced, render_markdown
from mlipilot.report.page import context
from mlipilot.report.ranking import load_run
from mlipilot.report.run_section import lineages_section
from mlipilot.report.terminal_tables import gate_table, iteration_panel, iteration_table
from mlipilot.report.view import LineageView
from tests.report.scenarios import ESCAPES, EVIL
from tests.report.synthetic import SyntheticRun, make_spec

NAMES = ("progress", "gates", "parity", "training", "dynamics")
PAGE = re.compile(r"report-lineage-\d+\.html")
HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u202a-\u202e]")


class Collector(HTMLParser):
    """Every element and attribute of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]


def _elements(html: str) -> Collector:
    collector = Collector()
    collector.feed(html)
    return collector


@pytest.fixture(scope="module")
def hostile_context(hostile: LineageView) -> dict[str, object]:
    return context(hostile, [Picture(n, n, n, b"light", b"dark") for n in NAMES], Export(missing=EVIL))


def test_figures_survive(hostile: LineageView) -> None:
    assert render(lambda theme: training_figure(hostile, theme), LIGHT)


@pytest.fixture(scope="module")
def hostile_lineages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """The page of a run whose pilot has a hostile name, and one of whose ledgers is something else."""
    root = tmp_path_factory.mktemp("lineages") / "cu_emt"
    pilot = {"kind": "openai", "base_url": "http://node7:8000/v1", "model": EVIL + ESCAPES}
    spec = make_spec(seeds=[1], description=EVIL, pilot=pilot)
    made = [SyntheticRun(root, spec, number) for number in range(3)][-1]
    made.ledger.path.write_text(EVIL + "\n")
    found = load_run(made.run)
    pictures = [Picture(n, n, n, b"light", b"dark") for n in (*NAMES, "lineages", "verdicts")]
    section = lineages_section(found)
    return context(found.lineages[0], pictures, Export(missing=EVIL), section, whole_run=True)


@pytest.mark.parametrize("page", ["hostile_context", "hostile_lineages"])
def test_the_page_holds_no_element_but_its_own(page: str, request: pytest.FixtureRequest) -> None:
    html = render_html(request.getfixturevalue(page))
    found = _elements(html)
    assert not found.tags & {"script", "iframe", "object", "embed", "form", "link", "base", "svg", "b0ld"}
    for name, value in found.attributes:
        assert not name.startswith("on")
        assert name != "style"
        if name in ("src", "srcset", "href"):
            assert value.startswith(("data:image/png;base64,", "#")) or PAGE.fullmatch(value)
    assert "&lt;script&gt;alert(1)" in html
    assert not HIDDEN.search(html)


@pytest.mark.parametrize("page", ["hostile_context", "hostile_lineages"])
def test_markdown_holds_no_html_and_no_link(page: str, request: pytest.FixtureRequest) -> None:
    text = render_markdown(request.getfixturevalue(page))
    html = MarkdownIt("commonmark", {"html": True}).enable("table").render(text)
    found = _elements(html)
    assert not found.tags & {"script", "a", "iframe"}
    assert all(value.startswith("figures/") for name, value in found.attributes if name == "src")
    assert not any(name.startswith("on") for name, _ in found.attributes)
    assert not HIDDEN.search(text)
    headings = [line for line in text.splitlines() if line.startswith("# ")]
    assert headings == (["# cu_emt"] if page == "hostile_context" else ["# cu_emt", "# Lineage 0"])


def test_the_terminal_gets_no_escape_and_no_markup(hostile: LineageView) -> None:
    console = Console(width=100, force_terminal=False, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    console.print(gate_table(hostile), iteration_table(hostile), iteration_panel(hostile, 1))
    text = console.export_text()
    assert not HIDDEN.search(text)
    assert "[bold red]x[/]" in text.replace("\n", "")
    assert len(text) < 100_000


def test_floods_are_cut(hostile: LineageView) -> None:
    iteration = hostile.iterations[1]
    assert len(iteration.diff.splitlines()) <= 601
    assert all(len(line) <= 400 for line in iteration.diff.splitlines())
    assert "the whole diff is in" in iteration.diff
    assert len(iteration.seeds[0].log_tail.splitlines()) <= 15


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("force_mae_mev_per_a", "force_mae_mev_per_a"),
        ("_emphasis_ __strong__", "\\_emphasis\\_ \\_\\_strong\\_\\_"),
        ("a | b", "a \\| b"),
        ("<b>&", "&lt;b>&amp;"),
        ("> said", "&#62; said"),
        ("see http://x and www.x, @me", "see http&#58;//x and www&#46;x, &#64;me"),
        ("1.65 ± 0.03", "1.65 ± 0.03"),
        ("1. one", "&#49;. one"),
        ("- item\n- item", "&#45; item - item"),
    ],
)
def test_markdown_escapes(text: str, escaped: str) -> None:
    assert escape(text) == escaped


def test_code_cannot_be_left() -> None:
    assert code("a`b|c") == "`a'b¦c`"
    assert fenced("x\n````\ny", "diff").splitlines()[0] == "`````diff"
    assert ESCAPES not in fenced("x")
