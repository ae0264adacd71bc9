"""What a reproduction found, as it is written to `reproduction.json`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from mlipilot.reproduce.compare import Comparison
from mlipilot.reproduce.environment import Environment
from mlipilot.reproduce.rebuilt_data import Sameness

FORMAT = "mlipilot-reproduction/1"


@dataclass(frozen=True)
class Weights:
    """SHA-256 of the weights that one seed gave, in the run and here."""

    seed: int
    recorded: str
    here: str
    must_match: bool
    """True on the recorded training's own kind of processor and versions, without a GPU."""

    @property
    def same(self) -> bool:
        """Whether training gave the very same bytes."""
        return self.recorded == self.here


@dataclass(frozen=True)
class Outcome:
    """What agreed. A job that ended well in the run and not here is a failure; then nothing is compared."""

    run: str
    campaign: str
    lineage: int
    iteration: int
    seeds: list[int]
    ledger_head: str
    environment: Environment
    data: dict[str, Sameness]
    failures: list[str]
    weights: list[Weights]
    metrics: list[Comparison]

    @property
    def problems(self) -> list[str]:
        """Why this is no reproduction; none if it is one."""
        found = list(self.failures)
        other = [str(weights.seed) for weights in self.weights if weights.must_match and not weights.same]
        if other:
            found.append(f"other weights on the same processor and versions: seed {', '.join(other)}")
        differ = [metric.name for metric in self.metrics if metric.agreement == "differs"]
        if differ:
            found.append(f"beyond the run's noise: {', '.join(differ)}")
        return found

    @property
    def summary(self) -> str:
        """What agrees, in one line."""
        same = sum(weights.same for weights in self.weights)
        agree = [metric.agreement for metric in self.metrics]
        return (
            f"the weights of {same} of {len(self.seeds)} seeds are the same bytes; of "
            f"{len(agree) - agree.count('not judged')} judged metrics {agree.count('equal')} are equal and "
            f"{agree.count('within noise')} within the run's noise"
        )

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"format": FORMAT, "reproduced": not self.problems, "problems": self.problems}
