"""The Slurm job that a controller runs in, and what Slurm says of the job of another one."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from pydantic import ValidationError

from mlipilot.audit.accounts import cluster_in
from mlipilot.audit.claims import Job
from mlipilot.audit.process_identity import Fate
from mlipilot.errors import InputError
from mlipilot.programs import Answer, ask, slurm_environment
from mlipilot.untrusted import one_line


def this_job(environment: Mapping[str, str] = os.environ) -> Job | None:
    """The job that this process belongs to, or None. Raises InputError for an id that is none.

    In a container Slurm's own variables are missing; `sbatch/campaign.sh` passes on what is needed.
    """
    array, task = environment.get("SLURM_ARRAY_JOB_ID"), environment.get("SLURM_ARRAY_TASK_ID")
    plain = f"{array}_{task}" if array else environment.get("SLURM_JOB_ID")
    found = environment.get("MLIPILOT_CONTROLLER_JOB") or plain
    if not found:
        return None
    try:
        return Job.model_validate(
            {
                "id": found,
                "restarts": environment.get("SLURM_RESTART_COUNT") or 0,
                "cluster": environment.get("SLURM_CLUSTER_NAME") or None,
            }
        )
    except ValidationError:
        mend = "unset MLIPILOT_CONTROLLER_JOB, SLURM_JOB_ID and SLURM_RESTART_COUNT"
        raise InputError(f"{found!r} is no job that Slurm has started", mend=mend) from None


def queue_of(jobs: Sequence[str], form: str) -> Answer:
    """What `squeue` says of jobs: a line of that form for each that is not over, whatever its partition."""
    # Of a single id that it does not know it makes an error; of two it lists those that it knows.
    argv = ["squeue", "-h", "-a", "-r", "-j", ",".join([*jobs, jobs[0]]), "-o", form]
    return ask(argv, environment=slurm_environment())


def fate_of_job(job: Job) -> Fate:
    """What Slurm says of `job`: by way of `sbatch/campaign.sh`, or of `squeue` where that can be asked.

    That it is over is believed only of the job's own cluster, and of an answer without an error.
    """
    if os.environ.get("MLIPILOT_ENDED_JOB") == job.id:
        return Fate("over", f"Slurm says that job {job.id} is over")
    config = ask(["scontrol", "show", "config"], environment=slurm_environment())
    if config.is_missing:
        return Fate("unknown", f"there is no Slurm here to ask about job {job.id}")
    cluster = cluster_in(config.stdout)
    if cluster is None:
        return Fate("unknown", f"Slurm could not be asked about job {job.id}: {config.words}")
    if job.cluster not in (None, cluster):
        return Fate("unknown", f"job {job.id} is of cluster {one_line(job.cluster or '')}, not of this one")
    answer = queue_of([job.id], "%T")
    if not answer.is_answer:
        return Fate("unknown", f"Slurm could not be asked about job {job.id}: {answer.words}")
    if answer.stdout.strip():
        return Fate("alive", f"Slurm says that job {job.id} is {one_line(answer.stdout, 40)}")
    return Fate("over", f"Slurm says that job {job.id} is over")
