"""Lineages of several clusters in one run: `mlipilot merge`."""
