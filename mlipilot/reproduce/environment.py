"""What this environment has in common with the one that a run recorded."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from mlipilot import __version__
from mlipilot.audit.files import sha256_file
from mlipilot.audit.protected import differences, package_files
from mlipilot.controller.prepare import machine


@dataclass(frozen=True)
class Environment:
    """Where a reproduction runs, compared with where the run ran."""

    machine: str
    recorded_machine: str
    versions: dict[str, list[str]]
    """Of what differs in version: recorded, here."""
    toolkit_files: list[str]
    """The toolkit's own files that are not those that ran."""
    image_sha256: str | None
    inside_image: bool

    @property
    def is_the_same(self) -> bool:
        """Whether the processor's name and all recorded versions are those of the run."""
        return self.machine == self.recorded_machine and not self.versions


def compare_environment(
    started: Mapping[str, Any], protected: Mapping[str, str], *, inside_image: bool
) -> Environment:
    """This environment beside the one of `campaign_started`."""
    recorded = {
        "mlipilot": started.get("mlipilot"),
        "python": started.get("python"),
        **started.get("versions", {}),
    }
    here = {"mlipilot": __version__, "python": platform.python_version()}
    here |= {name: _version(name) for name in recorded.keys() - here.keys()}
    toolkit = {name: digest for name, digest in protected.items() if not name.startswith("run/")}
    return Environment(
        machine=machine(),
        recorded_machine=str(started.get("machine")),
        versions={n: [str(recorded[n]), here[n]] for n in sorted(recorded) if recorded[n] != here[n]},
        toolkit_files=differences(toolkit, {n: sha256_file(p) for n, p in package_files().items()}),
        image_sha256=started.get("image_sha256"),
        inside_image=inside_image,
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
