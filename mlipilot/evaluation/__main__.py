"""`python -m mlipilot.evaluation`: what an evaluate job runs. Exit status 0, 2 bad input, 3 refused."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mlipilot.errors import MlipilotError
from mlipilot.evaluation.metrics_file import REFUSED
from mlipilot.evaluation.runner import evaluate


def main(arguments: list[str] | None = None) -> int:
    """Parse, evaluate, and report progress on stderr."""
    parser = argparse.ArgumentParser(prog="python -m mlipilot.evaluation", description=__doc__)
    parser.add_argument(
        "--model", dest="model_dir", type=Path, required=True, help="directory of the hand-over (OUT/model)"
    )
    parser.add_argument("--data", dest="data_dir", type=Path, required=True, help="data directory")
    parser.add_argument("--scorecard", type=Path, required=True, help="scorecard YAML")
    parser.add_argument("--profile", choices=("smoke", "full"), default="smoke")
    parser.add_argument("--split", choices=("test", "sealed"), default="test")
    parser.add_argument(
        "--output", type=Path, required=True, help="directory for metrics.json and curves.npz"
    )
    parser.add_argument("--device", default="cpu", help="a torch device, cpu or cuda")
    parser.add_argument("--errors-only", action="store_true", help="on labelled frames, and nothing else")
    options = parser.parse_args(arguments)
    try:
        report = evaluate(**vars(options), progress=_say)
    except MlipilotError as error:
        _say(str(error))
        return error.exit_status
    return 0 if report.refused is None else REFUSED


def _say(text: str) -> None:
    print(f"evaluate: {text}", file=sys.stderr, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
