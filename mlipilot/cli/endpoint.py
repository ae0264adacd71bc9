"""`mlipilot endpoint --scripted`: the scripted pilot as an OpenAI-compatible server on loopback."""

from __future__ import annotations

from typing import Annotated

import typer

from mlipilot.cli.console import stdout
from mlipilot.errors import InputError
from mlipilot.pilots.scripted import serve_forever


def endpoint(
    scripted: Annotated[
        bool, typer.Option("--scripted", help="Serve the scripted pilot, no language model.")
    ] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8765,
) -> None:
    """Serve an endpoint on loopback until interrupted."""
    if not scripted:
        raise InputError("nothing to serve", mend="`mlipilot endpoint --scripted`")
    serve_forever(
        port, lambda url: stdout.print(f"scripted pilot (no language model) at {url}", soft_wrap=True)
    )
