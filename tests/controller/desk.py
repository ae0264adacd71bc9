"""A lineage whose baseline is measured, with models that say what a test wants them to say."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any

import pytest

from mlipilot.audit.events import body_of
from mlipilot.audit.ledger import Ledger
from mlipilot.controller.briefing import Briefing
from mlipilot.controller.colleagues import Colleagues
from mlipilot.controller.next_steps import next_step
from mlipilot.controller.proposals import Proposals
from mlipilot.controller.recording import open_recording
from mlipilot.controller.state import State, replay
from mlipilot.controller.steps import Step
from mlipilot.controller.transcript import Transcript
from mlipilot.controller.verdict import Measurements
from tests.pilots.roles.conftest import Speaker, calling
from tests.pilots.test_tools import CLAIM
from tests.report.synthetic import SyntheticRun, make_spec

PILOT = {"kind": "openai", "model": "m", "base_url": "http://127.0.0.1:9/v1"}
SUBMIT = calling("submit_experiment", **CLAIM)


def edit(search: str, replace: str) -> dict[str, Any]:
    """A reply that edits recipe.yaml."""
    return calling("replace_in_file", path="recipe.yaml", search=search, replace=replace)


class Desk:
    """Proposals and colleagues of a lineage over one synthetic run."""

    def __init__(
        self, root: Path, monkeypatch: pytest.MonkeyPatch, space: dict[str, Any] | None = None, **pilot: Any
    ) -> None:
        self.made = SyntheticRun(root, make_spec(seeds=[1], pilot=PILOT | pilot, space=space or {}))
        self.made.propose(0, None, {})
        self.made.candidate(0, 0.0)
        self.run, self.lineage, self.spec = self.made.run, self.made.lineage, self.made.spec
        self.monkeypatch = monkeypatch
        self.open()

    def open(self, fence: Callable[[], None] = lambda: None) -> None:
        """A controller's objects, made anew from the files as after a kill."""
        self.ledger = self.made.ledger = Ledger(self.lineage.ledger, fence)
        measured = Measurements(self.lineage, self.spec, self.made.card)
        briefing = Briefing(self.run, self.lineage, self.spec, self.made.card, measured)
        transcript = Transcript(self.lineage, self.ledger, self.spec.pilot)
        shared = (self.run, self.lineage, self.spec, self.ledger, briefing, transcript)
        recording = open_recording(self.spec.pilot, 0)
        self.proposals = Proposals(*shared, ExitStack(), recording)
        self.colleagues = Colleagues(*shared, recording)

    def state(self) -> State:
        return replay(self.ledger.records)

    def due(self) -> Step:
        return next_step(self.state(), self.spec)

    def last(self) -> tuple[str, dict[str, Any]]:
        """Kind and body of the newest record."""
        event = self.ledger.records[-1].event
        return event.kind, body_of(event)

    def ask(self, *replies: dict[str, Any], iteration: int = 1) -> Speaker:
        """A turn of the pilot, which gives these replies."""
        speaker = Speaker(*replies)
        self.monkeypatch.setattr("mlipilot.controller.proposals.open_pilot", lambda *_: nullcontext(speaker))
        self.open()
        self.proposals.ask(iteration, self.state())
        return speaker

    def colleague(self, *replies: dict[str, Any]) -> Speaker:
        """Whoever is asked next gives these replies."""
        speaker = Speaker(*replies)
        self.monkeypatch.setattr("mlipilot.controller.colleagues.open_endpoint", lambda *_: speaker)
        self.open()
        return speaker


def told(speaker: Speaker) -> str:
    """All that a model was sent with its last request."""
    return "\n".join(str(message["content"]) for message in speaker.heard[-1])


def first_task(speaker: Speaker) -> str:
    """The task that a turn began with."""
    return str(speaker.heard[0][1]["content"])
