"""Which checks a campaign needs, and in what order they are made."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mlipilot.campaign.spec import CampaignSpec
from mlipilot.doctor.apptainer import check_apptainer, check_image, check_python
from mlipilot.doctor.check import Check, skipped
from mlipilot.doctor.endpoint_checks import check_endpoints
from mlipilot.doctor.filesystem import check_filesystem
from mlipilot.doctor.filesystem_probe import nearest
from mlipilot.doctor.gpu import check_any_gpu, check_gpu_in_image, check_gpu_of_local_jobs
from mlipilot.doctor.isolation import check_isolation, check_sandbox
from mlipilot.doctor.site import Site
from mlipilot.doctor.slurm import check_slurm
from mlipilot.paths import RunPaths

_ON_SLURM = "`--set jobs.backend=slurm` looks at what the campaign's sbatch file would need"


def examine(spec: CampaignSpec | None, runs: Path, site: Site) -> Iterator[Check]:
    """Each check as it is made. Without a campaign only the filesystem can fail: nothing else is needed.

    `runs` is where runs lie; a campaign's is in a directory of its name.
    """
    on_slurm = spec is not None and spec.jobs.backend == "slurm"
    is_writable = True
    for check in check_filesystem(runs, shared=on_slurm):
        is_writable = is_writable and check.status != "failed"
        yield check
    # Not touched again if it failed: the next one to do so may hang.
    directory = nearest(runs) if is_writable else None
    for check in _machine(spec, runs, directory, site):
        yield check if spec is not None else check.as_warning()


def _machine(spec: CampaignSpec | None, runs: Path, directory: Path | None, site: Site) -> Iterator[Check]:
    if spec is None:
        yield from check_slurm(site, None)
        yield from _containers(None, runs, directory, site)
        yield check_sandbox(None)
        yield check_any_gpu()
    elif spec.jobs.backend == "slurm":
        yield from check_slurm(site, spec.jobs)
        yield from _containers(spec, runs, directory, site)
    else:
        yield skipped("slurm", "not needed: jobs.backend is local", _ON_SLURM)
        yield skipped("apptainer", "not needed: jobs.backend is local", _ON_SLURM)
        yield check_sandbox(spec.jobs)
        if spec.jobs.device == "cuda":
            yield check_gpu_of_local_jobs()
        else:
            yield skipped("gpu", "not needed: jobs.device is cpu")
    published = RunPaths(runs / spec.name).endpoint if spec else None
    yield from check_endpoints((spec.pilots or [spec.pilot]) if spec else None, published)


def _containers(spec: CampaignSpec | None, runs: Path, directory: Path | None, site: Site) -> Iterator[Check]:
    """What jobs run in, what it keeps them from, and whether it sees a GPU."""
    jobs = spec.jobs if spec else None
    on_cuda = jobs is not None and jobs.device == "cuda"
    if site.image is None:
        yield check_python(site.python, needs_isolation=jobs is not None and jobs.require_no_network)
        return
    apptainer = check_apptainer(site)
    yield apptainer
    run = runs / spec.name if spec and directory else None
    image = check_image(site.image, run, needs_cuda=on_cuda)
    yield image
    if apptainer.status != "ok" or image.status == "failed" or directory is None:
        yield skipped(
            "isolation", "not tried: that needs Apptainer, a good image and a directory for the run"
        )
        return
    no_network = jobs is not None and jobs.require_no_network
    may_leak = jobs is not None and jobs.on_leak == "record"
    yield from check_isolation(site.image, directory, require_no_network=no_network, may_leak=may_leak)
    if on_cuda:
        yield check_gpu_in_image(site.image, directory)
    elif jobs is not None:
        yield skipped("gpu", "not needed: jobs.device is cpu")
