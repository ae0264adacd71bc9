"""One reproduction, from a record that holds to an outcome."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mlipilot.audit.files import write_json
from mlipilot.audit.manifest import read_manifest
from mlipilot.campaign.spec import load_locked
from mlipilot.controller.isolation_words import of_local_jobs
from mlipilot.controller.observer import Observer
from mlipilot.controller.prepare import prepare_data
from mlipilot.controller.state import State
from mlipilot.controller.verdict import Measurements
from mlipilot.errors import InputError
from mlipilot.handover import WEIGHTS
from mlipilot.jobs.container_commands import Container
from mlipilot.jobs.sandbox import are_sandboxed
from mlipilot.paths import JobKey, RunPaths
from mlipilot.reproduce.compare import Comparison, Values, compare_metrics
from mlipilot.reproduce.environment import Environment, Where, compare_environment
from mlipilot.reproduce.image import is_inside, rebuild_data
from mlipilot.reproduce.outcome import Outcome, Weights
from mlipilot.reproduce.rebuilt_data import Sameness, compare_data
from mlipilot.reproduce.record import Recorded, machine_of
from mlipilot.reproduce.rerun import attempts_of, claim_output, failures, jobs_here, lay_out, run_jobs

FILE_NAME = "reproduction.json"
_WEIGHTS = f"output/model/{WEIGHTS}"


def reproduce(
    record: Recorded,
    seeds: Sequence[int],
    output: Path,
    observer: Observer,
    container: Container | None = None,
) -> Outcome:
    """Rebuild the data, train and evaluate in `output`, compare, and write `output`/reproduction.json.

    `container` is the run's own image, checked; without one, jobs are processes of this environment. The run
    is only read. Raises InputError, with nothing written, when `output` is not empty, and when the campaign
    forbids jobs a network and they cannot be cut off from it.
    """
    if record.spec.jobs.require_no_network and not _is_cut_off(record, container):
        raise InputError(
            "the campaign requires jobs without a network, and here they would have one",
            file=record.run.spec,
            mend="reproduce it in its image (--image SIF) where containers can be cut off from the network, "
            "or where bubblewrap works",
        )
    claim_output(output, record.run)
    uses_gpu = record.spec.jobs.device == "cuda"
    trained_on = [record.trained_on(seed) for seed in seeds]
    environment = compare_environment(
        record.started, record.protected, trained_on, _where(record, container), uses_gpu=uses_gpu
    )
    if environment.where == "outside of the image":
        observer.event(of_local_jobs(jobs_here(record.spec.jobs)))
    _tell(observer, environment_lines(environment))
    fresh = RunPaths(output)
    lay_out(record, fresh)
    attempts = attempts_of(record, fresh, container)
    if container is not None:
        observer.event(f"building the data set {attempts.spec.dataset.name} in the image")
        rebuild_data(fresh, container)
    prepare_data(fresh, load_locked(fresh.spec), observer, again=True)
    data = compare_data(record.protected, record.run.data, fresh.data)
    _tell(observer, data_lines(data))
    state = run_jobs(attempts, [record.key(seed, "train") for seed in seeds], observer)
    failed = failures(state)
    ours = Measurements(attempts.lineage, attempts.spec, record.card)
    may_match = not environment.versions and not uses_gpu
    outcome = Outcome(
        run=str(record.run.root),
        campaign=record.spec.name,
        lineage=record.lineage.number,
        iteration=record.iteration,
        seeds=list(seeds),
        ledger_head=record.head,
        environment=environment,
        data=data,
        failures=failed,
        weights=[] if failed else [_weights(record, seed, fresh, state, may_match) for seed in seeds],
        metrics=[] if failed else _metrics(record, seeds, ours, state),
    )
    write_json(output / FILE_NAME, outcome.as_dict())
    return outcome


def _is_cut_off(record: Recorded, container: Container | None) -> bool:
    return are_sandboxed(jobs_here(record.spec.jobs)) if container is None else container.network != "host"


def _where(record: Recorded, container: Container | None) -> Where:
    if container is not None:
        return "containers of the image"
    return "inside the image" if is_inside(record.image_sha256) else "outside of the image"


def _tell(observer: Observer, lines: Iterator[str]) -> None:
    for line in lines:
        observer.event(line)


def environment_lines(found: Environment) -> Iterator[str]:
    """What to say of the environment before anything runs."""
    if found.where == "inside the image":
        yield (
            "warning: all jobs share this container: the run, its test data and the network of this process "
            "are open to the candidate's code; on a host with MLIPilot, --image SIF keeps each job apart"
        )
    if found.where == "outside of the image" and found.image_sha256 is not None:
        yield (
            "warning: this is not the recorded environment: the run was made in the image with SHA-256 "
            f"{found.image_sha256}; --image SIF reproduces it there"
        )
    for name, (recorded, here) in found.versions.items():
        yield f"warning: {name} is {here} here; the run had {recorded}"
    if found.toolkit_files:
        yield (
            f"warning: this toolkit is not the one that ran: {len(found.toolkit_files)} of its files differ "
            f"({found.toolkit_files[0]}, ...)"
        )
    if others := [machine for machine in found.recorded_machines if machine != found.machine]:
        yield (
            f"this machine has {found.machine}, the run trained on {' and '.join(others)}: "
            "the weights of those trainings need not be the same bytes"
        )


def data_lines(found: Mapping[str, Sameness]) -> Iterator[str]:
    """What to say of the rebuilt data set."""
    other = [f"{name} {same}" for name, same in found.items() if same not in ("same bytes", "same values")]
    rounded = [name for name, same in found.items() if same == "same values"]
    if other:
        yield (
            f"warning: the rebuilt data set is not the run's: {', '.join(other)}; "
            "the reproduction goes on with the rebuilt one"
        )
    elif rounded:
        yield f"the rebuilt data set is the run's; {', '.join(rounded)} up to the last digits"
    else:
        yield "the rebuilt data set is the run's, byte by byte"


def _weights(record: Recorded, seed: int, fresh: RunPaths, state: State, may_match: bool) -> Weights:
    key = record.key(seed, "train")
    training = fresh.lineage(record.lineage.number).attempt(key, 1)
    return Weights(
        seed,
        recorded=read_manifest(record.training(seed))[_WEIGHTS],
        here=read_manifest(training)[_WEIGHTS],
        must_match=may_match and record.trained_on(seed) == machine_of(state, key),
    )


def _metrics(record: Recorded, seeds: Sequence[int], ours: Measurements, state: State) -> list[Comparison]:
    theirs = Measurements(record.lineage, record.spec, record.card)
    keys = [record.key(seed, "evaluate") for seed in seeds]
    candidates = [
        [found.values for found in theirs.of_iteration(record.state, iteration.number)]
        for iteration in record.state.iterations
        if iteration.verdict is not None
    ]
    return compare_metrics(
        [_values(theirs, record.state, key) for key in keys],
        [_values(ours, state, key) for key in keys],
        candidates,
    )


def _values(measured: Measurements, state: State, key: JobKey) -> Values:
    found = measured.metrics(state, key)
    return {} if found is None else found.values
