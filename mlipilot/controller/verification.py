"""The whole of `verify` in one call: digests (`audit/verify_digests.py`), records (`recheck.py`), seals.

What shows, merges or reproduces a run asks here: a record whose digests hold may still lie about a verdict.
"""

from __future__ import annotations

from pathlib import Path

from mlipilot.audit.seals import verify_seals
from mlipilot.audit.verification_result import Verification
from mlipilot.audit.verify_digests import verify_digests, verify_lineage_digests
from mlipilot.campaign.spec import NewerRunError
from mlipilot.controller.recheck import recheck_records
from mlipilot.errors import MlipilotError
from mlipilot.paths import LineagePaths, RunPaths


def verify_run(run: RunPaths, signers: Path | None = None, authorities: Path | None = None) -> Verification:
    """Check everything below `run`; whose seals and time stamps are trusted is said as to `verify_seals`.

    Raises InputError when it is no run or a later version's, and as `verify_seals` does.
    """
    found = verify_digests(run)
    verify_seals(run, found, signers, authorities)
    for lineage in run.lineages():
        found.problems += wrong_records(run, lineage)
    found.problems = list(dict.fromkeys(found.problems))
    return found


def verify_lineage(run: RunPaths, lineage: LineagePaths) -> list[str]:
    """What is wrong with one lineage of `run`, or with a copy that is to become one, wherever it lies."""
    return list(dict.fromkeys(verify_lineage_digests(run, lineage) + wrong_records(run, lineage)))


def wrong_records(run: RunPaths, lineage: LineagePaths) -> list[str]:
    """The records that do not follow from the files, or why that cannot be said. Raises NewerRunError."""
    try:
        return recheck_records(run, lineage)
    except NewerRunError:
        raise
    except MlipilotError as error:
        return [str(error)]
