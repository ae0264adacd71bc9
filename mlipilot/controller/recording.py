"""A lineage of another run as a record to be replayed: what each role was asked and answered, turn by turn.

A turn that a kill or a pause cut short was taken again from its beginning; what it had asked led nowhere.
So an exchange counts only when its turn has its end in the ledger (a draft, a review, a lesson, no proposal)
before the next session begins (`resumed`). What the record breaks off in the middle of counts, too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ValidationError, field_validator, model_validator

from mlipilot.audit.events import proposing, running
from mlipilot.audit.files import sha256_bytes, whole_lines
from mlipilot.audit.ledger import Ledger, LedgerError, Record, of_kind, read_open_ledger
from mlipilot.controller.briefing import Briefing
from mlipilot.controller.other_lineages import Heard, as_recorded, note
from mlipilot.endpoint.abilities import Abilities
from mlipilot.endpoint.client import Endpoint
from mlipilot.endpoint.exchange import Exchange, Refused
from mlipilot.endpoint.parsing import Reply, read_reply
from mlipilot.errors import InputError
from mlipilot.paths import LineagePaths, RunPaths
from mlipilot.pilots.pilot_settings import ROLES, PilotSettings, Role
from mlipilot.pilots.recorded import DivergedError, RecordedTurn, replayed
from mlipilot.untrusted import one_line

TurnKey = tuple[Role, int, int]
"""Role, iteration, revision: of the researcher the one that the turn is to submit, else the newest draft."""
_BUDGET = re.compile(r"the budget of .* is used up")


class _Line(BaseModel, extra="forbid"):
    """A line of a transcript."""

    iteration: int
    role: Role
    request: dict[str, Any]
    reply: Reply
    prompt_tokens: int
    completion_tokens: int
    duration_s: float
    usd: float
    base_url: str
    abilities: Abilities
    refused: tuple[Refused, ...]
    estimated: tuple[Literal["prompt_tokens", "completion_tokens"], ...] = ()

    @field_validator("reply", mode="before")
    @classmethod
    def _read(cls, reply: Any) -> Reply:
        return Reply() if reply == {} else read_reply(reply)

    @model_validator(mode="after")
    def _has_an_end(self) -> _Line:
        if not self.reply.raw and not self.refused:
            raise ValueError("there is neither a reply nor a refusal")
        return self

    @property
    def exchange(self) -> Exchange:
        """As the endpoint gave it: what was estimated it did not say."""
        return Exchange(**{name: getattr(self, name) for name in Exchange.__dataclass_fields__})


@dataclass(frozen=True)
class Recording:
    """The turns of a recorded lineage."""

    _pilot: PilotSettings
    _turns: dict[TurnKey, RecordedTurn]
    _heard: dict[TurnKey, Heard]
    _ending: str

    def heard(self, role: Role, iteration: int, revision: int) -> Heard | None:
        """What the role was told of other lineages in a turn, or None where there were none."""
        return self._heard.get((role, iteration, revision))

    def turn(self, role: Role, iteration: int, revision: int) -> RecordedTurn:
        """What came of a turn then. Raises DivergedError when there was no such turn."""
        turn = self._turns.get((role, iteration, revision))
        if turn is None:
            raise DivergedError(
                f"iteration {iteration}, revision {revision}: the {role} is due, and was not asked then; "
                f"{self._ending}\n  mend: replay with the campaign and the budgets that were recorded"
            )
        return turn

    def endpoint(self, role: Role, iteration: int, revision: int) -> Endpoint:
        """Who answers in a turn as it was answered then. Raises as `turn` does."""
        return replayed(self._pilot.endpoint_of(role), self.turn(role, iteration, revision))


def heard_now(
    briefing: Briefing, ledger: Ledger, recording: Recording | None, role: Role, iteration: int, revision: int
) -> Heard | None:
    """What a role is told of others in the turn that begins, written down; in a replay, what it was told."""
    now = briefing.listen()
    if now is None:
        return None
    if recording is not None:
        now = recording.heard(role, iteration, revision) or replace(now, records={})
    note(ledger, role, iteration, now)
    return now


def open_recording(pilot: PilotSettings, number: int) -> Recording | None:
    """The record that lineage `number` replays, or None. Raises InputError when it is not whole."""
    if pilot.replay is None:
        return None
    run = RunPaths(pilot.replay)
    lineage = run.lineage(number)
    if lineage.root not in [begun.root for begun in run.lineages()]:
        begun = ", ".join(str(other.number) for other in run.lineages()) or "none"
        raise InputError(
            f"there is no lineage {number} to be replayed (there: {begun})",
            file=run.root,
            mend="replay as many lineages as were recorded",
        )
    try:
        records, _ = read_open_ledger(lineage.ledger)
    except LedgerError as error:
        raise InputError(f"the record cannot be replayed: {error}") from None
    turns = recorded_turns(lineage, records)
    return Recording(pilot, turns, _heard(records, run), f"the record {_ending(records)}")


def recorded_turns(
    lineage: LineagePaths, records: Sequence[Record], roles: Sequence[Role] = ROLES
) -> dict[TurnKey, RecordedTurn]:
    """What each of these roles was asked and answered. Raises InputError when the transcript is not whole."""
    return _turns(records, lineage, _exchanges(lineage, records, roles))


def _exchanges(
    lineage: LineagePaths, records: Sequence[Record], roles: Sequence[Role]
) -> list[Exchange | None]:
    """Every exchange that the ledger acknowledges, each line held to its SHA-256; None for other roles'."""
    path = lineage.transcript
    acknowledged = [said for _, said in of_kind(records, proposing.Exchange)]
    if acknowledged and not path.is_file():
        raise InputError("the transcript that was to be replayed is missing", file=path)
    lines, _ = whole_lines(path)
    if len(lines) < len(acknowledged):
        raise InputError(
            f"the transcript has {len(lines)} whole lines of the {len(acknowledged)} that its ledger knows",
            file=path,
            mend="replay a copy of the run that is whole (`mlipilot verify`)",
        )
    return [
        _exchange(line, said.sha256, path, number) if said.role in roles else None
        for number, (line, said) in enumerate(zip(lines, acknowledged, strict=False), start=1)
    ]


