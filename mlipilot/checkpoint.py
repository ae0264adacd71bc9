"""The checkpoint: what a recipe keeps of its training, to go on from when its job was cut short.

    batches = Batches(loader)
    checkpoint = Checkpoint(identity, {"model": model, "optimiser": adam, "batches": batches})
    for step in checkpoint.steps(last):
        batch = next(batches)
        ...

It holds the state of every part, that of the random generators and what the recipe notes, so that a training
which goes on from it ends with the weights of one that nothing disturbed. Tensors lie in a safetensors file
named by its SHA-256, everything else in `checkpoint.json`, which names that and is published last: whatever
a kill leaves is the newest checkpoint or the one before it. Only the candidate that wrote it ever reads it.
Where and how often is the toolkit's to say, in the environment; without that nothing is kept.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
import random
import signal
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch

FORMAT = "mlipilot-checkpoint/1"
DIRECTORY, INTERVAL_S = "MLIPILOT_CHECKPOINT", "MLIPILOT_CHECKPOINT_INTERVAL_S"  # in the environment
_INDEX = "checkpoint.json"
_LARGEST_SHARE = 0.02  # of a training's time that checkpoints may cost; else they are kept more seldom …
_LONGEST_WAIT = 10  # … but no more seldom than after so many intervals
_END_SIGNALS = (signal.SIGTERM, signal.SIGUSR2)  # of a scheduler that wants the machine back


class Part(Protocol):
    """A model, an optimiser, a scheduler, an average: whatever says its state and takes it back."""

    def state_dict(self) -> dict[str, Any]:
        """Nested dictionaries, lists and tuples of tensors, numbers and texts."""

    def load_state_dict(self, state_dict: Any) -> Any:
        """Take back what `state_dict` said."""


class Batches:
    """The batches of a shuffling torch DataLoader, epoch after epoch, which can be left in the middle."""

    def __init__(self, loader: Iterable[Any]) -> None:
        self._loader = loader
        self._epoch: Iterator[Any] = iter(())
        self._random: torch.Tensor | None = None  # the generator as the epoch began: its order follows
        self._drawn = 0

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        batch = next(self._epoch, None)
        if batch is None:
            self._begin_epoch()
            batch = next(self._epoch)
        self._drawn += 1
        return batch

    def _begin_epoch(self) -> None:
        import torch

        self._random, self._drawn = torch.get_rng_state(), 0
        self._epoch = iter(self._loader)

    def state_dict(self) -> dict[str, Any]:
        """Which epoch it is and how much of it has been drawn."""
        return {"random": self._random, "drawn": self._drawn}

    def load_state_dict(self, state_dict: Any) -> None:
        """Begin that epoch again and pass over what was drawn; torch's generator is left somewhere else."""
        import torch

        self._epoch, self._random = iter(()), None
        if state_dict["random"] is not None:
            torch.set_rng_state(state_dict["random"])
            self._begin_epoch()
            for _ in range(state_dict["drawn"]):
                next(self)


class Checkpoint:
    """The checkpoint of one training. `identity`: plain data that says which, such as recipe and seed.

    Made, it puts every part where the last checkpoint of that training left it, if there is one. One that is
    broken or of another training is refused on stderr and changes nothing.
    """

    notes: list[Any]
    """Of the recipe: numbers, texts, tensors, lists and dictionaries of them. Kept with the rest."""

    def __init__(self, identity: Any, parts: Mapping[str, Part]) -> None:
        place = os.environ.get(DIRECTORY)
        self._directory = Path(place) if place else None
        self._interval_s = float(os.environ.get(INTERVAL_S) or 300)
        self._identity, self._parts = _digest_of([identity, _versions()]), parts
        self._asked_to_end = False
        found = self._load() or {"step": 0, "notes": [], "elapsed_s": 0.0}
        self._done, self.notes = found["step"], found["notes"]
        self._began = time.monotonic() - float(found["elapsed_s"])
        self._due = time.monotonic() + self._interval_s

    @property
    def elapsed_s(self) -> float:
        """How long the training has taken, without what was lost when it was cut short."""
        return time.monotonic() - self._began

    def steps(self, last: int) -> Iterator[int]:
        """The numbers of the steps that are left, up to `last`. Between two of them checkpoints are kept.

        Meanwhile a signal that asks the process to end makes it keep one more and end with status 143.
        """
        kept = self._directory is not None
        handlers = {number: signal.signal(number, self._ask) for number in _END_SIGNALS if kept}
        try:
            for step in range(self._done + 1, last + 1):
                yield step
                if kept and step < last and (self._asked_to_end or time.monotonic() >= self._due):
                    self._save(step)
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)

    def _ask(self, _number: int, _frame: FrameType | None) -> None:
        self._asked_to_end = True

    def _load(self) -> dict[str, Any] | None:
        if self._directory is None or not (self._directory / _INDEX).exists():
            return None
        before = copy.deepcopy(self._state())
        try:
            found = _read(self._directory, self._identity)
            self._set_state(found["state"])
        except Exception as error:  # noqa: BLE001 (bad bytes raise anything; the training can do without them)
            self._set_state(before)
            _tell(f"the checkpoint is not used, the training begins anew: {_in_words(error)}")
            return None
        _tell(f"the training goes on after step {found['step']}, where its checkpoint is")
        return found

    def _save(self, step: int) -> None:
        """What goes wrong here, such as a full disk, costs the checkpoint and not the training."""
        began = time.monotonic()
        content = {"step": step, "notes": self.notes, "elapsed_s": self.elapsed_s, "state": self._state()}
        try:
            _write(self._directory or Path(), self._identity, content)
        except Exception as error:  # noqa: BLE001 (see above)
            _tell(f"no checkpoint of step {step} could be kept: {_in_words(error)}")
        if self._asked_to_end:
            sys.exit(128 + signal.SIGTERM)
        ended = time.monotonic()
        affordable_s = min((ended - began) / _LARGEST_SHARE, _LONGEST_WAIT * self._interval_s)
        self._due = ended + max(self._interval_s, affordable_s)

    def _state(self) -> dict[str, Any]:
        parts = {name: part.state_dict() for name, part in self._parts.items()}
        return {"parts": parts, "random": _random_state()}

    def _set_state(self, state: dict[str, Any]) -> None:
        if state["parts"].keys() != self._parts.keys():
            raise ValueError(f"it holds {', '.join(state['parts'])}, not {', '.join(self._parts)}")
        for name, part in self._parts.items():
            part.load_state_dict(state["parts"][name])
        _set_random_state(state["random"])  # last: to load parts may draw numbers


