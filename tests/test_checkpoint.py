"""The checkpoint: all that a training has in its hands comes back to the last bit, or not at all."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader
from torch_ema import ExponentialMovingAverage

from mlipilot.checkpoint import DIRECTORY, INTERVAL_S, Batches, Checkpoint, _digest_of
from mlipilot.handover import weights_digest

STEPS = 23


class Shared(torch.nn.Module):
    """Two names for one tensor, a buffer of whole numbers, and noise in each step."""

    seen: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Linear(4, 4)
        self.second = torch.nn.Linear(4, 4)
        self.second.weight = self.first.weight
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))
        self.drop = torch.nn.Dropout(0.3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen += 1
        found: torch.Tensor = self.second(self.drop(torch.tanh(self.first(x))))
        return found


def _data() -> Any:
    return list(torch.randn(14, 4))


class Training:
    """A training with all that a recipe may have: an average, a scheduler, noise of three generators."""

    def __init__(self, identity: Any = "this one", optimiser: str = "AdamW") -> None:
        for seed in (torch.manual_seed, np.random.seed, random.seed):
            seed(1)
        self.model = Shared()
        kinds: dict[str, Any] = {"AdamW": {"amsgrad": True}, "SGD": {"momentum": 0.9}, "LBFGS": {}}
        self.adam = getattr(torch.optim, optimiser)(self.model.parameters(), lr=0.01, **kinds[optimiser])
        self.ema = ExponentialMovingAverage(self.model.parameters(), 0.9)
        self.scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(self.adam, STEPS)
        self.batches = Batches(DataLoader(_data(), batch_size=4, shuffle=True, drop_last=True))
        parts = {name: getattr(self, name) for name in ("model", "adam", "ema", "scheduler", "batches")}
        self.checkpoint = Checkpoint(identity, parts)

    def run(self, until: int = STEPS + 1, steps: int = STEPS) -> str:
        """The digest of the average in the end; a kill strikes before step `until`."""
        for step in self.checkpoint.steps(steps):
            if step == until:
                raise KeyboardInterrupt
            batch = next(self.batches)
            noise = np.random.normal() + random.gauss(0, 1)

            def loss(batch: torch.Tensor = batch, noise: float = noise) -> torch.Tensor:
                self.adam.zero_grad()
                value: torch.Tensor = ((self.model(batch) - noise) ** 2).mean()
                value.backward()  # type: ignore[no-untyped-call]
                return value

            self.adam.step(loss)
            self.ema.update()
            self.scheduler.step()
            self.checkpoint.notes.append([step, noise])
        with self.ema.average_parameters():
            return weights_digest(self.model.state_dict())


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where checkpoints are kept, after each step."""
    monkeypatch.setenv(DIRECTORY, str(tmp_path / "checkpoint"))
    monkeypatch.setenv(INTERVAL_S, "0")
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR2)]
    yield tmp_path / "checkpoint"
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR2)] == handlers


@pytest.fixture
def undisturbed(monkeypatch: pytest.MonkeyPatch) -> str:
    with monkeypatch.context() as patch:
        patch.delenv(DIRECTORY)
        return Training().run()


def _interrupted(until: int, **settings: Any) -> None:
    with pytest.raises(KeyboardInterrupt):
        Training(**settings).run(until)


