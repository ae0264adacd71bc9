"""`slurm.json`: one form for all who write it and all who read it, and one error where it is damaged."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from mlipilot.audit.files import write_json
from mlipilot.errors import InputError
from mlipilot.jobs.attempt_claims import JobStart, may_be_sealed
from mlipilot.jobs.endpoint_job import EndpointJob, names_of_jobs
from mlipilot.jobs.inflight import read_in_flight
from mlipilot.jobs.notes import Ended
from mlipilot.jobs.slurm_note import ASKED, NOTE, SlurmNote, give_up, read_note
from mlipilot.paths import RunPaths
from tests.doors import ROOT, shipped_files
from tests.jobs.standin_cluster import HEAD, Cluster

DAMAGED = [
    "",
    "{",
    "[]",
    "null",
    '{"needs": null}',
    '{"name": 3}',
    '{"name": ""}',
    '{"name": "x", "request": 1}',
    '{"name": "x", "state": "PENDING"}',
    '{"name": "x", "givenup": true}',
    '{"name": "x", "request": {"attempt": "a", "partition": "gpu"}}',
    '{"name": "x", "request": {"attempt": "a\\ngpus=8"}}',
    '{"name": "x", "request": {"attempt": ""}}',
    '{"name": "x", "request": {"minutes": -1}}',
    '{"name": "x", "request": {"minutes": 1.5}}',
    '{"name": "x", "request": {"minutes": true}}',
    '{"name": "x", "request": {"minutes": null}}',
]


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster(tmp_path / "run")


def _written(attempt: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((attempt / NOTE).read_text())
    return found


def test_an_attempt_says_of_its_job_what_it_always_said(cluster: Cluster) -> None:
    work = cluster.submission()
    cluster.backend.ensure_started(work)
    ((name, fields),) = cluster.requests().items()
    said = _written(work.attempt)
    assert set(said) == {"name", "needs", "request"}
    assert (said["name"], said["needs"]) == (name, None)
    note = read_note(work.attempt)
    assert note is not None and note.request is not None
    assert {key: str(value) for key, value in note.request.items()} == fields
    assert isinstance(note.request["minutes"], int) and isinstance(note.request["attempt"], str)
    give_up(work.attempt)
    assert _written(work.attempt) == said | {"given_up": True}


def test_the_models_job_has_a_name_and_nothing_else(cluster: Cluster) -> None:
    EndpointJob(RunPaths(cluster.run), cluster.backend, lambda _: None).ensure_requested(HEAD)
    (name,) = cluster.requests()
    assert _written(cluster.spool / "endpoint" / "attempt-1") == {"name": name}
    assert names_of_jobs(RunPaths(cluster.run)) == [name]


def test_of_many_who_choose_a_name_one_has_chosen_it(tmp_path: Path) -> None:
    assert [SlurmNote(name=name).publish(tmp_path) for name in ("a", "b", "c")] == [True, False, False]
    assert read_note(tmp_path) == SlurmNote(name="a")


def test_an_attempt_of_this_machine_has_none_and_is_given_up_without(tmp_path: Path) -> None:
    assert read_note(tmp_path) is None
    give_up(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_note_of_the_first_runs_is_read(tmp_path: Path) -> None:
    write_json(tmp_path / NOTE, {"name": "mlp-x", "needs": "/r/a", "after": None, "then": "/r/b"})
    assert read_note(tmp_path) == SlurmNote(name="mlp-x", needs="/r/a")


def test_a_field_of_no_note_is_named(tmp_path: Path) -> None:
    for said, words in (
        ({"state": "PENDING"}, "state: Extra inputs are not permitted"),
        ({"request": {"partition": "gpu"}}, "request: partition: [key]: String should match pattern"),
    ):
        write_json(tmp_path / NOTE, {"name": "mlp-x", **said})
        with pytest.raises(InputError, match=re.escape(f"this names no job: {words}")):
            read_note(tmp_path)


def test_what_a_request_may_say_is_what_the_submitter_knows() -> None:
    script = (ROOT / "sbatch/submitter_request.sh").read_text()
    assert re.findall(r"=~ \^\(([a-z_|]+)\)=\(\.\*\)\$ ]]", script) == [ASKED]


def test_no_script_writes_a_note_and_none_but_the_submitter_looks_at_one() -> None:
    """By its time alone, so that the form is this module's and nobody else's."""
    texts = {path: path.read_text(errors="replace") for path in shipped_files()}
    named = {str(path.relative_to(ROOT)): text for path, text in texts.items() if NOTE in text}
    assert named.keys() == {"sbatch/submitter_submissions.sh", "mlipilot/jobs/slurm_note.py"}
    looked_at = named["sbatch/submitter_submissions.sh"]
    assert (
        looked_at.count(NOTE)
        == looked_at.count('$(stat -c %Y "${first%%[+,]*}/slurm.json" 2>/dev/null)')
        == 1
    )


def test_what_scripts_write_for_python_to_read_is_of_its_models() -> None:
    """JSON that bash makes by hand has the fields that are read, and no others."""
    lines = [
        (path.name, line)
        for path in shipped_files()
        for line in path.read_text(errors="replace").splitlines()
    ]
    written = [
        (name, re.findall(r'"(\w+)": ?["%]', line))
        for name, line in lines
        if re.search(r"printf .*'\{\"", line)
    ]
    (endpoint, address), (job, end) = sorted(written)
    assert (endpoint, address, job) == ("endpoint.sh", ["base_url", "token"], "job.sh")
    needed = {name for name, field in Ended.model_fields.items() if field.is_required()}
    assert needed <= set(end) <= Ended.model_fields.keys()
    assert Ended.model_config["extra"] == "forbid"


def test_a_request_names_the_attempts_of_all_its_stages() -> None:
    assert SlurmNote(name="x", request={"attempt": "a+b,c+d"}).asked_for == ["a", "b", "c", "d"]
    assert SlurmNote(name="x").asked_for == []


@pytest.mark.parametrize("text", DAMAGED)
def test_a_damaged_note_is_named_with_its_mend_by_whoever_reads_it(cluster: Cluster, text: str) -> None:
    work = cluster.submission()
    cluster.backend.ensure_started(work)
    (work.attempt / NOTE).write_text(text)
    start = JobStart("42", 0, "n1", "mlp-x")
    for read in (
        lambda: read_note(work.attempt),
        lambda: give_up(work.attempt),
        lambda: cluster.backend.standing(work.attempt),
        lambda: cluster.backend.ensure_started(work),
        lambda: cluster.backend.cancel(work.attempt),
        lambda: start.claim(work.attempt),
    ):
        with pytest.raises(InputError) as refused:
            read()
        assert str(refused.value).startswith(f"{work.attempt / NOTE}: this names no job: ")
        assert "\n  mend: remove it and resume" in str(refused.value)
    assert not may_be_sealed(work.attempt)
    spool = cluster.backend.spool
    shown = read_in_flight(spool, work.attempt, "0001/seed-7/train", 1, spool.queue())
    assert shown.phase == "held" and f"{NOTE}: this names no job" in shown.reason


def test_the_mend_of_a_damaged_note_has_another_job_asked(cluster: Cluster) -> None:
    work = cluster.submission()
    cluster.backend.ensure_started(work)
    (first,) = cluster.requests()
    (work.attempt / NOTE).unlink()
    cluster.backend.ensure_started(work)
    (second,) = set(cluster.requests()) - {first}
    assert not JobStart("42", 0, "n1", first).claim(work.attempt)
    assert JobStart("43", 0, "n1", second).claim(work.attempt)
