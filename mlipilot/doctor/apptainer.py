"""Apptainer and the image that a campaign's jobs run in."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from mlipilot.audit.files import sha256_file
from mlipilot.doctor.check import Check, failed, ok, warning
from mlipilot.doctor.site import Site, how_to_get
from mlipilot.errors import InputError
from mlipilot.jobs.container_commands import find_program
from mlipilot.paths import RunPaths
from mlipilot.programs import ask
from mlipilot.yaml_io import load_yaml

_BUILD = "containers/build.sh"
_TOO_OLD = (
    "too old for the isolation that jobs need: ask the site for Apptainer 1.2, SingularityCE 3.11 or later"
)


def check_apptainer(site: Site) -> Check:
    """Whether it, or SingularityCE, is here, and its version."""
    program = find_program()
    answer = ask([program, "--version"])
    if answer.status is None:
        return failed("apptainer", answer.words, how_to_get("apptainer", site))
    if not answer.ok:
        return failed("apptainer", answer.words, f"`{program} --version` must work here: ask the site")
    said = answer.stdout.strip().removeprefix("apptainer version ")
    # It can leave out the site's own binds since 3.11; Singularity of former makers ended before that.
    version = re.match(r"singularity(?:-ce)? version (\d+)\.(\d+)", said)
    if version and (int(version[1]), int(version[2])) < (3, 11):
        return failed("apptainer", said, _TOO_OLD)
    return ok("apptainer", said)


def check_python(python: str, *, needs_isolation: bool) -> Check:
    """Whether jobs can run without a container, on a site that has none."""
    answer = ask([python, "-c", "import mlipilot.jobs.worker"], timeout_s=120)
    if not answer.ok:
        mend = "MLIPILOT_PYTHON has to be a Python with MLIPilot; or unset it and set MLIPILOT_IMAGE"
        return failed("python", f"MLIPILOT_PYTHON {python}: {answer.words}", mend)
    found = (
        f"{python} runs the jobs without a container: their code sees this account's files and the network"
    )
    if needs_isolation:
        mend = "set MLIPILOT_IMAGE, or jobs.require_no_network: false"
        return failed("python", f"{found}, but jobs.require_no_network is true", mend)
    return warning("python", found, "where the site has Apptainer, set MLIPILOT_IMAGE")


def check_image(image: Path, run: Path | None, *, needs_cuda: bool) -> Check:
    """Whether the image is the one that was built, and the one that the run began with."""
    variant = "cuda" if needs_cuda else "cpu"
    build = f"`{_BUILD} image {variant}` builds containers/mlipilot-{variant}.sif: set MLIPILOT_IMAGE to it"
    if not image.is_file():
        return failed("image", f"there is no image at {image}", build)
    try:
        digest = sha256_file(image)
        records = _records(image, run)
    except (OSError, InputError) as error:
        return failed("image", f"{image}: {error}", build)
    for source, recorded in records.items():
        if recorded == digest:
            continue
        mend = "begin another run (--set name=…), or set MLIPILOT_IMAGE to the image that this one began with"
        if source.name == "images.lock":
            mend = f"someone changed it after it was built: build it again with `{_BUILD} image {variant}`"
        return failed("image", f"{image} has SHA-256 {digest}, but {source} says {recorded}", mend)
    held = " and ".join(str(source) for source in records)
    agreed = f"as {held} has it" if held else "which nothing has recorded yet: a run does when it begins"
    inspected = ask([find_program(), "inspect", "--json", "--labels", str(image)], timeout_s=60)
    if inspected.hung:
        return failed(
            "image", f"{image}: {inspected.words}", "`apptainer inspect` has to answer: ask the site"
        )
    labels = _labels(inspected.stdout)
    found = f"{image}, SHA-256 {digest}, {agreed}"
    if labels is None:
        return ok("image", found)
    if "mlipilot.version" not in labels:
        return warning("image", f"{found}; no label says that it holds MLIPilot", build)
    built = labels.get("mlipilot.variant")
    found = f"{found}; MLIPilot {labels['mlipilot.version']} ({built})"
    if needs_cuda and built != "cuda":
        return failed("image", f"{found}, but jobs.device is cuda", build)
    return ok("image", found)


def explain_start(words: str) -> str:
    """How to mend a container that does not start."""
    if "unknown flag" in words:
        return _TOO_OLD
    return (
        f"`{find_program()} exec IMAGE true` must work here: ask the site for user namespaces "
        "(sysctl user.max_user_namespaces) or the setuid package of Apptainer"
    )


def _records(image: Path, run: Path | None) -> dict[Path, str]:
    """The image's SHA-256 wherever it was written down, by file."""
    found: dict[Path, str] = {}
    of_run = RunPaths(run).image_digest if run else None
    if of_run is not None and of_run.is_file():
        found[of_run] = of_run.read_text(encoding="utf-8", errors="replace").strip()
    of_build = image.parent / "images.lock"
    if of_build.is_file():
        entries = load_yaml(of_build)
        for entry in entries.values() if isinstance(entries, dict) else ():
            if isinstance(entry, dict) and entry.get("file") == image.name and "sif_sha256" in entry:
                found[of_build] = str(entry["sif_sha256"])
    return found


def _labels(inspected: str) -> dict[str, Any] | None:
    """An image's labels, or None where they were not printed: without Apptainer, say."""
    try:
        labels = json.loads(inspected)["data"]["attributes"]["labels"]
    except (ValueError, KeyError, TypeError):
        return None
    return labels if isinstance(labels, dict) else None
