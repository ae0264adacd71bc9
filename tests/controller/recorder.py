"""A desk whose roles all ask one model, and keep a transcript that another can be driven by."""

from __future__ import annotations

import json
from contextlib import nullcontext
from typing import Any

from mlipilot.audit.events import body_of
from mlipilot.controller import steps
from mlipilot.controller.transcript import Transcript
from mlipilot.endpoint.abilities import Abilities
from mlipilot.endpoint.client import Endpoint
from mlipilot.endpoint.parsing import Reply, read_reply
from mlipilot.pilots.pilot_settings import PilotSettings
from tests.controller.desk import PILOT, Desk
from tests.events import event

Answer = dict[str, Any] | Exception


class Model:
    """An endpoint behind which a list of messages and errors waits."""

    def __init__(self, *answers: Answer, counts: bool = True) -> None:
        self.answers, self.counts = list(answers), counts
        settings = PilotSettings.model_validate(PILOT)
        self.endpoint = Endpoint("http://there/v1", "m", None, settings, Abilities("json_schema", 65536))
        self.endpoint.stand_in = self._answer

    def _answer(self, request: dict[str, Any]) -> tuple[Reply, float]:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        usage = {"prompt_tokens": len(json.dumps(request)) // 4, "completion_tokens": 5}
        reply = {"choices": [{"message": answer, "finish_reason": "stop"}]}
        return read_reply(reply | ({"usage": usage} if self.counts else {})), 0.25


class Recorder(Desk):
    """A desk whose roles all ask one model."""

    def has(self, *answers: Answer, counts: bool = True) -> Recorder:
        model = Model(*answers, counts=counts)
        patch = self.monkeypatch.setattr
        patch("mlipilot.controller.proposals.open_pilot", lambda *_: nullcontext(model.endpoint))
        patch("mlipilot.controller.colleagues.open_endpoint", lambda *_: model.endpoint)
        self.open()
        return self

    def resumed(self, *answers: Answer) -> Recorder:
        """As a session begins after a kill or a pause."""
        Transcript(self.lineage, self.ledger, self.spec.pilot).recover()
        self.ledger.append(event("resumed", epoch=2))
        return self.has(*answers)

    def turn(self, iteration: int = 1) -> None:
        self.proposals.ask(iteration, self.state())

    def whole_iteration(self) -> None:
        """From the first request to the lesson, by whatever steps are due."""
        while True:
            match self.due():
                case steps.AskPilot(1):
                    self.turn()
                case steps.AskReviewer(number, revision):
                    self.colleagues.review(number, revision, self.state())
                case steps.SubmitJob(key, _) if key.kind == "smoke":
                    self.made.smoke(1, key.revision)
                case steps.AcceptDraft(number, revision):
                    self.proposals.accept(number, revision)
                case steps.SubmitJob():
                    self.made.candidate(1, 0.5)
                case steps.DrawLesson(number):
                    self.colleagues.draw_lesson(number, self.state())
                case _:
                    return

    def exchanges(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lineage.transcript.read_text().splitlines()]

    def course(self) -> list[dict[str, Any]]:
        """What the roles did."""
        kinds = ("drafted", "reviewed", "proposed", "lesson", "no_proposal", "gave_up")
        return [body_of(record.event) for record in self.ledger.records if record.event.kind in kinds]
