"""How jobs run: the `jobs` section of a campaign file."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field, model_validator


class Resources(BaseModel, extra="forbid", frozen=True):
    """What one training or evaluation needs; the site's own bounds are the submitter's."""

    cpus: int = Field(default=1, ge=1)
    memory_mib: int = Field(default=8000, ge=256, description="a job is ended beyond it")
    gpus: int = Field(default=0, ge=0, description="1 where `device` is cuda")


class JobSettings(BaseModel, extra="forbid", frozen=True):
    """How jobs run."""

    backend: Literal["local", "slurm"] = "local"
    device: Literal["cpu", "cuda"] = "cpu"
    max_in_flight: int = Field(default=2, ge=1, description="jobs of a lineage at a time")
    smoke: bool = Field(
        default=True,
        description="train each draft for two steps before its training proper; off where queues are long",
    )
    smoke_wall_limit_s: float = Field(
        default=300, gt=0, description="most of it goes into importing and reading the data"
    )
    # Limits are of the job's own command. To take over and seal what it left comes on top.
    train_wall_limit_s: float = Field(default=900, gt=0)
    evaluate_wall_limit_s: float = Field(default=900, gt=0)
    checkpoint_interval_s: float = Field(
        default=300, ge=0, description="how often a training keeps what it needs to go on after a preemption"
    )
    max_attempts: int = Field(
        default=3, ge=1, description="of a job that was lost or cancelled, until the run is resumed"
    )
    min_free_mib: int = Field(
        default=64, ge=0, description="room on the run's file system without which no job begins"
    )
    isolation: Literal["auto", "none"] = Field(
        default="auto",
        description="of local jobs: a sandbox, where bubblewrap works; on Slurm they run in containers",
    )
    require_no_network: bool = Field(
        default=False, description="refuse to run a job that could reach a network"
    )
    on_leak: Literal["refuse", "record"] = Field(
        default="refuse",
        description="of a job whose container or sandbox shows more of the host than it may, or cannot be "
        "measured",
    )
    # Of backend slurm only:
    chain: Literal["dependent", "fused"] = Field(
        default="dependent",
        description="an evaluation waits in the queue, or shares its training's allocation",
    )
    pack: int = Field(
        default=1, ge=1, le=32, description="how many seeds of a candidate run side by side in one job"
    )
    resources: Resources = Resources()
    patience_s: float = Field(default=900, gt=0, description="silence of the submitter or the queue to bear")

    @property
    def attempts_in_flight(self) -> int:
        """How many trainings and evaluations of a lineage may run at a time."""
        return self.max_in_flight * (self.pack if self.backend == "slurm" else 1)

    @model_validator(mode="after")
    def _gpus_fit_the_device(self) -> JobSettings:
        if self.backend == "slurm" and (self.device == "cuda") != (self.resources.gpus > 0):
            raise ValueError("device cuda needs resources.gpus >= 1, device cpu needs 0")
        if self.backend == "local" and self.isolation == "none" and self.require_no_network:
            raise ValueError(
                "require_no_network: plain processes cannot be kept from it, isolation: auto may"
            )
        return self
