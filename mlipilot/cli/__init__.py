"""The command line: one file a verb; each parses and prints, and decides nothing."""

from mlipilot.cli.app import main

__all__ = ["main"]
