"""`slurm.json` of an attempt: the job of Slurm's that was asked to run it.

The controller writes it, before it publishes the request; the model's job has one, too. The controller, the
starts of the job, `status` and, by its time alone, the submitter look at it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError, model_validator

from mlipilot.audit.files import publish_new, write_json
from mlipilot.errors import InputError
from mlipilot.untrusted import one_line

NOTE = "slurm.json"
ASKED = "template|attempt|minutes|cpus|memory_mib|gpus|after|exclude"
"""What a request may say; `read_request` of sbatch/submitter_request.sh knows the same."""
Key = Annotated[str, Field(pattern=f"^({ASKED})$")]
Value = Annotated[str, Field(pattern="^[!-~]+$")] | Annotated[int, Field(ge=0, strict=True)]
"""One word of ASCII: a line break in it would be another key to whoever reads the request."""


class SlurmNote(BaseModel, extra="forbid", frozen=True):
    """What an attempt's directory says of its job. A file holds the fields that were given, and no others."""

    name: str = Field(min_length=1, description="of the request and of its job")
    needs: str | None = Field(default=None, description="the attempt that this one builds on")
    request: dict[Key, Value] | None = Field(
        default=None, description="what the submitter is asked for, as the spool's file has it"
    )
    given_up: bool = Field(default=False, description="the ledger has the attempt's end")

    @model_validator(mode="before")
    @classmethod
    def _without_what_the_first_runs_noted(cls, said: Any) -> Any:
        return (
            {key: said[key] for key in said if key not in ("after", "then")}
            if isinstance(said, dict)
            else said
        )

    @property
    def asked_for(self) -> list[str]:
        """The attempts that the request names, each as a path from the run; none without a request."""
        named = str((self.request or {}).get("attempt", ""))
        return named.replace("+", ",").split(",") if named else []

    def write(self, attempt: Path) -> None:
        """Put it in the place of any that is there. Raises OSError."""
        write_json(attempt / NOTE, self.model_dump(exclude_unset=True))

    def publish(self, attempt: Path) -> bool:
        """The same unless there is one; False where there is. Raises OSError."""
        return publish_new(attempt / NOTE, json.dumps(self.model_dump(exclude_unset=True)) + "\n")


def read_note(attempt: Path) -> SlurmNote | None:
    """The note of an attempt, or None where it has none, as one that runs on this machine.

    Raises InputError for what is none, and OSError.
    """
    path = attempt / NOTE
    try:
        return SlurmNote.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        fault = error.errors()[0]
        words = one_line(": ".join([*map(str, fault["loc"]), fault["msg"]]), 200)
        mend = (
            "remove it and resume: another job is asked, and what the first one does is no end of the attempt"
        )
        raise InputError(f"this names no job: {words}", file=path, mend=mend) from None


def give_up(attempt: Path) -> None:
    """Have no start of its job begin or seal an attempt any more: the ledger has its end.

    Somebody may requeue a job that is over, and what it would leave is no part of the record.
    """
    if (note := read_note(attempt)) is not None:
        note.model_copy(update={"given_up": True}).write(attempt)