def _exchange(line: bytes, digest: str, path: Path, number: int) -> Exchange:
    if sha256_bytes(line) != digest:
        raise InputError(
            "this exchange is not the one that the ledger acknowledged",
            file=path,
            line=number,
            mend="replay a copy of the run that is whole (`mlipilot verify`)",
        )
    try:
        return _Line.model_validate_json(line).exchange
    except ValidationError as error:
        fault = error.errors()[0]
        place = one_line(".".join(str(part) for part in fault["loc"]), 60)
        raise InputError(
            f"this exchange cannot be replayed: {place}: {fault['msg']}",
            file=path,
            line=number,
            mend="only what this version of MLIPilot recorded can be replayed by it",
        ) from None


def _turns(
    records: Sequence[Record], lineage: LineagePaths, exchanges: Sequence[Exchange | None]
) -> dict[TurnKey, RecordedTurn]:
    """The turns that led on, and those that were under way when the record ends."""
    over: dict[TurnKey, RecordedTurn] = {}
    under_way: dict[TurnKey, RecordedTurn] = {}
    drafts: dict[int, int] = {}
    counted: dict[Role, int] = {}
    line = 0

    def blank(role: Role, number: int) -> RecordedTurn:
        return RecordedTurn(number, role, lineage.transcript, (), counted.get(role, 0))

    def end(role: Role, number: int, spent: str | None, drafted: str | None = None) -> None:
        key = _key(role, number, drafts)
        over[key] = replace(under_way.pop(key, blank(role, number)), spent=spent, drafted=drafted)

    for record in records:
        match record.event:
            case running.Resumed():
                under_way.clear()
                counted.clear()
            case proposing.Exchange(role=role, iteration=number):
                exchange = exchanges[line]
                line += 1
                if exchange is None:
                    continue
                turn = under_way.setdefault(_key(role, number, drafts), blank(role, number))
                grown = (*turn.exchanges, (line, exchange))
                under_way[_key(role, number, drafts)] = replace(turn, exchanges=grown)
                if exchange.reply.raw:
                    counted[role] = exchange.reply.prompt_tokens
            case proposing.Drafted(iteration=number, revision=revision, recipe_digest=digest):
                end("researcher", number, None, digest)
                drafts[number] = revision
            case proposing.NoProposal(iteration=number, reason=reason):
                end("researcher", number, _spent(reason))
            case proposing.GaveUp(iteration=number):
                end("researcher", number, None)
            case proposing.Reviewed(iteration=number, text=text):
                end("reviewer", number, _spent(text))
            case proposing.Lesson(iteration=number, text=text):
                # of an analyst that could not be asked there is nothing
                end("analyst", number, None if text else "a budget was used up")
    return over | {key: replace(turn, is_over=False) for key, turn in under_way.items()}


def _heard(records: Sequence[Record], run: RunPaths) -> dict[TurnKey, Heard]:
    """What was heard in each turn; of one that was taken again, what was heard last."""
    found: dict[TurnKey, Heard] = {}
    drafts: dict[int, int] = {}
    for record in records:
        match record.event:
            case proposing.Drafted(iteration=number, revision=revision):
                drafts[number] = revision
            case proposing.Heard(role=role, iteration=number) as told:
                found[_key(role, number, drafts)] = as_recorded(run, told)
    return found


def _key(role: Role, iteration: int, drafts: dict[int, int]) -> TurnKey:
    return role, iteration, drafts.get(iteration, 0) + (role == "researcher")


def _spent(text: str) -> str | None:
    found = _BUDGET.search(text)
    return found.group() if found else None


def _ending(records: Sequence[Record]) -> str:
    """How a record ends, in words."""
    last = records[-1].event if records else None
    if not isinstance(last, running.Finished | running.Paused):
        return "goes no further"
    return f"ends there ({last.kind}: {one_line(last.reason, 200)})"
