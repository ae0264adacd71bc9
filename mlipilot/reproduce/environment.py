"""What this environment has in common with the one that a run recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from mlipilot.audit.events.running import CampaignStarted
from mlipilot.audit.protected import differing_toolkit
from mlipilot.audit.surroundings import Machine
from mlipilot.jobs.machine import this_machine
from mlipilot.versions import versions

Where = Literal["containers of the image", "inside the image", "outside of the image"]
"""Jobs run each in a container of its own, all in the container that this process is in, or in neither."""


@dataclass(frozen=True)
class Environment:
    """Where a reproduction runs, compared with where the run ran."""

    where: Where
    image_sha256: str | None
    machine: str
    recorded_machines: list[str]
    """Of the trainings that are reproduced, each kind once."""
    versions: dict[str, list[str]]
    """Of what differs in version: recorded, here. What the image holds is known by its digest."""
    toolkit_files: list[str]
    """The toolkit's own files that are not those that ran."""


def compare_environment(
    started: CampaignStarted,
    protected: Mapping[str, str],
    trained_on: Sequence[Machine],
    where: Where,
    *,
    uses_gpu: bool,
) -> Environment:
    """This environment beside what was recorded: when the lineage began, of protected files, of trainings."""
    recorded = {} if where == "containers of the image" else started.versions
    here = versions(recorded)
    return Environment(
        where=where,
        image_sha256=started.image_sha256,
        machine=str(this_machine(uses_gpu=uses_gpu)),
        recorded_machines=list(dict.fromkeys(map(str, trained_on))),
        versions={n: [recorded[n], here[n]] for n in sorted(recorded) if recorded[n] != here[n]},
        toolkit_files=differing_toolkit(dict(protected)),
    )
