"""Reference values by the same functions that measure a model, computed once and kept beside the data.

`python -m mlipilot.evaluation.reference --scorecard S --profile P --output FILE`
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import ase
from pydantic import ValidationError

from mlipilot.audit.files import write_json
from mlipilot.errors import InputError, MlipilotError
from mlipilot.evaluation.crystal import cubic_cell, reference_calculator
from mlipilot.evaluation.dynamics import run_nvt, steps_in, thermalised
from mlipilot.evaluation.metric_settings import REFERENCE_FILE, EvaluationSettings
from mlipilot.evaluation.metrics import compression, elasticity, nvt, vacancy
from mlipilot.evaluation.reference_values import ReferenceValues, Snapshot, settings_digest
from mlipilot.evaluation.scorecard import load_scorecard
from mlipilot.evaluation.subject import Subject


def compute(settings: EvaluationSettings) -> ReferenceValues:
    """All reference values; a few seconds of EMT for the smoke profile."""
    subject = Subject(reference_calculator(settings.crystal), settings)
    lattice = subject.lattice
    snapshots: dict[tuple[float, int], Snapshot] = {}

    def start(temperature_k: float, repeats: int) -> Snapshot:
        key = (temperature_k, repeats)
        if key not in snapshots:
            snapshots[key] = snapshot(subject, temperature_k, repeats)
        return snapshots[key]

    nvt_start = start(settings.nvt.temperature_k, settings.nvt.repeats)
    outcome, rdf = nvt.sampled_rdf(subject.calculator, settings, nvt_start)
    if outcome.broken:
        raise MlipilotError(f"the reference itself: {outcome.broken}")
    return ReferenceValues(
        settings_digest=settings_digest(settings),
        ase_version=ase.__version__,
        lattice_constant_a=lattice.lattice_constant_a,
        bulk_modulus_gpa=lattice.bulk_modulus_gpa,
        eos_volumes_a3_per_atom=lattice.volumes_a3_per_atom.tolist(),
        eos_energies_ev_per_atom=lattice.energies_ev_per_atom.tolist(),
        **elasticity.elastic_constants(subject)._asdict(),
        vacancy_formation_energy_ev=vacancy.formation_energy_ev(subject),
        compressed_pair_energy_ev_per_atom=compression.compressed_energy_ev_per_atom(subject),
        rdf=rdf.tolist(),
        nvt_start=nvt_start,
        nve_starts=[start(kelvin, settings.nve.repeats) for kelvin in settings.nve.temperatures_k],
    )


def snapshot(subject: Subject, temperature_k: float, repeats: int) -> Snapshot:
    """The subject's crystal after Langevin dynamics from ideal sites at twice the temperature."""
    settings = subject.settings
    constant = subject.lattice.lattice_constant_a
    atoms = thermalised(cubic_cell(settings.crystal, constant, repeats), 2 * temperature_k, settings.nve.seed)
    atoms.calc = subject.calculator
    nvt_settings = settings.nvt
    outcome = run_nvt(
        atoms,
        nvt_settings.timestep_fs,
        steps_in(nvt_settings.equilibration_ps, nvt_settings.timestep_fs),
        temperature_k,
        nvt_settings.friction_per_ps,
        nvt_settings.seed + 1,  # not the noise that the measured dynamics will see
        nvt_settings.limits,
        lambda _: None,
    )
    if outcome.broken:
        raise MlipilotError(f"the reference itself: {outcome.broken}")
    atoms.set_momenta(atoms.get_momenta() - atoms.get_momenta().mean(axis=0))
    return Snapshot.of(atoms, temperature_k, repeats, constant)


def obtain(
    data_dir: Path, settings: EvaluationSettings, progress: Callable[[str], None]
) -> tuple[ReferenceValues, str]:
    """The values beside the data when they were made with these settings, else computed; and which it was."""
    path = data_dir / REFERENCE_FILE
    if path.is_file():
        try:
            kept = ReferenceValues.model_validate_json(path.read_bytes())
        except ValidationError:
            progress(f"reference: {REFERENCE_FILE} is not readable; computing afresh")
        else:
            if kept.settings_digest == settings_digest(settings):
                return kept, "file"
            progress(f"reference: {REFERENCE_FILE} was made with other settings; computing afresh")
    return compute(settings), "computed"


def write(settings: EvaluationSettings, output: Path) -> ReferenceValues:
    """Compute the values and publish them as JSON in `output`. Raises InputError without a crystal."""
    if settings.system != "crystal":
        raise InputError(
            f"there are no values to compute where settings.system is {settings.system!r}",
            mend="the references of structures and molecules are files of the data set",
        )
    values = compute(settings)
    write_json(output, values.model_dump(mode="json"))
    return values


def main(arguments: list[str] | None = None) -> int:
    """The command line. Exit status 0, or 2 for bad input."""
    parser = argparse.ArgumentParser(prog="python -m mlipilot.evaluation.reference", description=__doc__)
    parser.add_argument("--scorecard", type=Path, required=True)
    parser.add_argument("--profile", choices=("smoke", "full"), default="smoke")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args(arguments)
    try:
        write(load_scorecard(options.scorecard).settings_for(options.profile), options.output)
    except MlipilotError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main())
