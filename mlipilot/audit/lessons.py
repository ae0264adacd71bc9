"""The lessons of a ledger, in the form in which lineages share them."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import BaseModel, Field

from mlipilot.audit.events.model import Sha256
from mlipilot.audit.events.proposing import Lesson, Proposed
from mlipilot.audit.events.running import CampaignStarted, Verdict
from mlipilot.audit.ledger import Record


class Finding(BaseModel, extra="forbid", frozen=True, strict=True):
    """One lesson with its provenance: a line of `findings.jsonl`."""

    lineage: int = Field(ge=0)
    iteration: int = Field(ge=0)
    pilot: str
    title: str
    verdict: str
    lesson: str
    verdict_record: Sha256
    """Hash of the ledger's record of the verdict."""
    time: str

    @property
    def text(self) -> str:
        """For a prompt: where it comes from, then the lesson."""
        where = f"lineage {self.lineage}, iteration {self.iteration} ({self.verdict})"
        return f"{where}: {self.title}: {self.lesson}"


def lessons_of(lineage: int, records: Iterable[Record]) -> list[Finding]:
    """A finding for each lesson of a verdict that says something; every field is the ledger's."""
    pilot = ""
    titles: dict[int, str] = {}
    verdicts: dict[int, tuple[str, str]] = {}
    lessons = []
    for record in records:
        match record.event:
            case CampaignStarted() as started:
                pilot = started.pilot
            case Proposed() as proposed:
                titles[proposed.iteration] = proposed.title
            case Verdict() as judged:
                verdicts[judged.iteration] = judged.verdict, record.hash
            case Lesson(iteration=number, text=text) if text and number in verdicts.keys() & titles.keys():
                verdict, of_verdict = verdicts[number]
                lessons.append(
                    Finding(
                        lineage=lineage,
                        iteration=number,
                        pilot=pilot,
                        title=titles[number],
                        verdict=verdict,
                        lesson=text,
                        verdict_record=of_verdict,
                        time=record.time,
                    )
                )
    return lessons
