"""What an endpoint can do: found out once for an address and a model, and remembered by the run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

CallMode = Literal["native", "json_schema", "json_object", "prompt"]
MODES: tuple[CallMode, ...] = ("native", "json_schema", "json_object", "prompt")
"""How a model is made to call tools, best first: its own way, constrained to a schema, asked in the text."""


@dataclass(frozen=True)
class Abilities:
    """How an endpoint has to be asked."""

    mode: CallMode = "native"
    context_tokens: int | None = None
    """For conversation and reply together; None when the endpoint does not say."""
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """What it calls the limit of a reply."""
    takes_system_role: bool = True
    """Where it does not, the system's text is put before the user's first."""


@dataclass(frozen=True)
class Finding:
    """What was found out about a model at an address, why it is believed, and what that cost."""

    base_url: str
    model: str
    abilities: Abilities
    why: str
    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Memory(Protocol):
    """Where findings are kept beyond a session."""

    def recall(self, base_url: str, model: str) -> Abilities | None:
        """What was found out last, or None."""
        ...

    def note(self, finding: Finding) -> None:
        """Keep what was found out."""
        ...
