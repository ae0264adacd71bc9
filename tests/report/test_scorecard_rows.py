"""The scorecard beside its gates: terms with their shares, what all comes to, of which seeds it is."""

from __future__ import annotations

from dataclasses import replace

from mlipilot.report.export import Export
from mlipilot.report.figures import Picture
from mlipilot.report.html import render_html
from mlipilot.report.markdown import render_markdown
from mlipilot.report.page import context
from mlipilot.report.scorecard_rows import TermRow, spread_note, term_rows, totals, values_text
from mlipilot.report.text import mean_sd
from mlipilot.report.view import LineageView


def test_each_term_has_its_scale_floor_and_share(view: LineageView) -> None:
    assert view.baseline is not None and view.incumbent is not None
    name = "force_mae_mev_per_a"
    assert term_rows(view)[1] == TermRow(
        metric=name,
        label="force MAE",
        unit="meV/Å",
        scale="25",
        floor="0.100",
        share="0.33",
        baseline=mean_sd(view.baseline.values(name)),
        incumbent=mean_sd(view.incumbent.values(name)),
    )
    assert [row.label for row in term_rows(view)] == ["energy MAE", "force MAE", "stress MAE"]


def test_shares_are_of_all_weights_and_an_old_card_has_no_floor(view: LineageView) -> None:
    terms = [term.model_copy(update={"weight": 1.0 + 2 * i, "floor": None}) for i, term in enumerate(
        view.card.objective.terms[:2]
    )]  # fmt: skip
    objective = view.card.objective.model_copy(update={"terms": terms})
    rows = term_rows(replace(view, card=view.card.model_copy(update={"objective": objective})))
    assert [(row.share, row.floor) for row in rows] == [("0.25", "—"), ("0.75", "—")]


def test_the_last_lines_are_gates_passed_and_the_objective(view: LineageView) -> None:
    assert view.baseline is not None and view.incumbent is not None
    found = totals(view)
    before, after = (mean_sd(one.objectives) for one in (view.baseline, view.incumbent))
    assert found["objective"] == {"label": "objective", "baseline": before, "incumbent": after}
    passed = f"{view.gates_passed(view.baseline)} of 26"
    assert found["gates"] == {"label": "gates passed", "baseline": passed, "incumbent": "26 of 26"}
    unknown = totals(replace(view, iterations=[], state=replace(view.state, incumbent=None)))
    assert {row[who] for row in unknown.values() for who in ("baseline", "incumbent")} == {"—"}


def test_a_value_says_how_many_seeds_lack_it(view: LineageView) -> None:
    assert view.baseline is not None
    first, *others = view.baseline.seeds
    lacking = replace(view.baseline, seeds=[replace(first, metrics={}), *others])
    assert values_text(lacking, "force_mae_mev_per_a").endswith(" (2 of 3 seeds)")
    assert values_text(lacking, "nothing") == values_text(None, "force_mae_mev_per_a") == "—"


def test_fresh_seeds_are_called_so(confirmed: LineageView, view: LineageView) -> None:
    assert confirmed.state.confirmed is not None
    assert "over the fresh training seeds" in spread_note(confirmed)
    assert all(str(seed) in spread_note(confirmed) for seed in confirmed.state.confirmed.seeds)
    assert "over the training seeds 1, 2 and 3." in spread_note(view)


def test_page_and_text_say_why_each_gate_is_there(view: LineageView) -> None:
    names = ("progress", "gates", "parity", "training", "dynamics")
    said = context(view, [Picture(n, n, n, b"x", b"x") for n in names], Export(missing="no model"))
    page, text = render_html(said), render_markdown(said)
    for why in (gate.why for gate in view.gates):
        assert why in page.replace("&#39;", "'") and why in text
