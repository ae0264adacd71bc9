"""A stand-in for a model that `mlipilot endpoint --gguf FILE --run RUN …` serves; it is given these words.

It gives up whatever it is asked, and its first start fails, as with a node whose GPU is taken.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from mlipilot.audit.files import write_json
from mlipilot.endpoint.local_model import TOKEN_VARIABLE
from mlipilot.endpoint.parsing import ToolCall
from mlipilot.paths import RunPaths
from mlipilot.pilots.loopback import Decider, LoopbackServer

options = dict(zip(sys.argv[4::2], sys.argv[5::2], strict=False))
begun = Path(options["--gguf"]).with_suffix(".begun")
if not begun.exists():
    begun.touch()
    sys.exit("CUDA error: all CUDA-capable devices are busy")
reason = f"I am a stand-in for {options['--gguf']}"
published = RunPaths(Path(options["--run"])).endpoint
with LoopbackServer(
    Decider("standin", frozenset(), lambda *_: ToolCall("give_up", {"reason": reason}))
) as server:
    told = {"base_url": server.base_url, "token": os.environ[TOKEN_VARIABLE]}
    write_json(published, told, mode=0o600)
    signal.pause()  # SIGTERM ends it at once: what is published is then left to the job's script
