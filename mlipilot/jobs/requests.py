"""Attempts that are due become requests in the spool; those of one candidate may share a job.

An attempt's note (`slurm_note`) names its job and holds what is asked for. It is written before the request
is published, that of the request's first attempt last: after a kill the same request is made again or found.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

from mlipilot.audit.files import write_json
from mlipilot.audit.manifest import is_finished
from mlipilot.jobs.backend import Submission
from mlipilot.jobs.job_files import read_order
from mlipilot.jobs.job_settings import JobSettings
from mlipilot.jobs.slurm_note import SlurmNote, read_note
from mlipilot.jobs.spool import Spool
from mlipilot.paths import ORDER

Stage = Sequence[Submission]
"""Attempts that run side by side in one job; the next stage of the job begins when all of them are over."""
_MARGIN_MINUTES = 3  # of Slurm's limit over our own, for the image's digest and the trusted ends: what a
# candidate left is removed and hashed in it. A job that is ended in that has noted how its command ended, and
# whoever finds the attempt goes on.


def resources_asked(settings: JobSettings, width: int, limits_s: Sequence[float]) -> dict[str, int]:
    """What Slurm is asked for, for stages of `limits_s` seconds of at most `width` attempts side by side.

    Each has cores and memory of its own. They share the GPUs, if there are any.
    """
    resources = settings.resources
    return {
        "minutes": math.ceil(sum(limits_s) / 60) + _MARGIN_MINUTES,
        "cpus": width * resources.cpus,
        "memory_mib": width * resources.memory_mib,
        "gpus": resources.gpus,
    }


def resources_by_template(settings: JobSettings) -> dict[str, dict[str, int]]:
    """The same for each kind of job of a campaign, with as many seeds in one as may share it."""
    train_s, evaluate_s = [settings.train_wall_limit_s], [settings.evaluate_wall_limit_s]
    width = settings.pack
    if settings.resources.gpus:
        evaluate_s *= settings.pack
    if settings.chain == "fused":
        return {"fused": resources_asked(settings, width, train_s + evaluate_s)}
    return {
        "train": resources_asked(settings, width, train_s),
        "evaluate": resources_asked(settings, 1 if settings.resources.gpus else width, evaluate_s),
    }


class Requests:
    """The controller's requests of one run."""

    def __init__(self, run: Path, spool: Spool, settings: JobSettings) -> None:
        self.run, self.spool, self.settings = run, spool, settings

    def ensure(self, works: Sequence[Submission]) -> None:
        """Publish the requests of attempts and of what follows them, unless they have been published.

        Evaluations are queued together with their trainings: in the same job, or in one behind it.
        """
        asked = self._ensure_each(works, {})
        if self.settings.chain == "dependent":
            after = {str(w.then.attempt): asked[w.attempt] for w in works if w.then and w.attempt in asked}
            self._ensure_each([work.then for work in works if work.then is not None], after)

    def _ensure_each(self, works: Sequence[Submission], after: dict[str, str]) -> dict[Path, str]:
        """The name of each attempt's job. `after`: by attempt, the job that its own is queued behind."""
        names = {work.attempt: self._known(work) for work in works if not self._came_sealed(work.attempt)}
        waiting = [work for work in works if names.get(work.attempt, "") is None]
        for group in self._groups(waiting, after):
            name = self._publish(group, after.get(str(group[0].attempt)))
            names |= {work.attempt: name for work in group}
        return {attempt: name for attempt, name in names.items() if name is not None}

    def _came_sealed(self, attempt: Path) -> bool:
        """Whether an attempt was over before the run was copied or moved here: its order is sealed."""
        return is_finished(attempt) and read_order(attempt).run != str(self.run)

    def _known(self, work: Submission) -> str | None:
        """The name of the job that an attempt has been asked of, whose request is there when this returns."""
        note = read_note(work.attempt)
        if note is None:
            return None
        if note.needs != work.order.needs:  # behind a training that was lost
            if note.request is None or note.asked_for == [self._path(work)]:
                self.spool.ask_to_cancel(note.name)
            return None
        if self.spool.is_requested(note.name):
            return note.name
        if note.request is None:
            return None
        first = self.run / note.asked_for[0]
        known = read_note(first)
        if known is None or known.name != note.name:
            return None  # a kill came before it was published
        if read_order(first).run != str(self.run):
            return None  # it is of the run that this one was copied from
        self.spool.request(note.name, note.request)
        return note.name

    def _groups(self, works: Sequence[Submission], after: dict[str, str]) -> Iterator[list[Submission]]:
        """At most `pack` of one kind each, queued behind the same job."""
        kinds: dict[tuple[str, str | None], list[Submission]] = {}
        for work in works:
            kinds.setdefault((work.kind, after.get(str(work.attempt))), []).append(work)
        for alike in kinds.values():
            for first in range(0, len(alike), self.settings.pack):
                yield alike[first : first + self.settings.pack]

    def _publish(self, group: Stage, after: str | None) -> str:
        stages = list(self._stages(group))
        name = self._new_name(group)
        fields = self._fields(stages, after)
        for stage in stages:
            for work in stage:
                work.attempt.mkdir(parents=True, exist_ok=True)
                shared = {"gpus": self.settings.resources.gpus / len(stage)} if work.order.uses_gpu else {}
                write_json(work.attempt / ORDER, work.order.model_copy(update=shared).model_dump())
        for work in reversed(list(chain.from_iterable(stages))):
            SlurmNote(name=name, needs=work.order.needs, request=fields).write(work.attempt)
        self.spool.request(name, fields)
        return name

    def _stages(self, group: Stage) -> Iterator[Stage]:
        """Evaluations have a GPU to themselves, one after the other, for they measure speed."""
        behind = [work.then for work in group if work.then and self.settings.chain == "fused"]
        for stage in (list(group), behind):
            alone = self.settings.resources.gpus > 0 and stage and stage[0].kind == "evaluate"
            yield from [[work] for work in stage] if alone else [stage] if stage else []

    def _fields(self, stages: Sequence[Stage], after: str | None) -> dict[str, str | int]:
        limits_s = [max(work.order.wall_limit_s for work in stage) for stage in stages]
        first = stages[0][0]
        is_fused = any(work.kind != first.kind for stage in stages for work in stage)
        fields: dict[str, str | int] = {
            "template": "fused" if is_fused else first.kind,
            "attempt": ",".join("+".join(map(self._path, stage)) for stage in stages),
            **resources_asked(self.settings, max(map(len, stages)), limits_s),
        }
        if after is not None:
            fields["after"] = after
        avoided = {node for stage in stages for work in stage for node in work.avoid_nodes}
        if avoided:
            fields["exclude"] = ",".join(sorted(avoided))
        return fields

    def _path(self, work: Submission) -> str:
        return str(work.attempt.relative_to(self.run))

    def _new_name(self, group: Stage) -> str:
        """Unique for all time: the ledger's head, then where in the run, then a number if it is taken."""
        parts = group[0].attempt.relative_to(self.run).parts
        short = {"iterations": "", "drafts": "", "sealed-check": "sealed", "confirmation": "confirm"}
        short |= {"train": "t", "evaluate": "e"}
        words = [
            short.get(part, part.replace("attempt-", "a").replace("seed-", "s"))
            for part in parts
            if len(group) == 1 or not part.startswith("seed-")
        ]
        base = f"mlp-{group[0].anchor[:16]}-" + ".".join(filter(None, words)).replace("lineage-", "l")
        number = 1
        while self.spool.is_requested(name := base if number == 1 else f"{base}.{number}"):
            number += 1
        return name
