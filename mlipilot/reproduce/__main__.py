"""`python -m mlipilot.reproduce OUTPUT`, in an image: build the data of a reproduction that is laid out."""

from __future__ import annotations

import sys
from pathlib import Path

from mlipilot.campaign.spec import load_locked
from mlipilot.controller.observer import Silent
from mlipilot.controller.prepare import build_data
from mlipilot.errors import MlipilotError
from mlipilot.paths import RunPaths


def main() -> int:
    """Build it; a failure is one line."""
    output = RunPaths(Path(sys.argv[1]))
    try:
        build_data(output, load_locked(output.spec), Silent(), again=True)
    except MlipilotError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main())
