"""No two rounds of lineages share a training seed; a run that was begun otherwise goes on."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml.comments import CommentedMap

from mlipilot.campaign.seeds import check_seeds, seeds_of_round
from mlipilot.campaign.spec import dump_spec, load_campaign
from mlipilot.cli.app import app
from mlipilot.controller.planning import make_plan
from mlipilot.controller.prepare import create_run
from mlipilot.errors import InputError
from mlipilot.paths import RunPaths

CU_EMT = Path(__file__).resolve().parents[2] / "campaigns" / "cu_emt.yaml"
SHARED = "seeds=[31, 7, 1031]"


# Few last digits and few thousands, so that a collision is about as likely as none.
SEEDS = st.builds(lambda thousands, rest: 1000 * thousands + rest, st.integers(0, 6), st.integers(0, 9))


@given(seeds=st.lists(SEEDS, min_size=1, max_size=5, unique=True))
def test_seeds_are_refused_if_and_only_if_two_lineages_would_share_one(seeds: list[int]) -> None:
    # Two of them lie less than 7000 apart, so that ten rounds show every collision that there is.
    trained_with = [seed for number in range(10) for seed in seeds_of_round(seeds, number)]
    shares = len(set(trained_with)) < len(trained_with)
    try:
        check_seeds(seeds, CommentedMap(), Path("campaign.yaml"))
    except InputError:
        assert shares
    else:
        assert not shares


def test_the_error_names_file_line_values_and_mend(tmp_path: Path) -> None:
    path = tmp_path / "campaign.yaml"
    text = CU_EMT.read_text().replace("seeds: [31, 32]", "seeds: [31, 1031]")
    path.write_text(text.replace("../scorecards", str(CU_EMT.parents[1] / "scorecards")))
    line = text[: text.index("seeds: [31, 1031]")].count("\n") + 1
    with pytest.raises(InputError) as refused:
        make_plan(load_campaign(path))
    said = str(refused.value)
    assert refused.value.exit_status == 2 and said.startswith(f"{path}:{line}: 'seeds': 31 and 1031 would")
    assert "(value: [31, 1031])" in said and "mend: give seeds whose last three digits differ" in said


def test_what_set_brought_in_is_not_looked_for_in_the_file(tmp_path: Path) -> None:
    campaign, run = load_campaign(CU_EMT, None, [SHARED]), RunPaths(tmp_path / "runs" / "cu_emt")
    with pytest.raises(InputError, match=r"cu_emt\.yaml: 'seeds' by --set: 31 and 1031 .*\[31, 7, 1031\]"):
        create_run(campaign, run)
    assert not run.root.parent.exists()


@pytest.mark.parametrize("verb", ["run", "plan"])
def test_the_command_line_refuses_it_before_anything_is_written(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="31 and 1031"):
        app([verb, str(CU_EMT), "--set", SHARED], standalone_mode=False)
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_was_begun_with_a_common_seed_goes_on(tmp_path: Path) -> None:
    campaign, run = load_campaign(CU_EMT, None, [SHARED]), RunPaths(tmp_path / "cu_emt")
    run.root.mkdir()
    run.spec.write_text(dump_spec(campaign.spec))
    create_run(campaign, run, may_exist=True)
    assert campaign.spec.for_lineage(1).seeds == [1031, 1007, 2031]


@pytest.mark.parametrize("seed", [10**9 + 1, 2**32, 2**53, 2**63, 10**20])
def test_a_seed_that_no_generator_takes_is_refused(seed: int) -> None:
    with pytest.raises(InputError, match=rf"{seed} is too large for a seed .*\n.*up to 1000000000"):
        make_plan(load_campaign(CU_EMT, None, [f"seeds=[{seed}, 5]"]))


def test_the_largest_seed_fits_into_32_bits_in_every_lineage() -> None:
    check_seeds([10**9, 1], CommentedMap(), CU_EMT)
    assert max(seeds_of_round([10**9], 10**6)) < 2**31
