"""What a reproduction on the run's own machine must find, on the host and in an image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlipilot.audit.files import files_below, sha256_file
from mlipilot.evaluation.catalog import OF_THE_MACHINE


def digests(directory: Path) -> dict[Path, str]:
    """The files of a directory, links left out, by their SHA-256."""
    return {path: sha256_file(path) for path in files_below(directory) if not path.is_symlink()}


def check_outcome(outcome: dict[str, Any]) -> None:
    """Everything that a reproduction on the run's own machine must find."""
    assert outcome["reproduced"] is True
    for weights in outcome["weights"]:
        assert weights["must_match"] is True and weights["here"] == weights["recorded"]
    assert set(outcome["data"].values()) == {"same bytes"}
    assert len(outcome["metrics"]) > 30
    for metric in outcome["metrics"]:
        expected = "not judged" if metric["name"] in OF_THE_MACHINE else "equal"
        assert metric["agreement"] == expected, metric
