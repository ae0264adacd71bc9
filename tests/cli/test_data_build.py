"""`mlipilot data build` where something is there already, `data status`, and progress without a terminal."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from mlipilot.audit.files import sha256_file, tree_digest
from mlipilot.cli.app import app
from mlipilot.cli.console import ConsoleObserver
from mlipilot.datasets.qm7_b3lyp.qm7_options import Qm7B3lypOptions
from mlipilot.datasets.qm7_b3lyp.work import lay_out, write_frames
from mlipilot.errors import InputError
from mlipilot_labels.records import without_geometry
from tests.datasets.qm7_b3lyp.conftest import frame, molecule


def _data(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["data", *map(str, arguments)])


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("built") / "data"
    done = _data("build", "qm7_b3lyp", "--output", out, "--json")
    told = json.loads(done.stdout)
    assert told["was_there"] is False and told["without_label"] == []
    assert "stands in for QM7" in told["molecules_are"]
    return out


def test_what_is_there_and_was_asked_for_is_kept_and_said(shipped: Path) -> None:
    before = tree_digest(shipped)
    done = _data("build", "qm7_b3lyp", "--output", shipped)
    assert done.exit_code == 0
    assert "it was there" in done.stdout and "stands in for QM7" in done.stdout
    assert tree_digest(shipped) == before


@pytest.mark.parametrize("lay_out_only", [False, True])
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["qm7_b3lyp", "--set", "source=embedded"], 'source is "shipped" there, "embedded" is asked for'),
        (["qm7_b3lyp", "--qm7", "qm7.mat"], 'source is "shipped" there, "qm7" is asked for'),
        (["qm7_b3lyp", "--qm7", "nowhere.mat"], "nowhere.mat: there is no such file"),
        (["cu_emt", "--seed", "3"], 'dataset is "qm7_b3lyp" there, "cu_emt" is asked for'),
    ],
)
def test_another_set_in_the_same_place_is_refused(
    shipped: Path,
    arguments: list[str],
    said: str,
    lay_out_only: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("qm7.mat").write_bytes(b"anything")
    if "qm7.mat" in arguments:
        arguments = [*arguments, "--set", f"qm7_sha256={sha256_file(Path('qm7.mat'))}"]
    if lay_out_only and arguments[0] == "qm7_b3lyp":
        arguments = [*arguments, "--lay-out"]
    before = tree_digest(shipped)
    found = _data("build", *arguments, "--output", shipped).exception
    assert isinstance(found, InputError)
    assert said in str(found)
    assert tree_digest(shipped) == before
    assert [path.name for path in shipped.parent.iterdir()] == ["data"]


def test_nothing_is_laid_out_for_a_directory_that_cannot_be_built(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    found = _data(
        "build", "qm7_b3lyp", "--set", "source=embedded", "--lay-out", "--output", tmp_path / "data"
    )
    assert isinstance(found.exception, InputError)
    assert "the directory exists" in str(found.exception)
    assert not (tmp_path / "data.labels").exists()


def test_status_says_what_is_left_and_what_has_no_label(tmp_path: Path) -> None:
    several, none = molecule("m", 6, 6), molecule("none", 6, 6)
    later = molecule("later", 6, 6)
    plan = lay_out(tmp_path, Qm7B3lypOptions(source="embedded", shards=1), [several, none, later])
    slow = frame("m", 0).model_copy(update={"numbers": several.numbers})
    cost = plan.seconds(several) / plan.sampling.geometries
    slow = slow.model_copy(update={"label": slow.label | {"device": "cpu", "cpu_seconds": 3600 * cost}})
    write_frames(tmp_path, 0, several, [slow, frame("m", 1, labelled=False)])
    write_frames(tmp_path, 0, none, [without_geometry(none, "fails with GFN2-xTB: no SCF")])
    told = json.loads(_data("status", tmp_path, "--json").stdout)
    assert (told["molecules_done"], told["molecules"], told["unfinished_shards"]) == (2, 3, [0])
    assert told["core_hours_left"] == pytest.approx(plan.seconds(later))
    assert told["without_label"] == ["m 1: not_converged", "none 0: failed (fails with GFN2-xTB: no SCF)"]
    words = " ".join(_data("status", tmp_path).stdout.split())
    assert "core-hours left" in words and "without a label, and never used: 2 geometries" in words
    assert "none 0: failed (fails with GFN2-xTB: no SCF)" in words


def test_without_a_terminal_a_builder_says_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    stream = io.StringIO()
    observer = ConsoleObserver(Console(file=stream))
    for done in range(1001):
        now[0] += 1.0 if done <= 400 else 0.001
        observer.data_progress(done, 1000, f"about {1000 - done} s left")
    lines = stream.getvalue().splitlines()
    # each minute of the slow part, and each tenth; what takes less than five seconds is not worth a line
    assert [line.split(" ", 1)[1].split(" %")[0] for line in lines] == [
        *("6", "10", "16", "20", "26", "30", "36", "40")
    ]
    assert lines[0].endswith("6 %: about 941 s left")
