"""What a lineage has found out about endpoints: kept in its ledger, so that a resumed run asks at once."""

from __future__ import annotations

from dataclasses import asdict

from mlipilot.audit.events.proposing import EndpointProbed
from mlipilot.audit.ledger import Ledger
from mlipilot.controller.state import replay
from mlipilot.endpoint.abilities import Abilities, Finding
from mlipilot.endpoint.endpoint_settings import EndpointSettings


class LedgerMemory:
    """Findings as `endpoint_probed` records; the newest of an address and a model holds."""

    def __init__(self, ledger: Ledger, settings: EndpointSettings) -> None:
        self._ledger, self._settings = ledger, settings

    def recall(self, base_url: str, model: str) -> Abilities | None:
        """What was found out last, or None."""
        return replay(self._ledger.records).endpoints.get((base_url, model))

    def note(self, finding: Finding) -> None:
        """Append what was found out, and what that cost."""
        body = asdict(finding)
        usd = self._settings.price_usd(finding.prompt_tokens, finding.completion_tokens)
        self._ledger.append(EndpointProbed(**body.pop("abilities"), **body, usd=usd))
