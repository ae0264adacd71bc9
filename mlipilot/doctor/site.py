"""The site's settings, from the variables that a campaign's sbatch file and its submitter read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mlipilot.errors import InputError
from mlipilot.programs import ask

_DEFAULT_IMAGE = "containers/mlipilot-cpu.sif"
_SITE_FILES = (Path("sbatch/site.sh"), Path("/etc/mlipilot/site.sh"))
_MOST = {"MINUTES": 1440, "CPUS": 64, "MEMORY_MIB": 262144, "GPUS": 8}


@dataclass(frozen=True)
class Site:
    """Where jobs go and what they run in; an empty string leaves it to the cluster."""

    image: Path | None
    """None: the site has no containers, and `python` runs the jobs."""
    python: str
    modules: str
    options: tuple[str, ...]
    """sbatch's for every job: partition, account, quality of service, constraint."""
    gres: str
    """`gpu`, `gpu:a100`, or an option of its own with %N for the number, such as `--gpus-per-node=%N`."""
    extra: Mapping[str, tuple[str, ...]]
    """Further words for sbatch, by template."""
    most: Mapping[str, int]
    """What the submitter lets one job ask for."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Site:
        """The site as the environment has it, with the defaults of the scripts. Raises InputError.

        Without one it is that of this process, and where that does not say, the site's file for all users.
        """
        if environment is None:
            environment = _site_file() | {name: value for name, value in os.environ.items() if value}

        def setting(name: str, default: str = "") -> str:
            return environment.get(f"MLIPILOT_{name}", "").strip() or default

        python = setting("PYTHON")
        image = setting("IMAGE", "" if python else _DEFAULT_IMAGE)
        of_all = {
            "partition": setting("GPU_PARTITION"),
            "account": setting("ACCOUNT"),
            "qos": setting("QOS"),
            "constraint": setting("CONSTRAINT"),
        }
        extra = {
            template: tuple(
                f"{setting('SBATCH_EXTRA')} {setting(f'SBATCH_EXTRA_{template.upper()}')}".split()
            )
            for template in ("train", "evaluate", "fused")
        }
        most = {}
        for name, default in _MOST.items():
            value = setting(f"MAX_{name}", str(default))
            if not (value.isascii() and value.isdigit()):
                raise InputError(
                    f"MLIPILOT_MAX_{name}={value!r} is not a whole number", mend="correct or unset it"
                )
            most[name.lower()] = int(value)
        return cls(
            image=Path(image).absolute() if image else None,
            python=python,
            modules=setting("MODULES"),
            options=tuple(f"--{name}={value}" for name, value in of_all.items() if value),
            gres=setting("GPU_GRES", "gpu"),
            extra=extra,
            most=most,
        )

    def sbatch_options(self, template: str, asked: Mapping[str, int]) -> list[str]:
        """The words with which the submitter asks for a job's place and size."""
        words = [f"--time={asked['minutes']}", f"--cpus-per-task={asked['cpus']}"]
        # Slurm takes one way of asking for memory, and the site's goes first.
        if not any(word.startswith("--mem-per-") for word in self.extra[template]):
            words.append(f"--mem={asked['memory_mib']}")
        if asked["gpus"]:
            gres = self.gres if self.gres.startswith("--") else f"--gres={self.gres}:%N"
            words.append(gres.replace("%N", str(asked["gpus"])))
        return [*words, *self.options, *self.extra[template]]


def _site_file() -> dict[str, str]:
    """The settings in the file that `sbatch/settings.sh` would read here, by its own shell."""
    path = next((path for path in _SITE_FILES if path.is_file()), None)
    if path is None:
        return {}
    said = ask(["bash", "-c", 'set -a; . "$0" >/dev/null 2>&1; env -0', str(path.absolute())])
    pairs = (entry.partition("=")[::2] for entry in said.stdout.split("\0"))
    return {name: value for name, value in pairs if name.startswith("MLIPILOT_") and value}


def how_to_get(program: str, site: Site) -> str:
    """What to do when a program of the host is missing."""
    if Path("/.singularity.d").is_dir():
        return f"an image holds no {program}: where the host has it, `sbatch/mlipilot doctor` asks there"
    if site.modules:
        return f"`module load {site.modules}` (MLIPILOT_MODULES), then run doctor again"
    return f"run doctor where {program} is, such as a login node, or load its module (MLIPILOT_MODULES)"
