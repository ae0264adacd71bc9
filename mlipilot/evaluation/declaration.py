"""What a file of `evaluation/metrics/` declares: metrics, the measurement that yields them, its settings.

To add a metric, add a file there with a `Group` of it. The evaluator, scorecards, the report, the pilots'
tools, calibration and `docs/metrics.md` find it through `catalog`.

A declaration is read by every command: nothing here, and nothing at the top of such a file, imports torch,
ASE or SciPy. What measures imports them where it measures; NumPy comes from `lazily`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, Field

if TYPE_CHECKING:
    from mlipilot.evaluation.bench import Bench
    from mlipilot.evaluation.metrics_file import Measurement
    from mlipilot.evaluation.panels import Panel

Better = Literal["lower", "higher", "none"]
System = Literal["crystal", "structures", "molecules"]
"""One crystal with a reference calculator; any labelled structures; molecules with reference properties."""
ALL: tuple[System, ...] = ("crystal", "structures", "molecules")
CRYSTAL: tuple[System, ...] = ("crystal",)
CELLS: tuple[System, ...] = ("crystal", "structures")
FRAMES: tuple[System, ...] = ("structures", "molecules")
STRUCTURES: tuple[System, ...] = ("structures",)
MOLECULES: tuple[System, ...] = ("molecules",)


class Settings(BaseModel, extra="forbid", frozen=True):
    """A section of a scorecard's settings: strict, every key with a default, that of the smoke profile."""


class DynamicsLimits(Settings):
    """When a trajectory counts as broken."""

    max_force_ev_per_a: float = Field(default=50.0, gt=0)
    max_temperature_factor: float = Field(default=5.0, gt=1)
    """Instantaneous temperature over the target."""


Kelvin = Annotated[float, Field(gt=0, le=5000)]
TimestepFs = Annotated[float, Field(gt=0, le=10)]
DurationPs = Annotated[float, Field(gt=0, le=1000)]
FrictionPerPs = Annotated[float, Field(gt=0, le=1000)]
Seed = Annotated[int, Field(ge=0)]
"""What sections on dynamics have in common. Those of a crystal name each where it has always stood: the
reference's digest is of their fields in order."""


class FewAtomsDynamics(Settings):
    """Dynamics of molecules or of small frames; a section gives anew what it has otherwise."""

    temperature_k: Kelvin = 300.0
    timestep_fs: TimestepFs = 0.5
    duration_ps: DurationPs = 0.1
    seed: Seed = 11
    limits: DynamicsLimits = DynamicsLimits(max_temperature_factor=10.0)
    """Wider than a crystal's: few atoms fluctuate, and a distorted frame relaxes into heat."""


class FewAtomsLangevin(FewAtomsDynamics):
    """The same at constant temperature."""

    friction_per_ps: FrictionPerPs = 10.0


class Section(NamedTuple):
    """A section of a scorecard's settings, and the systems for which it is read."""

    name: str
    model: type[Settings]
    systems: tuple[System, ...] = ALL


@dataclass(frozen=True)
class Metric:
    """What a number means."""

    name: str
    """Its unit is the name's ending."""
    unit: str
    """As people write it; "1" for a pure number."""
    better: Better
    """"none" for a number that only informs."""
    label: str
    """What people call it, without the unit."""
    systems: tuple[System, ...] = ALL
    """The systems that it makes sense for."""
    owed: Callable[[Bench], bool] = lambda _: True
    """Whether the data on the bench have what it is compared with; where not, it is not measured."""
    of_the_machine: bool = False
    """Whether a clock or a memory says it of a model: no two measurements are then equal."""
    noise: str = ""
    """The metric that has this one's own noise, a standard error, where one measurement knows it."""
    idle_above: float | None = None
    """Of the share of a core that its group's timing had: below this the allocation was busy."""
    spread: bool = False
    """Whether it tells a model from one that says nothing: where a gate on it fails, no other gate holds."""
    headline: bool = False
    """Whether it stands for all that the sealed split says, where there is room for one number."""


class Forces(NamedTuple):
    """Arrays of forces, each (atoms, 3) in eV/Å, by their names among a measurement's curves."""

    model: str
    reference: str
    on: str = ""
    """What the structures are called; empty: by the split."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """Metrics that one measurement yields."""

    name: str
    place: int
    """Groups are listed and measured by rising place."""
    metrics: tuple[Metric, ...]
    measure: Callable[[Bench], Measurement]
    """Raises MeasurementError where the model is at fault, InputError where the data are."""
    sections: tuple[Section, ...] = ()
    reference: Mapping[str, Callable[[Bench], Any]] = field(default_factory=dict)
    """True values of a crystal by their key in `reference.json`, as the reference calculator gives them."""
    source: str = ""
    """The publication that the measurement follows."""
    panels: tuple[Panel, ...] = ()
    """How the report draws its curves."""
    early: bool = False
    """Whether it is measured before those that are not: before others warm the allocator's caches, say."""
    stops: Callable[[Bench, Measurement], str] = lambda _bench, _found: ""
    """Why nothing is measured after it, by what it found; empty where all is."""
    sealed: bool = False
    """Whether it is made on the sealed split, too."""
    forces: Forces | None = None
    """By what models of several seeds are compared as a committee, where they can be."""
    exam: bool = False
    """Whether it is made once at a lineage's end, beside the sealed split, where no card judges by it."""

    def waits(self, asked: Sequence[str]) -> bool:
        """Whether it is made at the end only: it is of the exam, and no `asked` metric is its own."""
        return self.exam and not any(metric.name in asked for metric in self.metrics)
