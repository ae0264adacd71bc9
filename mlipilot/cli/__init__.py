"""The command line: one file a verb; each parses and prints, and decides nothing."""

import sys

from mlipilot.errors import MlipilotError


def main() -> None:
    """Run the command line and exit with its status; 2 where a metric's file is not as it must be."""
    try:
        from mlipilot.cli.app import main as run  # which reads every metric's file
    except MlipilotError as error:
        sys.stderr.write(f"mlipilot: {error}\n")
        sys.exit(error.exit_status)
    run()
