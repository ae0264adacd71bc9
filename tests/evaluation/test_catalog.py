import re
import subprocess
import sys
import unicodedata

import pytest

from mlipilot.evaluation.catalog import CATALOG, GROUPS


def test_a_metric_can_be_named_without_torch_ase_or_numpy() -> None:
    heavy = "{'torch', 'ase', 'mace', 'numpy', 'scipy'} & sys.modules.keys()"
    code = f"import sys, mlipilot.evaluation.runner; sys.exit(bool({heavy}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_metric_belongs_to_one_group_and_every_group_has_a_place_of_its_own() -> None:
    assert len([metric for group in GROUPS for metric in group.metrics]) == len(CATALOG)
    assert len({group.place for group in GROUPS}) == len({group.name for group in GROUPS}) == len(GROUPS)


def _in_a_name(unit: str) -> str:
    """A unit as the ending of a name: what a new one is called follows from how it is written."""
    said = unit.removeprefix("1").replace("/", " per ").replace("%", "percent")
    plain = unicodedata.normalize("NFKD", said).encode("ascii", "replace").decode()  # Å is A and a ring
    return "_" + re.sub("[^a-z0-9]+", "_", plain.replace("A?", "A").lower()).strip("_")


@pytest.mark.parametrize(
    ("unit", "ending"),
    [
        ("meV/Å", "_mev_per_a"),
        ("meV/atom/ps", "_mev_per_atom_per_ps"),
        ("%", "_percent"),
        ("atom·steps/s", "_atom_steps_per_s"),
        ("1/cm", "_per_cm"),
        ("Å²/ps", "_a2_per_ps"),
    ],
)
def test_a_unit_has_one_form_in_names(unit: str, ending: str) -> None:
    assert _in_a_name(unit) == ending


def test_units_are_in_the_public_names() -> None:
    with_unit = {name: info.unit for name, info in CATALOG.items() if info.unit != "1"}
    assert {name: unit for name, unit in with_unit.items() if not name.endswith(_in_a_name(unit))} == {}
