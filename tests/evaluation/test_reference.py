import hashlib
import json
from pathlib import Path

import ase
import pytest

from mlipilot.errors import InputError
from mlipilot.evaluation import reference
from mlipilot.evaluation.metric_settings import REFERENCE_FILE, EvaluationSettings
from mlipilot.evaluation.metrics_file import percent_error
from mlipilot.evaluation.reference import ReferenceValues, settings_digest
from mlipilot.evaluation.scorecard import load_scorecard


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory, scorecard: Path) -> Path:
    path = tmp_path_factory.mktemp("reference") / REFERENCE_FILE
    assert reference.main(["--scorecard", str(scorecard), "--output", str(path)]) == 0
    return path


def test_values_kept_beside_the_data_come_back_exactly(kept: Path, settings: EvaluationSettings) -> None:
    values, source = reference.obtain(kept.parent, settings, lambda _: None)
    assert source == "file"
    assert values == reference.compute(settings)


def test_values_made_with_other_settings_are_not_used(
    kept: Path, settings: EvaluationSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = ReferenceValues.model_validate_json(kept.read_bytes())
    monkeypatch.setattr(reference, "compute", lambda _: fresh)
    other = settings.model_copy(update={"compression": settings.compression.model_copy(
        update={"neighbour_distance_a": 2.2})})  # fmt: skip
    said: list[str] = []
    assert reference.obtain(kept.parent, other, said.append)[1] == "computed"
    assert f"{kept}: it was made with other settings" in said[0]


@pytest.mark.parametrize("text", ["", "{}", '{"format": "mlipilot-reference/1", "rdf": [NaN]}'])
def test_a_file_that_is_not_readable_is_not_used(
    text: str, kept: Path, settings: EvaluationSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / REFERENCE_FILE).write_text(text)
    fresh = ReferenceValues.model_validate_json(kept.read_bytes())
    monkeypatch.setattr(reference, "compute", lambda _: fresh)
    assert reference.obtain(tmp_path, settings, lambda _: None)[1] == "computed"


def test_a_file_without_a_value_that_a_metric_declares_is_not_used(
    kept: Path, settings: EvaluationSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = json.loads(kept.read_text())
    fresh = ReferenceValues.model_validate(content)
    monkeypatch.setattr(reference, "compute", lambda _: fresh)
    for other in ({key: content[key] for key in content if key != "c44_gpa"}, content | {"c45_gpa": 1.0}):
        (tmp_path / REFERENCE_FILE).write_text(json.dumps(other))
        said: list[str] = []
        assert reference.obtain(tmp_path, settings, said.append)[1] == "computed"
        (odd,) = content.keys() ^ other.keys()
        assert said[0].startswith(
            f"reference computed afresh: {tmp_path / REFERENCE_FILE}: it lacks values that"
        )
        assert (
            f"or has others: {odd}\n  mend: write it anew with `python -m mlipilot.evaluation.ref" in said[0]
        )


def test_the_digest_follows_what_the_values_depend_on_and_nothing_else(settings: EvaluationSettings) -> None:
    def changed(group: str, **change: object) -> str:
        part = getattr(settings, group).model_copy(update=change)
        return settings_digest(settings.model_copy(update={group: part}))

    assert changed("throughput", rounds=99) == settings_digest(settings)
    assert changed("crystal", emt_asap_cutoff=True) != settings_digest(settings)
    assert changed("nve", temperatures_k=(700.0,)) != settings_digest(settings)


def test_a_wrong_scorecard_exits_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "reference.json"
    assert reference.main(["--scorecard", str(tmp_path / "no.yaml"), "--output", str(output)]) == 2
    assert "no such file" in capsys.readouterr().err


def test_percent_errors_are_relative_to_the_truth() -> None:
    assert percent_error(110.0, 100.0) == pytest.approx(10.0)
    assert percent_error(-90.0, -100.0) == pytest.approx(10.0)


def test_copper_keeps_the_digest_that_its_files_carry() -> None:
    """Sections that no reference value depends on leave it as it is: files made before them stay good."""
    card = load_scorecard(Path(__file__).parents[2] / "scorecards" / "cu_emt.yaml")
    smoke = card.settings_for("smoke")
    crystal = ["crystal", "lattice", "elasticity", "vacancy", "compression", "nve", "nvt", "phonons"]
    crystal += ["hot_forces", "energy_volume", "surfaces", "stacking_fault", "pair"]
    kept = ase.__version__ + json.dumps(
        {name: smoke.model_dump(mode="json")[name] for name in crystal}, separators=(",", ":")
    )
    assert settings_digest(smoke) == hashlib.sha256(kept.encode()).hexdigest()


def test_molecules_have_no_values_to_compute(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'molecules'"):
        reference.write(EvaluationSettings(system="molecules"), tmp_path / "reference.json")
