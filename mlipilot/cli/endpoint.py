"""`mlipilot endpoint`: a pilot's endpoint from this machine: a GGUF model, or the scripted pilot."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlipilot.audit.rights import check_may_write
from mlipilot.cli.console import say
from mlipilot.cli.types import path_option
from mlipilot.confidential import suspicion
from mlipilot.endpoint.local_model import ModelSettings, serve_gguf
from mlipilot.errors import InputError
from mlipilot.paths import RunPaths
from mlipilot.pilots.loopback import serve_until_interrupted
from mlipilot.pilots.scripted import scripted_pilot


def endpoint(
    gguf: Annotated[
        Path | None, path_option(metavar="FILE", help="Serve this model by llama.cpp (extra: local-llm).")
    ] = None,
    scripted: Annotated[
        bool, typer.Option("--scripted", help="Serve the scripted pilot, no language model.")
    ] = False,
    run: Annotated[
        Path | None,
        path_option(metavar="RUN", help="Publish address and a random token in this run, for its campaign."),
    ] = None,
    host: Annotated[str, typer.Option(help="The name or address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8765,
    context_tokens: Annotated[int, typer.Option(min=1024, help="Of one conversation.")] = 16384,
    threads: Annotated[int, typer.Option(min=1, help="Threads of the computation.")] = 2,
    gpu_layers: Annotated[int, typer.Option(min=0, help="Layers to keep on the GPU.")] = 0,
    parallel: Annotated[int, typer.Option(min=1, help="Conversations answered side by side.")] = 1,
) -> None:
    """Serve an endpoint until interrupted."""
    if scripted == (gguf is not None):
        raise InputError(
            "one thing to serve is expected", mend="`mlipilot endpoint --gguf FILE`, or `--scripted`"
        )
    if "/" in host or suspicion("base_url", host):
        raise InputError(
            "--host is the name or the address to listen on, and nothing more", mend="give it as 127.0.0.1"
        )
    if gguf is None:
        if run is not None or host != "127.0.0.1":
            raise InputError("the scripted pilot is served on loopback", mend="leave --run and --host out")
        pilot = scripted_pilot()
        serve_until_interrupted(pilot, port, lambda url: say(f"scripted pilot (no language model) at {url}"))
        return
    if run is not None:
        check_may_write(run)
    settings = ModelSettings(
        gguf=gguf.resolve(),
        host=host,
        port=port,
        context_tokens=context_tokens,
        threads=threads,
        gpu_layers=gpu_layers,
        parallel=parallel,
    )
    published = None
    if run is not None:
        run.mkdir(parents=True, exist_ok=True)
        published = RunPaths(run.resolve()).endpoint
    serve_gguf(settings, published, lambda url: say(f"{settings.gguf.stem} at {url}"))
