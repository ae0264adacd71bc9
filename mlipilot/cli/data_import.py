"""`mlipilot data import`: a data set out of a user's own labelled structures."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from mlipilot.audit.files import sha256_file
from mlipilot.audit.manifest import MANIFEST
from mlipilot.cli.console import few_lines, say, stdout
from mlipilot.cli.types import AsJson, checked_name, path_argument, path_option, print_json

if TYPE_CHECKING:
    from mlipilot.datasets.imported.importing import Import


def import_(
    files: Annotated[list[Path], path_argument(metavar="FILES…", help="Any format that ASE reads.")],
    name: Annotated[str, typer.Option(help="What to call the data set.")],
    energy_key: Annotated[str, typer.Option(help="Of the whole structure's energy.")] = "energy",
    forces_key: Annotated[str, typer.Option(help="Of the forces.")] = "forces",
    stress_key: Annotated[str | None, typer.Option(help="Of the stress, where there is one.")] = None,
    group_key: Annotated[
        str | None,
        typer.Option(
            help="Frames that agree in it share a split; without it, formulas or stretches of them do."
        ),
    ] = None,
    energy_unit: Annotated[
        str, typer.Option(help="eV, meV, Hartree, Ry, kcal/mol or kJ/mol; /atom behind it where it is.")
    ] = "eV",
    forces_unit: Annotated[str, typer.Option(help="Such as eV/A, Hartree/Bohr or kcal/mol/A.")] = "eV/A",
    stress_unit: Annotated[str, typer.Option(help="eV/A^3, GPa or kbar; tension is positive.")] = "eV/A^3",
    drop_outliers: Annotated[
        bool, typer.Option("--drop-outliers", help="Leave out what is reported.")
    ] = False,
    seed: Annotated[
        int, typer.Option(min=0, help="Of the split: who goes where among groups of one size.")
    ] = 2026,
    output: Annotated[Path | None, path_option(help="Where to; data/NAME if not given.")] = None,
    as_json: AsJson = False,
) -> None:
    """Check labelled structures, split them by group, and seal them as a campaign's data set."""
    from mlipilot.datasets.imported.frame_files import Labels
    from mlipilot.datasets.imported.importing import import_files

    checked_name(name, "--name")
    labels = Labels(energy_key, forces_key, stress_key, group_key, energy_unit, forces_unit, stress_unit)
    target = (output or Path("data") / name).resolve()
    found = import_files(files, labels, name, target, seed, drop_outliers)
    digest = sha256_file(target / MANIFEST)
    if as_json:
        told: dict[str, Any] = asdict(found)
        print_json({"name": name, "path": str(target), "manifest_sha256": digest} | told)
        return
    stdout.print(_table(found))
    for line in _words(found):
        say(line)
    say(f"{target}\nmanifest SHA-256 {digest}")


def _table(found: Import) -> Table:
    table = Table("split", "frames", "groups", title=f"split by {found.split_by}")
    for split, frames in found.frames.items():
        table.add_row(split, str(frames), str(len(found.groups[split])))
    return table


def _words(found: Import) -> list[str]:
    said = [f"WARNING: {line}" for line in found.warnings]
    said.append(f"elements: {', '.join(found.elements)}")
    slope, pairs = found.consistency.slope, found.consistency.pairs
    if slope is not None:
        said.append(f"energies follow the forces: ΔE is {slope:.3f} times −F·Δx over {pairs} pairs of frames")
    if found.isolated_atom_ev:
        listed = ", ".join(f"{symbol} {energy:.6g}" for symbol, energy in found.isolated_atom_ev.items())
        said.append(f"isolated atoms, in no split (eV): {listed}")
    left = "left out" if found.outliers_left_out else "kept; --drop-outliers leaves them out"
    for what, listed_ in (
        (f"doubles, left out: {len(found.doubles)}", found.doubles),
        (f"outliers, {left}: {len(found.outliers)}", found.outliers),
    ):
        said += [what, *few_lines(listed_, "provenance.json")]
    return said
