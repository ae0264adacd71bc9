"""`python killed_at.py FOLDER N VERB…`: mlipilot, killed just before its Nth write below FOLDER.

A write is what the interpreter tells audit hooks of: a file that is opened for writing, a rename, a link, a
folder that is made, whatever is removed. Jobs are processes of their own, and live on.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
from typing import Any

_OTHERS = {"os.rename", "os.link", "os.symlink", "os.remove", "os.mkdir", "os.rmdir"}
_WRITING = os.O_WRONLY | os.O_RDWR


def _watch(folder: str, last: int) -> None:
    count = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        writes = event in _OTHERS or (event == "open" and (arguments[2] or 0) & _WRITING)
        if writes and any(str(path).startswith(f"{folder}/") for path in arguments[:2]):
            count += 1
            if count == last:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


if __name__ == "__main__":
    _watch(sys.argv[1], int(sys.argv[2]))
    sys.argv = ["mlipilot", *sys.argv[3:]]
    runpy.run_module("mlipilot", run_name="__main__", alter_sys=True)
