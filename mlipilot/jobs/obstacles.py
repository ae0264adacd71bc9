"""What keeps a job from running, by Slurm's own word: does time mend it, or does a person have to?

The words are those of `squeue`'s REASON (`job_state_reason` in Slurm's slurm.h), where most limits are named
by whose they are and what they limit.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Obstacle:
    """Why a job does not run. `never`: it cannot start as it is; `person`: somebody has to let it."""

    kind: Literal["wait", "person", "never"]
    mend: str = ""


_SMALLER = "ask for less (jobs.resources, jobs.train_wall_limit_s), or set another partition, QOS or account"
_LARGER = "ask for more (jobs.resources), or set another MLIPILOT_QOS"
_NO_NODE = "no node fits MLIPILOT_CONSTRAINT, MLIPILOT_GPU_PARTITION and jobs.resources together: change one"
_NOT_STARTED = "the node could not start it: see `scontrol show job JOB`, then `scontrol release JOB`"
_USED_UP = "the account's allocation is used up: ask for more, or set MLIPILOT_ACCOUNT"
# The first that matches counts.
_OBSTACLES = (
    (r"HyperQueue:NeverFits", Obstacle("never", "`sbatch` again with a larger allocation, or ask for less")),
    (r"requeued.held", Obstacle("person", _NOT_STARTED)),
    (r"JobHoldMaxRequeue", Obstacle("person", "it was requeued too often: `scontrol release JOB`")),
    (r"JobHeld(User|Admin)|requeued.in.held.state", Obstacle("person", "`scontrol release JOB` lets it run")),
    (r"ReservationDeleted", Obstacle("person", "name a reservation that is there, or none")),
    (r"BadConstraints", Obstacle("never", _NO_NODE)),
    (r"DependencyNeverSatisfied|DeadLine", Obstacle("never", "it is submitted anew")),
    (
        r"(Account|QOS)NotAllowed|Invalid(Account|QOS)",
        Obstacle("never", "set MLIPILOT_ACCOUNT and MLIPILOT_QOS"),
    ),
    (r"Partition(Node|Time)Limit", Obstacle("never", _SMALLER)),
    # Limits of one job's size; those of what runs at a time pass when other jobs end.
    (
        r"(QOS|Assoc|Max)\w*(Per(Job|Node)\w*|WallDuration\w*|PerLimit|MemPerJob)$",
        Obstacle("never", _SMALLER),
    ),
    (r"QOSMin\w+|QOSUsageThreshold", Obstacle("never", _LARGER)),
    (r"RunM(in|inute)s", Obstacle("wait", "it runs when other jobs have ended")),
    (r"(Assoc|QOS)\w*Minutes\w*|AccountingPolicy", Obstacle("person", _USED_UP)),
    (r"Partition(Down|Inactive)", Obstacle("wait", "the partition takes no jobs now: `sinfo` says more")),
    (
        r"ReqNodeNotAvail|NodeDown",
        Obstacle("wait", "its nodes are away, perhaps for maintenance: `sinfo -R`"),
    ),
    (r"Limit", Obstacle("wait", "it runs when other jobs have ended")),
)
_HELD = {"REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD"}


def obstacle(state: str, reason: str) -> Obstacle:
    """What a job in `state`, which waits for `reason`, meets; time mends what is not known."""
    for pattern, found in _OBSTACLES:
        if re.search(pattern, reason, re.IGNORECASE):
            return found
    return Obstacle("person", "`scontrol release JOB` lets it run") if state in _HELD else Obstacle("wait")
