"""What a process makes of a metric in a file of its own: `python -m tests.evaluation.one_file FOLDER WORK`.

The registry reads declarations once, when it is imported: so the folder is added first, in a fresh process.
WORK holds a hand-over, a data directory and `card.yaml`; what was seen goes to WORK/seen.json.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np

from mlipilot.evaluation import metrics

ROOT = Path(__file__).parents[2]


def main(folder: Path, work: Path) -> None:
    metrics.__path__.append(str(folder))
    sys.path.append(str(ROOT / "ci"))

    from calibrate import shown_besides
    from metrics_page import page

    from mlipilot.evaluation import __main__ as evaluator
    from mlipilot.evaluation import reference
    from mlipilot.evaluation.catalog import metrics_of, panels_of
    from mlipilot.evaluation.metrics_file import MetricsFile
    from mlipilot.evaluation.scorecard import load_scorecard, score
    from mlipilot.pilots.prompt_texts import _environment
    from mlipilot.pilots.tools import tool_schemas
    from mlipilot.report.export import Export
    from mlipilot.report.figures import draw_all
    from mlipilot.report.figures.declared import declared_figure
    from mlipilot.report.figures.style import LIGHT
    from mlipilot.report.html import render_html
    from mlipilot.report.lineage_reading import load_lineage
    from mlipilot.report.page import context
    from mlipilot.report.rows import gate_rows, metric_rows
    from tests.report import synthetic, synthetic_values

    card, kept = work / "card.yaml", work / "data" / "reference.json"
    assert reference.main(["--scorecard", str(card), "--output", str(kept)]) == 0
    given = ["--model", work / "model", "--data", work / "data", "--scorecard", card]
    status = evaluator.main([*map(str, given), "--output", str(work / "out")])
    measured = MetricsFile.model_validate_json((work / "out" / "metrics.json").read_bytes())

    synthetic.SCORECARD = card
    synthetic_values.RANGES["dimer_energy_error_mev"] = (40.0, 10.0)
    with np.load(work / "out" / "curves.npz") as arrays:
        curves = dict(arrays)
    setattr(synthetic, "curves", lambda *_: curves)  # noqa: B010 - mypy holds it to its signature
    run = synthetic.SyntheticRun(work / "run", synthetic.make_spec(seeds=[1]))
    run.propose(0, None, {})
    run.candidate(0, 0.0)
    run.end("the budget is used up")
    view = load_lineage(run.run, run.lineage)

    pictures = draw_all(view)
    (panels,) = (panels for figure, panels in panels_of("crystal").items() if figure.name == "dimer")
    (axes,) = declared_figure(view, panels, LIGHT).axes

    scored = score(load_scorecard(card), measured)
    seen = {
        "status": status,
        "reference": json.loads(kept.read_text()),
        "source": measured.reference and measured.reference["source"],
        "gates": [gate.model_dump() for gate in scored.gates],
        "log_objective": scored.log_objective,
        "verdict": json.loads((run.lineage.iteration(0) / "verdict.json").read_text()),
        "gate_row": asdict(gate_rows(view)[0]),
        "metric_rows": [asdict(row) for row in metric_rows(view.iterations[0])],
        "figures": [picture.name for picture in pictures],
        "html": render_html(context(view, pictures, Export(missing="it is not trained"))),
        "panel": [axes.get_title(), axes.get_xlabel(), axes.get_ylabel()],
        "line": np.asarray(axes.lines[0].get_ydata()).tolist(),
        "calibrated": shown_besides(measured),
        "page": page(),
        "tools": json.dumps(tool_schemas(metrics_of("crystal"))),
        "unit": _environment().filters["unit"]("dimer_energy_error_mev"),
    }
    (work / "seen.json").write_text(json.dumps(seen))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
