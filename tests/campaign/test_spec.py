"""Campaign files: profiles, overrides, and faults that name line and mend."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mlipilot.campaign.spec import dump_spec, load_campaign, load_locked
from mlipilot.errors import InputError
from mlipilot.evaluation.scorecard import Profile

REPOSITORY = Path(__file__).resolve().parents[2]
CU_EMT = REPOSITORY / "campaigns" / "cu_emt.yaml"
MINIMAL = f"""\
name: tiny
dataset:
  name: cu_emt
recipe: mace
scorecard: {REPOSITORY / "scorecards" / "cu_emt.yaml"}
pilot:
  kind: scripted
seeds: [1]
budget:
  iterations: 2
  optimizer_steps: 10
"""
IN_DOLLARS = "  optimizer_steps: 10\n  usd: 2.5\n"
PRICE = "usd_per_million_prompt_tokens: 2"


def _write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "campaign.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("profile", ["smoke", "full"])
def test_the_shipped_campaign_loads_in_both_profiles(profile: Profile) -> None:
    campaign = load_campaign(CU_EMT, profile)
    assert campaign.spec.profile == profile
    assert (campaign.recipe_path / "train.py").is_file()


def test_profile_then_override_win(tmp_path: Path) -> None:
    path = _write(tmp_path, MINIMAL + "profiles:\n  full:\n    budget: {iterations: 9}\n")
    assert load_campaign(path).spec.budget.iterations == 2
    assert load_campaign(path, "full").spec.budget.iterations == 9
    both = load_campaign(path, "full", ["budget.iterations=4", "seeds=[3, 5]"]).spec
    assert (both.budget.iterations, both.budget.optimizer_steps, both.seeds) == (4, 10, [3, 5])


def _with_pilots(tmp_path: Path, lines: str) -> Path:
    space = "space: {ema.decay: {choices: [0.0, 0.9]}}\n"
    return _write(tmp_path, MINIMAL.replace("pilot:\n  kind: scripted\n", lines) + space)


def test_a_pilot_may_be_named(tmp_path: Path) -> None:
    path = _with_pilots(tmp_path, "pilot: gpt-4.1\n")
    pilot = load_campaign(path).spec.pilot
    assert (pilot.label, pilot.kind, pilot.model) == ("gpt-4.1", "openai", "gpt-4.1")
    assert load_campaign(path, None, ["pilot=tpe"]).spec.pilot.kind == "tpe"
    assert load_campaign(path, None, ["pilot.temperature=0.2"]).spec.pilot.temperature == 0.2


def test_lineages_take_the_pilots_in_turn_on_the_same_seeds(tmp_path: Path) -> None:
    path = _with_pilots(tmp_path, "pilots: [tpe, {kind: random, name: dice}]\n")
    spec = load_campaign(path).spec
    taken = [(lineage.pilot.label, lineage.seeds) for lineage in map(spec.for_lineage, range(4))]
    assert taken == [("tpe", [1]), ("dice", [1]), ("tpe", [1001]), ("dice", [1001])]
    locked = tmp_path / "campaign.lock.yaml"
    locked.write_text(dump_spec(spec))
    assert load_locked(locked) == spec


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (
            "pilot: mistral-24\n",
            r"campaign\.yaml:6: there is no pilot named[\s\S]*did you mean 'mistral-24b'",
        ),
        ("pilots: [tpe, nobody]\n", r"campaign\.yaml:6: there is no pilot named 'nobody'[\s\S]*scripted"),
        ("pilot: tpe\npilots: [random]\n", "give either pilot or pilots"),
    ],
)
def test_a_pilot_that_cannot_be_is_named(tmp_path: Path, lines: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        load_campaign(_with_pilots(tmp_path, lines))


def test_an_override_may_be_what_makes_a_file_right(tmp_path: Path) -> None:
    text = MINIMAL + "jobs: {require_no_network: true, isolation: none}\nprofiles: {smoke: {}, full: {}}\n"
    path = _write(tmp_path, text)
    with pytest.raises(InputError, match="plain processes cannot be kept from it, isolation: auto may"):
        load_campaign(path)
    spec = load_campaign(path, overrides=["jobs.backend=slurm"]).spec
    assert spec.jobs.require_no_network and spec.jobs.backend == "slurm"


def test_the_locked_spec_reads_back(tmp_path: Path) -> None:
    spec = load_campaign(CU_EMT, "full").spec
    (tmp_path / "lock.yaml").write_text(dump_spec(spec))
    assert load_locked(tmp_path / "lock.yaml") == spec


def test_a_run_from_before_machine_time_was_bound_has_no_bound(tmp_path: Path) -> None:
    spec = load_campaign(CU_EMT).spec
    assert spec.budget.training_seconds_over_baseline == 4.0
    text = dump_spec(spec).replace("  training_seconds_over_baseline: 4.0\n", "")
    assert text != dump_spec(spec)
    (tmp_path / "lock.yaml").write_text(text)
    assert load_locked(tmp_path / "lock.yaml").budget.training_seconds_over_baseline is None


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (("seeds: [1]", "seeds: [1, 1]"), [":8:", "distinct"]),
        (("iterations: 2", "iteratoins: 2"), [":10:", "iteratoins", "did you mean 'iterations'"]),
        (("optimizer_steps: 10", "optimizer_steps: many"), [":11:", "'many'"]),
        (("recipe: mace", "recipe: maze"), ["maze", "did you mean 'mace'"]),
        (("name: cu_emt", "name: cu_emd"), ["cu_emd", "did you mean 'cu_emt'"]),
        (("name: cu_emt", "name: cu_emt\n  options: {trian: 5}"), [":4:", "trian", "did you mean 'train'"]),
        (("kind: scripted", "kind: oracle"), [":7:", "'oracle'"]),
        (("name: tiny", "name: ../escape"), [":1:", "../escape"]),
        (("cu_emt.yaml", "cu_emtt.yaml"), ["no such file", "did you mean", "cu_emt.yaml"]),
    ],
)
def test_faults_name_line_value_and_mend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: tuple[str, str], parts: list[str]
) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    path = _write(tmp_path, MINIMAL.replace(*change, 1))
    with pytest.raises(InputError) as caught:
        load_campaign(path)
    for part in parts:
        assert part in str(caught.value), str(caught.value)


def test_a_fault_in_a_profile_that_is_not_chosen_is_found_on_its_line(tmp_path: Path) -> None:
    path = _write(tmp_path, MINIMAL + "profiles:\n  full:\n    budget: {iterations: none}\n")
    with pytest.raises(InputError, match=r":14: .*iterations"):
        load_campaign(path, None)


def test_an_unknown_metric_in_the_scorecard_is_named(tmp_path: Path) -> None:
    card = (REPOSITORY / "scorecards" / "cu_emt.yaml").read_text()
    (tmp_path / "card.yaml").write_text(card.replace("force_mae_mev_per_a", "force_mea_mev_per_a", 1))
    path = _write(tmp_path, MINIMAL.replace(str(REPOSITORY / "scorecards" / "cu_emt.yaml"), "card.yaml"))
    with pytest.raises(
        InputError, match=r"card\.yaml:\d+: .*unknown metric; did you mean 'force_mae_mev_per_a'"
    ):
        load_campaign(path)


@pytest.mark.parametrize(
    ("override", "shown"),
    [
        ("budget.iterations", "'budget.iterations'"),
        ("=3", "'=3'"),
        ("budget..x=1", "'budget..x=1'"),
        ("name.x=1", "name.x"),
        ("seeds=[1", "seeds"),
    ],
)
def test_bad_overrides_are_named(override: str, shown: str) -> None:
    with pytest.raises(InputError, match=rf"--set {re.escape(shown)}: .*\n  mend: give "):
        load_campaign(CU_EMT, None, [override])


def test_an_unknown_key_by_override_is_named() -> None:
    with pytest.raises(InputError, match=r"budget\.iteration"):
        load_campaign(CU_EMT, None, ["budget.iteration=3"])


def test_a_name_that_no_directory_can_have_is_refused_with_what_it_may_hold() -> None:
    with pytest.raises(InputError, match=r"'name'.*'Qwen/Qwen3'") as fault:
        load_campaign(CU_EMT, None, ["name=Qwen/Qwen3"])
    assert "mend: name: lower-case letters, digits, _ and -" in str(fault.value)


def test_a_missing_profile_lists_the_others(tmp_path: Path) -> None:
    path = _write(tmp_path, MINIMAL + "profiles:\n  full: {}\n")
    with pytest.raises(InputError, match=r"no profile .smoke.*\n.*full"):
        load_campaign(path, "smoke")


def test_a_run_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    spec = dump_spec(load_campaign(CU_EMT).spec).replace("format: 1", "format: 2\nnovelty: yes")
    (tmp_path / "lock.yaml").write_text(spec)
    with pytest.raises(InputError, match="newer version"):
        load_locked(tmp_path / "lock.yaml")


def _recorded(tmp_path: Path, lines: str) -> Path:
    """A run as far as a campaign that replays it looks: its resolved spec."""
    (tmp_path / "recorded").mkdir()
    spec = load_campaign(_with_pilots(tmp_path, lines)).spec
    (tmp_path / "recorded" / "campaign.lock.yaml").write_text(dump_spec(spec))
    return tmp_path / "recorded"


def test_a_replay_has_the_pilots_of_its_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = "{kind: openai, model: m, max_tokens: 99, base_url: http://a/v1, reviewer: false}"
    run = _recorded(tmp_path, f"pilots: [{own}, tpe]\n")
    monkeypatch.chdir(tmp_path)
    for lines in ("pilot: {replay: recorded}\n", "pilots: [gpt-4.1, random]\n", "pilot: scripted\n"):
        spec = load_campaign(_with_pilots(tmp_path, lines), None, ["pilot.replay=recorded"]).spec
        first, second = spec.for_lineage(0).pilot, spec.for_lineage(3).pilot
        assert (first.model, first.max_tokens, first.reviewer, first.replay) == ("m", 99, False, run)
        assert (second.kind, second.replay) == ("tpe", run)
        assert (first.label, second.label) == ("replay of openai", "replay of tpe")
        (tmp_path / "again.yaml").write_text(dump_spec(spec))
        assert load_locked(tmp_path / "again.yaml") == spec


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ("pilot: {replay: nowhere}\n", r"campaign\.yaml:6: 'pilot.replay': there is no run in /\S*/nowhere"),
        ("pilot:\n  replay: recorded\n  modle: x\n", r"campaign\.yaml:8: unknown key 'pilot\.modle'"),
        (
            "pilot: {replay: recorded}\npilots: [tpe, random]\n",
            r":6: 'pilot.replay': the campaign lists 2 pilots, and \S+recorded has 1[\s\S]*mend: leave",
        ),
        (
            "pilots: [tpe, {replay: recorded}]\n",
            r":6: a replay stands for all pilots of its run[\s\S]*`pilot: \{replay: recorded\}`",
        ),
    ],
)
def test_a_replay_that_cannot_be_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: str, says: str
) -> None:
    _recorded(tmp_path, "pilot: tpe\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=says):
        load_campaign(_with_pilots(tmp_path, lines))


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (
            "pilot: gpt-4.1\n",
            r"set usd_per_million_prompt_tokens and usd_per_million_completion_tokens of 'pilot'",
        ),
        ("pilots: [tpe, gpt-4.1]\n", r"the gpt-4\.1 pilot has no prices[\s\S]*of 'pilots\[1\]'"),
        (f"pilot: {{kind: openai, {PRICE}, reviewer: false, analyst: false}}\n", None),
        (f"pilot: {{kind: openai, model: m, reviewer: {{{PRICE}}}}}\n", None),
        (f"pilot: {{kind: scripted, reviewer: {{{PRICE}}}}}\n", None),
        ("pilots: [tpe, random]\n", None),
    ],
)
def test_a_budget_in_dollars_needs_a_price_where_a_language_model_is_asked(
    tmp_path: Path, lines: str, says: str | None
) -> None:
    path = _with_pilots(tmp_path, lines)
    path.write_text(path.read_text().replace("  optimizer_steps: 10\n", IN_DOLLARS))
    if says is None:
        assert load_campaign(path).spec.budget.usd == 2.5
        return
    with pytest.raises(InputError, match=rf"yaml:\d+: 'budget\.usd' is never used up[\s\S]*{says}"):
        load_campaign(path)
