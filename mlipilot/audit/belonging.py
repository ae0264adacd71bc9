"""Whether lineages belong together: those of several clusters that were copied into one run.

They were begun by the same campaign with the same scorecard, data and toolkit. Their images may differ, and
what the lineages of one cluster learnt those of another never heard.
"""

from __future__ import annotations

from collections.abc import Collection

from mlipilot.audit.files import read_regular, sha256_bytes, sha256_file
from mlipilot.audit.places import Place
from mlipilot.audit.verification_result import Verification
from mlipilot.paths import LineagePaths, RunPaths
from mlipilot.untrusted import one_line

_DIGEST_BYTES = 2**12


def verify_campaign(run: RunPaths, found: Verification) -> None:
    """Name the lineages that were begun by another campaign.

    Where no lineage has what the run has, the run's file was changed: the lineages' own checks say so.
    """
    named: dict[LineagePaths, str] = {}
    for path, key in (
        (run.spec, "spec_sha256"),
        (run.scorecard, "scorecard_sha256"),
        (run.protected, "protected_sha256"),
    ):
        here = sha256_file(path) if path.is_file() else ""
        said = {lineage: str(getattr(started, key)) for lineage, (_, started) in found.begun.items()}
        if here in said.values():
            for lineage, digest in said.items():
                if digest != here:
                    named.setdefault(lineage, f"with another {path.name}, of SHA-256 {one_line(digest, 64)}")
    # Before what follows from it: that the run's files differ from that lineage's.
    found.problems[:0] = [
        f"{lineage.ledger}: this lineage was begun {how}: it does not belong to this run"
        for lineage, how in named.items()
    ]


def verify_images(run: RunPaths, found: Verification) -> None:
    """`image.sha256` says what jobs from now on run in: some lineage's image, begun where it was."""
    try:
        now = sha256_bytes(read_regular(run.image_digest, _DIGEST_BYTES))
    except OSError:
        now = ""
    images = {lineage: started.image_sha256 for lineage, (_, started) in found.begun.items()}
    files = {lineage: sha256_bytes(f"{image}\n".encode()) for lineage, image in images.items() if image}
    homes = {Place.of(found.begun[lineage][1]) for lineage, digest in files.items() if digest == now}
    for lineage, digest in files.items():
        record, started = found.begun[lineage]
        place = Place.of(started)
        if digest != now and homes and place not in homes:
            found.notes.append(
                f"{lineage.ledger}: its jobs ran in another image, {one_line(str(images[lineage]), 64)} "
                f"({place.words}); {run.image_digest.name} is for jobs from now on"
            )
        else:
            where = f"{lineage.ledger.name}, record {record.seq} of {lineage.root.name}"
            found.expect(run.image_digest, digest, where)


def copied_without_lessons(run: RunPaths, told_by: Collection[int], found: Verification) -> set[LineagePaths]:
    """Lineages of a place from which no lesson has come into `findings.jsonl` with them; a note says so."""
    places = {lineage: Place.of(started) for lineage, (_, started) in found.begun.items()}
    heard_of = {place for lineage, place in places.items() if lineage.number in told_by}
    taught = {run.lineage(lesson.lineage) for lesson in found.lessons}
    if len(set(places.values())) < 2:
        return set()
    copied = {lineage for lineage in taught & places.keys() if places[lineage] not in heard_of}
    for place in sorted({places[lineage] for lineage in copied}, key=str):
        numbers = sorted(lineage.number for lineage in copied if places[lineage] == place)
        found.notes.append(
            f"{run.findings}: it has no lesson of lineages {', '.join(map(str, numbers))}, which were begun "
            f"elsewhere ({place.words}); `mlipilot merge` adds them"
        )
    return copied
