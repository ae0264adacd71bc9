"""How each metric is measured: what the groups declare, and what of it is of no group's own.

Units are in the names. A scorecard's `settings`, a profile's merged in, are read as `EvaluationSettings`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import Field, create_model, model_validator

from mlipilot.evaluation.catalog import GROUPS
from mlipilot.evaluation.declaration import ALL, CRYSTAL, FRAMES, MOLECULES, Section, Settings, System

REFERENCE_FILE = "reference.json"
"""Beside the data: the true values that a crystal's metrics are compared with."""


class CrystalSettings(Settings):
    """The crystal that the solid-state metrics are measured on, and the calculator that is the truth."""

    symbol: str = "Cu"
    structure: Literal["fcc", "bcc"] = "fcc"
    lattice_constant_guess_a: float = Field(default=3.6, gt=1, lt=10)
    reference: Literal["emt"] = "emt"
    emt_asap_cutoff: bool = False
    """ASE's EMT has two cutoffs, about 6 meV/atom apart: it must be the one the data were labelled with."""


class FramesSettings(Settings):
    """Labelled frames that stand for the set where there is no crystal: spread evenly over test/test.xyz."""

    count: int = Field(default=3, ge=1, le=1000)


class ErrorsSettings(Settings):
    """How many structures are predicted at once."""

    batch_size: int = Field(default=16, ge=1, le=1024)


class MoleculesSettings(Settings):
    """How many of the reference molecules are measured, spread evenly over test/equilibrium.xyz."""

    count: int = Field(default=3, ge=1, le=1000)


class _OfTheBench(Settings):
    """What lies on the bench, whatever is measured there."""

    system: System = "crystal"
    """What is measured; it decides which metrics there are (`catalog.metrics_of`)."""
    crystal: CrystalSettings = CrystalSettings()
    frames: FramesSettings = FramesSettings()
    molecules: MoleculesSettings = MoleculesSettings()
    errors: ErrorsSettings = ErrorsSettings()


_DECLARED = [section for group in GROUPS for section in group.sections]
SECTIONS = [
    Section("system", Settings, ALL),
    Section("crystal", CrystalSettings, CRYSTAL),
    Section("frames", FramesSettings, FRAMES),
    Section("molecules", MoleculesSettings, MOLECULES),
    Section("errors", ErrorsSettings),
    *_DECLARED,
]
"""What of the settings each system reads."""

if TYPE_CHECKING:
    _Sections = _OfTheBench
else:
    _Sections = create_model(
        "_Sections",
        __base__=_OfTheBench,
        **{section.name: (section.model, section.model()) for section in _DECLARED},
    )

Kind = TypeVar("Kind", bound=Settings)


class EvaluationSettings(_Sections):
    """Settings of every measurement: a section for each that a group declares."""

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...

    def section(self, kind: type[Kind]) -> Kind:
        """The section of a kind that a group declares."""
        return next(section for _, section in self if isinstance(section, kind))

    @model_validator(mode="after")
    def _sections_are_read(self) -> EvaluationSettings:
        read = {section.name for section in SECTIONS if self.system in section.systems}
        unread = sorted(self.model_fields_set - read)
        if unread:
            wanted = next(section.systems for section in SECTIONS if section.name == unread[0])
            raise ValueError(
                f"{unread[0]!r} is not read where system is {self.system!r} (it is of {' and '.join(wanted)})"
            )
        return self
