"""What pilots' records say, computed again: from drafts, claims, prices and the transcript's replies."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from mlipilot.audit.events import proposing
from mlipilot.audit.files import sha256_bytes, whole_lines
from mlipilot.audit.ledger import Record
from mlipilot.campaign.spec import CampaignSpec
from mlipilot.controller.candidates import digests_of
from mlipilot.controller.recording import TurnKey, recorded_turns
from mlipilot.controller.spending import elapsed_s, used_up
from mlipilot.controller.state import State
from mlipilot.endpoint.exchange import BudgetSpentError
from mlipilot.paths import HYPOTHESIS, PATCH, LineagePaths
from mlipilot.pilots.history_told import Room
from mlipilot.pilots.pilot_settings import Role
from mlipilot.pilots.recorded import RecordedTurn, Reread, replayed
from mlipilot.pilots.roles.analyst import reread_lesson
from mlipilot.pilots.roles.reviewer import reread_review
from mlipilot.yaml_io import load_yaml


class PilotRecords:
    """The records of a lineage's pilot, and what its files give for each."""

    def __init__(self, lineage: LineagePaths, spec: CampaignSpec, records: Sequence[Record]) -> None:
        self.lineage, self.spec, self._records = lineage, spec, records
        self.transcript, _ = whole_lines(lineage.transcript)

    def computed(self, record: Record, before: State) -> Mapping[str, Any]:
        """The fields of a record's event that files and records before it give, in a lineage at `before`.

        Raises LookupError where something that it follows from is missing, and ValueError and InputError
        where that is damaged.
        """
        current = current_iteration(before)
        match event := record.event:
            case proposing.EndpointProbed():
                pilot, tokens = self.spec.pilot, (event.prompt_tokens, event.completion_tokens)
                asked = (pilot, pilot.endpoint("reviewer"), pilot.endpoint("analyst"))
                prices = [{"usd": each.price_usd(*tokens)} for each in asked if each is not None]
                return nearest({"usd": event.usd}, prices)
            case proposing.Exchange():
                return self._exchange(before.exchanges)
            case proposing.Heard():
                return {"iteration": len(before.iterations) - 1 if event.role == "analyst" else current}
            case proposing.Drafted():
                path = self.lineage.revision(current, revision := drafts_of_current(before) + 1)
                return {"iteration": current, "revision": revision} | digests_of(path) | _claim(path)
            case proposing.Proposed():
                path = self.lineage.iteration(current)
                return {"iteration": current, "revision": drafts_of_current(before) or None} | _claim(path)
            case proposing.Reviewed():
                place = {"iteration": current, "revision": drafts_of_current(before)}
                return place | nearest(
                    {"approved": event.approved, "text": event.text}, self._words(record, before)
                )
            case proposing.Lesson():
                place = {"iteration": len(before.iterations) - 1}
                return place | nearest({"text": event.text}, self._lessons(record, before))
            case proposing.NoProposal() | proposing.GaveUp():
                return {"iteration": current}
            case _:
                return {}

    def _exchange(self, earlier: int) -> Mapping[str, Any]:
        line = self.transcript[earlier]
        entry = json.loads(line)
        if not isinstance(entry, dict):
            raise ValueError(f"line {earlier + 1} of {self.lineage.transcript} is no exchange")
        known = {name: entry[name] for name in proposing.Exchange.model_fields if name in entry}
        digest = {"line": earlier + 1, "sha256": sha256_bytes(line)}
        told = proposing.Exchange.model_validate(known | digest)
        settings = self.spec.pilot.endpoint(told.role) or self.spec.pilot
        price = settings.price_usd(told.prompt_tokens, told.completion_tokens)
        return told.model_dump() | {"usd": price}

    @cached_property
    def _turns(self) -> Mapping[TurnKey, RecordedTurn]:
        return recorded_turns(self.lineage, self._records, ("reviewer", "analyst"))

    def _words(self, record: Record, before: State) -> list[dict[str, Any]]:
        """What the transcript's replies say of the newest draft; where nobody was asked, that and why."""
        number, revision = current_iteration(before), drafts_of_current(before)
        patch = self.lineage.revision(number, revision) / PATCH
        diff = patch.read_text(encoding="utf-8") if patch.exists() else ""
        said = []
        for turn, room in self._ways("reviewer", number, revision, record, before):
            try:
                found = reread_review(turn, diff, room)
                said.append({"approved": found.approved, "text": found.text})
            except BudgetSpentError as spent:
                said.append({"approved": True, "text": f"the reviewer was not asked: {spent}"})
        return said

    def _lessons(self, record: Record, before: State) -> list[dict[str, Any]]:
        """What the replies in the transcript say of the newest verdict."""
        number = len(before.iterations) - 1
        revision = len(before.iterations[number].drafts)
        said = []
        for turn, _ in self._ways("analyst", number, revision, record, before):
            try:
                said.append({"text": reread_lesson(turn) or ""})
            except BudgetSpentError:
                said.append({"text": ""})
        return said

    def _ways(
        self, role: Role, number: int, revision: int, record: Record, before: State
    ) -> Iterator[tuple[Reread, Room]]:
        """A role's turn as it is on record, and its room, with what was spent when it was over.

        That was seen between the record before and this one: wall time is a budget, too.
        """
        settings = self.spec.pilot.endpoint(role)
        if settings is None:
            raise LookupError(f"the campaign has no {role}")
        turn = self._turns.get((role, number, revision))
        if turn is None:
            turn = RecordedTurn(number, role, self.lineage.transcript, ())
        endpoint = replayed(settings, turn)
        room = Room(endpoint.context_tokens, endpoint.reply_tokens)
        for time in dict.fromkeys((before.last_time or record.time, record.time)):
            spent = used_up(
                before, self.spec.budget, elapsed_s(before, datetime.fromisoformat(time)), "calls"
            )
            # A replay's turns end where those did that it replays, whatever the time is now.
            yield Reread(turn, turn.spent if self.spec.pilot.replay is not None else spent), room


def nearest(said: dict[str, Any], possible: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What is said where it is possible, else what is; None of each where nothing is."""
    return said if said in possible else next(iter(possible), dict.fromkeys(said))


def current_iteration(state: State) -> int:
    """The iteration that no verdict has ended yet."""
    last = state.iterations[-1] if state.iterations else None
    return len(state.iterations) if last is None or last.judged else last.number


def drafts_of_current(state: State) -> int:
    """How often the current iteration was drafted."""
    number = current_iteration(state)
    return len(state.iterations[number].drafts) if number < len(state.iterations) else 0


def _claim(directory: Path) -> dict[str, Any]:
    """Title and hypothesis; the baseline has none."""
    stated = load_yaml(directory / HYPOTHESIS)
    if not isinstance(stated, dict) or "title" not in stated:
        raise ValueError(f"{directory / HYPOTHESIS} states no hypothesis")
    return {"title": stated["title"], "hypothesis": stated if len(stated) > 1 else None}
