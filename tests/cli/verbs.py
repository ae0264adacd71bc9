"""Verbs in one process, as whoever starts it: `python -m tests.cli.verbs [[WORD, …], …]`, answers in JSON."""

from __future__ import annotations

import contextlib
import io
import json
import sys
import traceback

from mlipilot.cli.app import main


def outcome(words: list[str]) -> tuple[int, str, str]:
    """Exit status and both streams; a traceback counts as part of the second."""
    out, err = io.StringIO(), io.StringIO()
    sys.argv = ["mlipilot", *words]
    status = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as ended:
            status = ended.code if isinstance(ended.code, int) else 0
        except BaseException:  # noqa: BLE001 (the test shows it)
            status = 99
            err.write(traceback.format_exc())
    return status, out.getvalue(), err.getvalue()


if __name__ == "__main__":
    answers = [outcome(words) for words in json.loads(sys.argv[1])]
    sys.stdout.write("\n" + json.dumps(answers))
