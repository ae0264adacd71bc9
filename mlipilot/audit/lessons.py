"""The lessons of a ledger, in the form in which lineages share them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mlipilot.audit.ledger import Record


def lessons_of(lineage: int, records: Iterable[Record]) -> list[dict[str, Any]]:
    """One line of `findings.jsonl` for each lesson that says something; every field is the ledger's."""
    pilot = ""
    titles: dict[int, str] = {}
    verdicts: dict[int, Record] = {}
    lessons = []
    for record in records:
        number = record.body.get("iteration", 0)
        match record.kind:
            case "campaign_started":
                pilot = record.body["pilot"]
            case "proposed":
                titles[number] = record.body["title"]
            case "verdict":
                verdicts[number] = record
            case "lesson" if record.body["text"]:
                lessons.append(
                    {
                        "lineage": lineage,
                        "iteration": number,
                        "pilot": pilot,
                        "title": titles[number],
                        "verdict": verdicts[number].body["verdict"],
                        "lesson": record.body["text"],
                        "verdict_record": verdicts[number].hash,
                        "time": record.time,
                    }
                )
    return lessons
