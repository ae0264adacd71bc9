"""What a job ran in and on, as its result and the ledger say it."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field


class Machine(BaseModel, extra="forbid", frozen=True, strict=True):
    """The kind of machine, not which one of it: weights are the same bytes only on the same processor."""

    processor: str
    gpu: str | None = Field(
        default=None, description="of a job that uses one; each kind of the node's, where it has several"
    )

    def __str__(self) -> str:
        return f"{self.processor} with {self.gpu}" if self.gpu else self.processor


class Isolation(BaseModel, extra="forbid", frozen=True, strict=True):
    """What kept the job's code apart from the rest, as it was in force; older results have fewer fields."""

    backend: Literal["local", "slurm"] = "local"
    filesystem: Literal["host", "container", "sandbox"] = "host"
    network: Literal["host", "none"] = "host"
    environment: Literal["scrubbed"] = "scrubbed"
    network_by: Literal["namespace", "seccomp"] | None = Field(
        default=None, description="what cuts it off: a network namespace, or a filter that refuses sockets"
    )
    measured: bool = Field(
        default=False, description="from inside a container or sandbox like the job's, before its code"
    )
    mounts: list[str] = Field(
        default=[], description="there, beyond the image or the system, and the job's own"
    )
    variables: list[str] = Field(default=[], description="names of those that nobody gave it on purpose")

    @property
    def leaks(self) -> list[str]:
        """What of the host the job could see beyond what it was given, in words."""
        return [f"mount {mount}" for mount in self.mounts] + [f"variable {name}" for name in self.variables]
