"""`python -m mlipilot`: the command line."""

from mlipilot.cli import main

main()
