"""The `mlipilot` command: its verbs, and the one place where failures become exit statuses.

0 good · 1 a check failed · 2 the input is wrong · 75 paused, resume later · 130 interrupted
(79: a controller of `sbatch/campaign.sh` hands its core back)
"""

from __future__ import annotations

import sys
import traceback

import typer

from mlipilot.audit.rights import refusal
from mlipilot.cli import (
    ablate,
    cancel,
    confirm,
    data,
    doctor,
    drop,
    endpoint,
    evaluate,
    init,
    merge,
    plan,
    report,
    reproduce,
    resume,
    run,
    seal,
    show,
    status,
    unlock,
    verify,
)
from mlipilot.confidential import hidden
from mlipilot.errors import MlipilotError
from mlipilot.untrusted import clean

app = typer.Typer(
    name="mlipilot",
    help="Auditable auto-research campaigns for machine-learned interatomic potentials.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
for verb in (
    *(run.run, plan.plan, status.status, show.show, report.report, verify.verify, seal.seal),
    *(reproduce.reproduce, resume.resume, confirm.confirm, ablate.ablate),
    *(cancel.cancel, unlock.unlock, drop.drop),
    *(evaluate.evaluate, merge.merge, doctor.doctor, init.init, endpoint.endpoint),
):
    app.command()(verb)
app.add_typer(data.app, name="data")


def main() -> None:
    """Run the command line and exit with its status."""
    try:
        app()
    except MlipilotError as error:
        sys.stderr.write(f"mlipilot: {hidden(clean(str(error)))}\n")  # it may quote an endpoint or a job
        sys.exit(error.exit_status)
    except BrokenPipeError:
        sys.exit(0)  # the reader, `head` say, has seen enough
    except KeyboardInterrupt:
        sys.stderr.write("mlipilot: interrupted\n")
        sys.exit(130)
    except Exception as error:  # noqa: BLE001 - nobody's fault but ours: in full, though without keys
        refused = refusal(error) if isinstance(error, OSError) else None
        if refused is None:
            sys.stderr.write(hidden(traceback.format_exc()))
            sys.exit(1)
        sys.stderr.write(f"mlipilot: {clean(str(refused))}\n")
        sys.exit(refused.exit_status)