@pytest.mark.slow
@pytest.mark.parametrize("optimiser", ["AdamW", "SGD", "LBFGS"])
def test_a_training_that_is_cut_short_anywhere_ends_with_the_same_bits(
    optimiser: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.delenv(DIRECTORY)
        undisturbed = Training(optimiser=optimiser).run()
    for until in (2, 3, 4, 7, 12, STEPS):
        _interrupted(until, optimiser=optimiser)
    again = Training(optimiser=optimiser)
    assert again.checkpoint.notes[-1][0] == STEPS - 1
    assert again.run() == undisturbed
    assert [step for step, _ in again.checkpoint.notes] == list(range(1, STEPS + 1))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_dtypes_come_back_as_they_were(dtype: torch.dtype) -> None:
    class Part:
        def __init__(self) -> None:
            self.held: Any = None

        def state_dict(self) -> dict[str, Any]:
            return {"held": self.held}

        def load_state_dict(self, state_dict: Any) -> None:
            self.held = state_dict["held"]

    tensor = torch.randn(3, 4).to(dtype)
    values = {1: (tensor, tensor.T, tensor[1]), "empty": torch.empty(0), "bits": torch.tensor([True, False])}
    said: list[Any] = [values, None, True, 3, 1e-300, float("inf"), "μ\n\x00", (), [], {}, 2**63]
    part = Part()
    part.held = said
    for _ in Checkpoint("x", {"part": part}).steps(2):
        pass
    again = Part()
    Checkpoint("x", {"part": again})
    assert repr(again.held) == repr(said)
    assert [t.dtype for t in again.held[0][1]] == [dtype] * 3
    assert torch.equal(again.held[0][1][1], tensor.T)


def test_elapsed_time_goes_on_without_what_was_lost() -> None:
    begun, first = time.monotonic(), Training()
    first.checkpoint._began -= 100
    with pytest.raises(KeyboardInterrupt):
        first.run(until=5)
    assert 100 <= Training().checkpoint.elapsed_s <= 100 + time.monotonic() - begun


def test_without_a_place_nothing_is_kept(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], undisturbed: str
) -> None:
    monkeypatch.delenv(DIRECTORY)
    assert Training().run() == undisturbed
    assert not place.exists() and capsys.readouterr() == ("", "")


