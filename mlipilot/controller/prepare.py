"""Setting up a run's directory: spec, scorecard, recipe, data, and the digests of all that is protected.

Each part is published whole or not at all and is skipped when it is there, so `run` and `resume` call this
again after a kill and it goes on where it stopped.
"""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path

from filelock import FileLock

from mlipilot.audit.events.running import CampaignStarted, Resumed
from mlipilot.audit.files import sha256_file, tree_digest, write_atomic, write_json
from mlipilot.audit.leftovers import staged_for
from mlipilot.audit.manifest import MANIFEST, check_manifest, is_finished, read_manifest, write_manifest
from mlipilot.audit.protected import PACKAGE, hash_protected
from mlipilot.campaign.baseline_recipe import set_recipe_values
from mlipilot.campaign.seeds import check_seeds
from mlipilot.campaign.spec import Campaign, CampaignSpec, dump_spec
from mlipilot.controller.observer import Observer
from mlipilot.controller.publishing import copy_recipe
from mlipilot.datasets import DATASETS
from mlipilot.datasets.base import read_provenance
from mlipilot.datasets.options import SALTS
from mlipilot.errors import InputError, PausedError
from mlipilot.evaluation.metric_settings import REFERENCE_FILE
from mlipilot.evaluation.scorecard import load_scorecard
from mlipilot.paths import RunPaths
from mlipilot.pilots.prompt_texts import prompts_digest
from mlipilot.versions import versions

IMAGE_DIGEST = "MLIPILOT_IMAGE_SHA256"
"""The variable that is set inside an image by whoever has checked it."""


def create_run(campaign: Campaign, run: RunPaths, *, may_exist: bool = False) -> None:
    """Write what a run is: scorecard, starting recipe, and the resolved spec last.

    Raises InputError when the run is there already, unless it `may_exist` and is of the same spec, and where
    lineages of a new one would share a seed.
    """
    if not run.spec.exists():
        check_seeds(campaign.spec.seeds, campaign.written, campaign.path)
    run.root.mkdir(parents=True, exist_ok=True)
    with _preparing(run):
        if run.spec.exists():
            _check_existing(campaign, run, may_exist)
            return
        shutil.copyfile(campaign.scorecard_path, run.scorecard)
        copy_recipe(campaign.recipe_path, run.recipe)
        set_recipe_values(run.recipe, campaign.spec.recipe_values)
        # Its presence makes the directory a run.
        write_atomic(run.spec, dump_spec(campaign.spec))


def _preparing(run: RunPaths) -> FileLock:
    """Lineages of one run begin side by side; one of them prepares, the others wait."""
    return FileLock(run.prepare_lock)


def _check_existing(campaign: Campaign, run: RunPaths, may_exist: bool) -> None:
    if not may_exist:
        raise InputError(
            "there is a run of this name already",
            file=run.root,
            mend=f"{run.resuming()} goes on with it; `--set name=...` begins another",
        )
    if run.spec.read_text(encoding="utf-8") != dump_spec(campaign.spec):
        raise InputError(
            "the run that is there was begun with another campaign file, profile or --set",
            file=run.spec,
            mend=f"{run.resuming()} goes on with it as it is; `--set name=...` begins another",
        )


def prepare_data(run: RunPaths, spec: CampaignSpec, observer: Observer, *, again: bool = False) -> None:
    """Build the data set and the reference values, and record every protected file. Raises PausedError.

    `again`: as `build_data` has it.
    """
    with _preparing(run):
        build_data(run, spec, observer, again=again)
        if not run.protected.exists():
            write_modules(run.modules)
            problems = check_manifest(run.data)
            if problems:
                raise PausedError(f"the data set does not match its manifest: {problems[0]}")
            write_json(run.protected, hash_protected(run.root))


def write_modules(folder: Path) -> None:
    """Copy what recipes import of the toolkit, for the candidates' containers, and make an empty folder."""
    (folder / "nothing").mkdir(parents=True, exist_ok=True)
    (folder / "mlipilot").mkdir(exist_ok=True)
    for name in ("__init__.py", "handover.py", "checkpoint.py"):
        if not (folder / "mlipilot" / name).exists():
            write_atomic(folder / "mlipilot" / name, (PACKAGE / name).read_bytes())


def build_data(run: RunPaths, spec: CampaignSpec, observer: Observer, *, again: bool = False) -> None:
    """Build what is missing of the data set and the reference values; nobody else may at the same time.

    `again`: the data of an earlier run, by the salt that `spec` has or without one. Else a data set that is
    drawn with a salt gets that of the run that is replayed, or one of its own.
    """
    if not is_finished(run.data):
        for leftover in run.root.glob(f".{run.data.name}.*"):  # of a build that was killed
            shutil.rmtree(leftover)
        observer.event(f"building the data set {spec.dataset.name}")
        dataset = DATASETS[spec.dataset.name]
        options = dataset.options.model_validate(spec.dataset.options)
        if not again and getattr(options, "salt", 0) is None:
            drawn = secrets.randbelow(SALTS) if spec.pilot.replay is None else salt_of(spec.pilot.replay)
            options = options.model_copy(update={"salt": drawn})
        dataset.build(options, run.data, observer.data_progress)
    settings = load_scorecard(run.scorecard).settings_for(spec.profile)
    if settings.system == "crystal" and not _has_reference(run):
        from mlipilot.evaluation import reference  # heavy: not before it is needed

        observer.event("computing the reference values")
        reference.write(settings, run.data / REFERENCE_FILE)
        for path in run.data.iterdir():  # of a kill while the values or their manifest were written
            if staged_for(path) in (run.data / REFERENCE_FILE, run.data / MANIFEST):
                path.unlink()
        write_manifest(run.data)


def salt_of(run: Path) -> int | None:
    """What the data of a run were drawn with; None where there was no salt. Raises InputError."""
    salt: int | None = read_provenance(RunPaths(run).data).get("options", {}).get("salt")
    return salt


def _has_reference(run: RunPaths) -> bool:
    """Whether the reference values are sealed: a file that a kill left before that is written again."""
    try:
        return REFERENCE_FILE in read_manifest(run.data)
    except ValueError:
        return True  # a damaged manifest is not to be written anew: whoever checks it names its line


def check_image(run: RunPaths) -> None:
    """Raises InputError outside the image that the run's jobs use: jobs are told this Python's path."""
    if not run.image_digest.exists():
        return
    if os.environ.get(IMAGE_DIGEST) != run.image_digest.read_text(encoding="utf-8").strip():
        raise InputError(
            "this run goes on inside its image, and this is not inside it",
            file=run.root,
            mend=f"{run.resuming()} goes on",
        )


def starting(run: RunPaths, spec: CampaignSpec, lineage: int, session: Resumed) -> CampaignStarted:
    """How a lineage begins: every digest that the run stands on. `session`: where its controller is."""
    return CampaignStarted(
        **session.model_dump(exclude_unset=True),
        lineage=lineage,
        campaign=spec.name,
        profile=spec.profile,
        pilot=spec.pilot.label,
        backend=spec.jobs.backend,
        spec_sha256=sha256_file(run.spec),
        scorecard_sha256=sha256_file(run.scorecard),
        recipe_digest=tree_digest(run.recipe),
        data_manifest_sha256=sha256_file(run.data / MANIFEST),
        protected_sha256=sha256_file(run.protected),
        prompts_digest=prompts_digest(),
        versions=versions(),
        image_sha256=os.environ.get(IMAGE_DIGEST),
    )
