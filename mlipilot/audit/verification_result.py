"""What a check of a run finds, and the checks that every look at a run begins with."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from mlipilot.audit.events.running import CampaignStarted
from mlipilot.audit.files import sha256_file
from mlipilot.audit.ledger import Record
from mlipilot.audit.lessons import Finding
from mlipilot.audit.manifest import MANIFEST, check_manifest, is_finished, read_manifest
from mlipilot.audit.protected import read_protected
from mlipilot.paths import LineagePaths, RunPaths


@dataclass(frozen=True)
class Seal:
    """What is found of one seal that can be read."""

    path: Path
    key: str
    """The fingerprint of the key that signed it, as `ssh-keygen -l` shows it."""
    signer: str | None
    """Whose key that is by the list of allowed signers; None without one, or when it is not in there."""
    agrees: bool
    """Whether the ledgers are what it says they were, or have grown from that, and its signatures hold."""
    stamped: str | None
    """The time of its time stamp, in the authority's words; None without one."""
    is_stamp_checked: bool
    """Whether the authority's signature was checked."""


@dataclass
class Verification:
    """Problems fail a check, notes do not."""

    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    accounted: set[Path] = field(default_factory=set)
    """Every file that a record or a manifest speaks of."""
    taken_up: set[Path] = field(default_factory=set)
    """Folders of lineages that are over in which what a person has asked for since is being made."""
    records: int = 0
    begun: dict[LineagePaths, tuple[Record, CampaignStarted]] = field(default_factory=dict)
    """What each lineage that has begun says of its beginning."""
    lessons: list[Finding] = field(default_factory=list)
    """Those that the ledgers hold."""
    lengths: dict[int, int] = field(default_factory=dict)
    """How many records each lineage has, by number."""
    heard: list[tuple[str, int, int]] = field(default_factory=list)
    """Which record says of a lineage, by number, how many records it had then."""
    anchors: int = 0
    """Names of Slurm jobs that hold the hash of a record before the job's end."""
    witnessed: int = 0
    """Of these, how many Slurm's accounts have too, which were asked now."""
    extracted: int = 0
    """Of the others, how many are in the submitter's extract of these accounts, which lies in the run."""
    seals: list[Seal] = field(default_factory=list)
    """Those of `seals/` that can be read, by name."""

    def expect(self, path: Path, digest: str, where: str) -> None:
        """Check one file against a recorded digest and count it as accounted for."""
        self.accounted.add(path)
        if not path.is_file():
            self.problems.append(f"{path}: missing (recorded in {where})")
        elif sha256_file(path) != digest:
            self.problems.append(f"{path}: changed (SHA-256 differs from {where})")

    def expect_sealed(
        self, directory: Path, manifest_sha256: str, where: str, *, allow_extra: bool = False
    ) -> None:
        """Check a manifest against its recorded digest, and the directory against its manifest."""
        self.expect(directory / MANIFEST, manifest_sha256, where)
        if not is_finished(directory):
            return
        self.problems += check_manifest(directory, allow_extra=allow_extra)
        with suppress(ValueError):  # check_manifest has named the line
            self.accounted |= {directory / name for name in read_manifest(directory)}

    def expect_protected(self, run: RunPaths, started: CampaignStarted, where: str) -> dict[str, str]:
        """Check spec, scorecard, recipe and data against the digests that a lineage began with.

        Returns the digests of all protected files by name, none when their record cannot be read.
        """
        self.expect(run.protected, started.protected_sha256, where)
        self.expect(run.spec, started.spec_sha256, where)
        self.expect(run.scorecard, started.scorecard_sha256, where)
        try:
            recorded = read_protected(run.protected)
        except (OSError, ValueError):
            return {}  # the digest above has named the file already
        for name, digest in recorded.items():
            if name.startswith("run/"):
                self.expect(run.root / name.removeprefix("run/"), digest, run.protected.name)
        return recorded
