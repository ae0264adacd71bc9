"""How each metric is measured: what lies on the bench, and what the groups declare.

Units are in the names. A scorecard's `settings`, a profile's merged in, are read as `EvaluationSettings`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import create_model, model_validator

from mlipilot.evaluation.bench_settings import BENCH_SECTIONS, BenchSettings
from mlipilot.evaluation.catalog import GROUPS
from mlipilot.evaluation.declaration import Settings

REFERENCE_FILE = "reference.json"
"""Beside the data: the true values that a crystal's metrics are compared with."""


_DECLARED = [section for group in GROUPS for section in group.sections]
SECTIONS = [*BENCH_SECTIONS, *_DECLARED]
"""What of the settings each system reads."""

if TYPE_CHECKING:
    _Sections = BenchSettings
else:
    _Sections = create_model(
        "_Sections",
        __base__=BenchSettings,
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