def test_it_is_kept_as_often_as_it_was_asked_for(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(INTERVAL_S, "3600")
    assert Training().run() and not place.exists()


def test_keeping_it_takes_a_small_share_of_the_time(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system so slow that each takes longer than the interval has them kept more seldom."""
    clock, kept = [0.0], []
    monkeypatch.setenv(INTERVAL_S, "10")
    monkeypatch.setattr("mlipilot.checkpoint.time.monotonic", lambda: clock[0])

    def slowly(*_: Any) -> None:
        kept.append(clock[0])
        clock[0] += 1.0

    monkeypatch.setattr("mlipilot.checkpoint._write", slowly)
    for _ in Training().checkpoint.steps(300):
        clock[0] += 1.0
    assert kept == [10.0, 61.0, 112.0, 163.0, 214.0, 265.0]


def test_nothing_in_it_is_a_pickle_and_one_is_left(place: Path) -> None:
    Training().run()
    index = json.loads((place / "checkpoint.json").read_text())
    assert index["content"]["step"] == STEPS - 1
    tensors = index["content"]["tensors"]
    assert sorted(path.name for path in place.iterdir()) == sorted(["checkpoint.json", tensors])
    assert json.loads((place / tensors).read_bytes()[8:].split(b"}}")[0] + b"}}")


def _edited(place: Path, **changes: Any) -> None:
    """With a digest that fits, as only the candidate itself would write it."""
    path = place / "checkpoint.json"
    content = json.loads(path.read_text())["content"] | changes
    path.write_text(json.dumps({"content": content, "sha256": _digest_of(content)}))


def _tensors(place: Path) -> Path:
    (found,) = place.glob("*.safetensors")
    return found


def _half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


BROKEN: dict[str, Callable[[Path], object]] = {
    "index cut off": lambda place: _half(place / "checkpoint.json"),
    "index empty": lambda place: (place / "checkpoint.json").write_text(""),
    "index no JSON object": lambda place: (place / "checkpoint.json").write_text("[]"),
    "index changed": lambda place: (place / "checkpoint.json").write_text(
        (place / "checkpoint.json").read_text().replace('"step": 8', '"step": 7')
    ),
    "index nested": lambda place: (place / "checkpoint.json").write_text("[" * 99_999),
    "index a folder": lambda place: _folder(place / "checkpoint.json"),
    "tensors cut off": lambda place: _half(_tensors(place)),
    "tensors changed": lambda place: _flip(_tensors(place)),
    "tensors gone": lambda place: _tensors(place).unlink(),
    "no state": lambda place: _edited(place, state={"mapping": []}),
    "no step": lambda place: _edited(place, step=None, state=None),
    "an unknown tag": lambda place: _edited(place, state={"pickle": "gASVCg=="}),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_one_is_refused_and_leaves_no_trace(
    fault: str, place: Path, capsys: pytest.CaptureFixture[str], undisturbed: str
) -> None:
    _interrupted(9)
    BROKEN[fault](place)
    again = Training()
    assert "the checkpoint is not used, the training begins anew: " in capsys.readouterr().err
    assert again.checkpoint.notes == [] and again.run() == undisturbed


@pytest.mark.parametrize("lacks", ["model", "adam", "ema", "scheduler", "batches", "torch", "numpy"])
def test_one_whose_parts_do_not_fit_is_refused_as_a_whole(
    lacks: str, place: Path, capsys: pytest.CaptureFixture[str], undisturbed: str
) -> None:
    """Also where parts before that one were taken over already."""
    _interrupted(9)
    state = json.loads((place / "checkpoint.json").read_text())["content"]["state"]
    text = json.dumps(state).replace(f'["{lacks}", ', f'["{lacks}-of-another", ', 1)
    assert text != json.dumps(state)
    _edited(place, state=json.loads(text))
    assert Training().run() == undisturbed
    assert "not used" in capsys.readouterr().err


def test_one_of_another_training_is_refused(
    place: Path, capsys: pytest.CaptureFixture[str], undisturbed: str
) -> None:
    _interrupted(9, identity={"seed": 2})
    assert Training().run() == undisturbed
    assert (
        "it is of another training: recipe, seed, steps, data or versions differ" in capsys.readouterr().err
    )


def test_where_none_can_be_kept_the_training_goes_on(
    place: Path, capsys: pytest.CaptureFixture[str], undisturbed: str
) -> None:
    place.write_text("a file where the folder should be")
    assert Training().run() == undisturbed
    assert "no checkpoint of step 1 could be kept: FileExistsError" in capsys.readouterr().err


def test_a_part_that_cannot_be_kept_costs_the_checkpoint_only(
    place: Path, capsys: pytest.CaptureFixture[str], undisturbed: str
) -> None:
    training = Training()
    training.checkpoint.notes.append(object())
    assert training.run() == undisturbed
    assert "a checkpoint cannot hold a object" in capsys.readouterr().err and not place.exists()


def test_a_kill_between_its_files_leaves_the_one_before(
    place: Path, monkeypatch: pytest.MonkeyPatch, undisturbed: str
) -> None:
    _interrupted(6)
    replaced = Path.replace

    def killed(path: Path, target: Path) -> Path:
        if path.name == ".checkpoint.json":
            raise KeyboardInterrupt
        return replaced(path, target)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "replace", killed)
        Training().run()
    assert len(list(place.iterdir())) == 4
    again = Training()
    assert again.checkpoint.notes[-1][0] == 5 and again.run() == undisturbed
    assert len(list(place.iterdir())) == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR2])
def test_a_signal_has_it_kept_at_once(number: int, monkeypatch: pytest.MonkeyPatch, undisturbed: str) -> None:
    monkeypatch.setenv(INTERVAL_S, "3600")
    training = Training()
    with pytest.raises(SystemExit) as ended:
        for step in training.checkpoint.steps(STEPS):
            if step == 4:
                os.kill(os.getpid(), number)
    assert ended.value.code == 143
    index = json.loads((Path(os.environ[DIRECTORY]) / "checkpoint.json").read_text())
    assert index["content"]["step"] == 4


def test_the_module_does_not_load_torch() -> None:
    code = "import sys, mlipilot.checkpoint; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
