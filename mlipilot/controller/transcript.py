"""The transcript: every request of a turn and its reply, as sent, each line acknowledged in the ledger."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from mlipilot.audit.events import proposing
from mlipilot.audit.files import append_line, cut_torn_line, sha256_bytes, whole_lines
from mlipilot.audit.ledger import Ledger, of_kind
from mlipilot.endpoint.exchange import Exchange
from mlipilot.paths import LineagePaths
from mlipilot.pilots.pilot_settings import PilotSettings, Role


class Transcript:
    """The one writer of a lineage's transcript."""

    def __init__(self, lineage: LineagePaths, ledger: Ledger, pilot: PilotSettings) -> None:
        self.path, self.ledger, self.pilot = lineage.transcript, ledger, pilot

    def record(self, iteration: int, role: Role, exchange: Exchange) -> None:
        """Append an exchange to the transcript, then acknowledge it in the ledger."""
        endpoint = self.pilot.endpoint(role) or self.pilot
        entry: dict[str, Any] = {
            "iteration": iteration,
            "role": role,
            "request": exchange.request,
            "reply": exchange.reply.raw,
            **exchange.charged,
            "duration_s": round(exchange.duration_s, 3),
            "usd": endpoint.price_usd(**exchange.charged),
            "base_url": exchange.base_url,
            "abilities": asdict(exchange.abilities),
            "refused": [asdict(refusal) for refusal in exchange.refused],
        }
        if exchange.estimates:
            entry["estimated"] = list(exchange.estimates)
        line = json.dumps(entry, ensure_ascii=True)
        self.ledger.fence()  # a reply may take long; the transcript may be another controller's by now
        append_line(self.path, line)
        self._acknowledge(entry, line)

    def _acknowledge(self, entry: dict[str, Any], line: str) -> None:
        kept = ("iteration", "role", "prompt_tokens", "completion_tokens", "duration_s", "usd", "estimated")
        said = {key: entry[key] for key in kept if key in entry}
        number, digest = self._acknowledged() + 1, sha256_bytes(line.encode())
        self.ledger.append(proposing.Exchange(**said, line=number, sha256=digest))

    def _acknowledged(self) -> int:
        return sum(1 for _ in of_kind(self.ledger.records, proposing.Exchange))

    def recover(self) -> None:
        """Acknowledge exchanges that a kill left between transcript and ledger: their tokens were spent."""
        cut_torn_line(self.path)
        for line in whole_lines(self.path)[0][self._acknowledged() :]:
            self._acknowledge(json.loads(line), line.decode())