def _random_state() -> dict[str, Any]:
    import numpy as np
    import torch

    name, key, *rest = np.random.get_state()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [],  # type: ignore[no-untyped-call]
        "numpy": (name, np.asarray(key).tolist(), *rest),
        "python": random.getstate(),
    }


def _set_random_state(state: dict[str, Any]) -> None:
    import numpy as np
    import torch

    torch.set_rng_state(state["torch"])
    if state["cuda"]:
        torch.cuda.set_rng_state_all(state["cuda"])
    np.random.set_state(state["numpy"])
    random.setstate(state["python"])


def _tell(what: str) -> None:
    print(what, file=sys.stderr, flush=True)  # noqa: T201


def _in_words(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


def _versions() -> list[str]:
    import torch

    return [FORMAT, torch.__version__]


def _digest_of(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, default=str).encode()).hexdigest()


def _write(directory: Path, identity: str, values: dict[str, Any]) -> None:
    from safetensors.torch import save

    tensors: dict[str, torch.Tensor] = {}
    content = {name: _pack(value, tensors) for name, value in values.items()}
    data = save(tensors)
    name = f"{hashlib.sha256(data).hexdigest()}.safetensors"
    content |= {"identity": identity, "tensors": name}
    directory.mkdir(exist_ok=True)
    _publish(directory / name, data)
    _publish(directory / _INDEX, json.dumps({"content": content, "sha256": _digest_of(content)}).encode())
    for path in directory.iterdir():  # the checkpoint before, or what a kill left of one
        if path.name not in (name, _INDEX):
            path.unlink(missing_ok=True)


def _publish(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}")
    with temporary.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _read(directory: Path, identity: str) -> dict[str, Any]:
    """The checkpoint in a directory. Raises whatever its bytes lead to."""
    from safetensors.torch import load

    index = json.loads((directory / _INDEX).read_text(encoding="utf-8"))
    content = index["content"]
    if _digest_of(content) != index["sha256"]:
        raise ValueError(f"{_INDEX} was changed")
    if content["identity"] != identity:
        raise ValueError("it is of another training: recipe, seed, steps, data or versions differ")
    data = (directory / content["tensors"]).read_bytes()
    if f"{hashlib.sha256(data).hexdigest()}.safetensors" != content["tensors"]:
        raise ValueError(f"{content['tensors']} was changed")
    tensors = load(data)
    return {name: _unpack(content[name], tensors) for name in ("step", "notes", "elapsed_s", "state")}


def _pack(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    """`value` as JSON, in which a mapping with one tagged key stands for what JSON lacks."""
    import torch

    if isinstance(value, torch.Tensor):
        name = str(len(tensors))
        # a copy, because safetensors refuses tensors that share memory
        tensors[name] = value.detach().cpu().clone(memory_format=torch.contiguous_format)
        return {"tensor": name}
    if isinstance(value, Mapping):  # keys may be numbers, and their order counts
        return {"mapping": [[_pack(key, tensors), _pack(entry, tensors)] for key, entry in value.items()]}
    if isinstance(value, tuple):
        return {"tuple": [_pack(entry, tensors) for entry in value]}
    if isinstance(value, list):
        return [_pack(entry, tensors) for entry in value]
    if value is None or type(value) in (bool, int, float, str):
        return value
    raise TypeError(f"a checkpoint cannot hold a {type(value).__name__}: {str(value)[:60]}")


def _unpack(value: Any, tensors: Mapping[str, torch.Tensor]) -> Any:
    if isinstance(value, list):
        return [_unpack(entry, tensors) for entry in value]
    if not isinstance(value, dict):
        return value
    ((tag, content),) = value.items()
    if tag == "tensor":
        return tensors[content]
    if tag == "tuple":
        return tuple(_unpack(entry, tensors) for entry in content)
    if tag == "mapping":
        return {_unpack(key, tensors): _unpack(entry, tensors) for key, entry in content}
    raise ValueError(f"unknown tag {tag}")
