import subprocess
import sys

from mlipilot.evaluation.catalog import CATALOG, GROUPS


def test_a_metric_can_be_named_without_torch_ase_or_numpy() -> None:
    heavy = "{'torch', 'ase', 'mace', 'numpy', 'scipy'} & sys.modules.keys()"
    code = f"import sys, mlipilot.evaluation.runner; sys.exit(bool({heavy}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_metric_belongs_to_one_group_and_every_group_has_a_place_of_its_own() -> None:
    assert len([metric for group in GROUPS for metric in group.metrics]) == len(CATALOG)
    assert len({group.place for group in GROUPS}) == len({group.name for group in GROUPS}) == len(GROUPS)


def test_units_are_in_the_public_names() -> None:
    suffixes = {
        "meV/atom": "_mev_per_atom",
        "meV/Å": "_mev_per_a",
        "eV/Å": "_ev_per_a",
        "GPa": "_gpa",
        "Å": "_a",
        "%": "_percent",
        "eV": "_ev",
        "eV/atom": "_ev_per_atom",
        "meV": "_mev",
        "meV/atom/ps": "_mev_per_atom_per_ps",
        "atom·steps/s": "_atom_steps_per_s",
        "MiB": "_mib",
        "1/cm": "_per_cm",
    }
    for name, info in CATALOG.items():
        if info.unit != "1":
            assert name.endswith(suffixes[info.unit]), name
