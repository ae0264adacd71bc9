"""Files to start a campaign from, for an imported data set: campaign, sbatch file and scorecard."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from mlipilot.audit.files import sha256_file, write_atomic
from mlipilot.audit.manifest import MANIFEST
from mlipilot.campaign.spec import load_campaign
from mlipilot.datasets.base import check_sealed, read_provenance
from mlipilot.errors import InputError

FINITE_DIFFERENCE = {
    "crystal": (0.1, "forces must be the gradient of the energy"),
    "molecules": (1.0, "forces must be the gradient of the energy; stiff bonds leave 0.1 by the finite step"),
}
"""The gate, in meV/Å, and its reason, as in the scorecards cu_emt and qm7_b3lyp."""
STIFF = {"H", "B", "C", "N", "O", "F"}
"""Elements whose bonds are stiff in a crystal, too."""
LEAST_BOUND = 1.0
"""Of the errors, in meV/atom and meV/Å: where labels hardly vary, or nothing says by how much."""
SBATCH = Path("campaigns/cu_emt.sbatch")
"""What the sbatch file is made after, the site's own block included."""


def write_start(name: str, data: Path, root: Path) -> list[Path]:
    """Write the files below `root`, the repository's directory, and return their paths, relative to it.

    Where `root` has no `SBATCH`, the sbatch file is not among them.
    Raises InputError for a directory that is no imported data set, and for a file that is there already:
    then nothing is written.
    """
    provenance = _provenance(data)
    found = provenance["found"]
    force_rms_mev_per_a, energy_spread_mev_per_atom = _scales(data / "train" / "train.xyz")
    energy_bound = LEAST_BOUND if energy_spread_mev_per_atom is None else energy_spread_mev_per_atom / 10
    crystal = found["periodic"] and STIFF.isdisjoint(found["elements"])
    finite_difference_bound, finite_difference_why = FINITE_DIFFERENCE["crystal" if crystal else "molecules"]
    values = {
        "name": name,
        "frames": sum(found["frames"].values()),
        "elements": found["elements"],
        "isolated_atom_ev": json.dumps(found["isolated_atom_ev"]).replace('"', ""),
        "data": json.dumps(os.path.relpath(data, root / "campaigns")),  # quoted as YAML reads it
        "digest": sha256_file(data / MANIFEST),
        "energy_spread": energy_spread_mev_per_atom,
        "force_rms": force_rms_mev_per_a,
        "energy_bound": f"{max(energy_bound, LEAST_BOUND):.2g}",
        "finite_difference_bound": finite_difference_bound,
        "finite_difference_why": finite_difference_why,
        "force_bound": f"{max(force_rms_mev_per_a / 10, LEAST_BOUND):.2g}",
    }
    texts = {
        Path("scorecards") / f"{name}.yaml": _render("scorecard.yaml.j2", values),
        Path("campaigns") / f"{name}.yaml": _render("campaign.yaml.j2", values),
    }
    if (root / SBATCH).is_file():
        sbatch = (root / SBATCH).read_text(encoding="utf-8").replace("Cu EMT", name).replace("cu_emt", name)
        texts[Path("campaigns") / f"{name}.sbatch"] = sbatch
    for path in texts:
        if (root / path).exists():
            raise InputError("it exists", file=root / path, mend="give another NAME, or remove it")
    for path, text in texts.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        write_atomic(root / path, text)
    load_campaign(root / "campaigns" / f"{name}.yaml")  # what is written here can be run
    return list(texts)


def _provenance(data: Path) -> dict[str, Any]:
    check_sealed(data)
    provenance = read_provenance(data)
    if provenance.get("dataset") != "imported":
        raise InputError(
            f"this is the data set {provenance.get('dataset')}, which was not imported",
            file=data,
            mend="name it in a campaign: `dataset: {name: ...}`",
        )
    return provenance


def _scales(train: Path) -> tuple[float, float | None]:
    """Root mean square of the forces (meV/Å), and of the energies around their formula's mean (meV/atom).

    The latter is None where no formula has two frames.
    """
    from ase.io import read  # heavy, and not needed to read a campaign

    forces, energies = [], defaultdict(list)
    for atoms in read(train, index=":"):
        forces.append(atoms.arrays["REF_forces"])
        energies[atoms.get_chemical_formula()].append(atoms.info["REF_energy"] / len(atoms))
    force_rms_mev_per_a = 1000 * float(np.sqrt(np.mean(np.concatenate(forces) ** 2)))
    around = [np.array(values) - np.mean(values) for values in energies.values() if len(values) > 1]
    if not around:
        return force_rms_mev_per_a, None
    return force_rms_mev_per_a, 1000 * float(np.sqrt(np.mean(np.concatenate(around) ** 2)))


def _render(template: str, values: dict[str, Any]) -> str:
    environment = Environment(
        loader=PackageLoader("mlipilot.campaign"),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - YAML of values that are ours
    )
    return environment.get_template(template).render(values)
