"""One job serves the model of all lineages: asked for once, followed when it ends, ended at the end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from mlipilot.audit.anchors import NAME
from mlipilot.errors import PausedError
from mlipilot.jobs.endpoint_job import MOST_RESTARTS, EndpointJob, names_of_jobs
from mlipilot.paths import RunPaths
from tests.jobs.standin_cluster import HEAD, Cluster


class Site(Cluster):
    """A cluster, and what its controllers tell of the model's job."""

    def __init__(self, run: Path, **settings: object) -> None:
        super().__init__(run, **settings)
        self.backend.poll_s = 0.005
        self.told: list[str] = []

    def job(self) -> EndpointJob:
        return EndpointJob(RunPaths(self.run), self.backend, self.told.append)

    @property
    def newest(self) -> str:
        return max(self.requests())

    def stands(self, state: str, age_s: float = 50) -> None:
        self.receive(self.newest)
        self.queue(f"{self.newest}|42|{state}|None|n1", age_s=age_s)

    def answers(self) -> None:
        self.stands("RUNNING")
        (self.spool / "started").mkdir(exist_ok=True)
        (self.spool / "started" / f"{self.newest}.0").touch()
        (self.run / "endpoint.json").touch()

    def says(self, *lines: str) -> None:
        (self.spool / "logs").mkdir(exist_ok=True)
        (self.spool / "logs" / f"{self.newest}.log").write_text("\n".join(lines) + "\n")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "run")


def never() -> bool:
    return False


def _meanwhile(what: Callable[[], None]) -> None:
    threading.Timer(0.05, what).start()


def test_lineages_share_the_job_that_the_first_of_them_asked_for(site: Site) -> None:
    site.job().ensure_requested(HEAD)
    site.job().ensure_requested("f" * 64)
    assert site.requests() == {"mlp-0123456789abcdef-endpoint.a1": {"template": "endpoint"}}
    assert NAME.fullmatch(site.newest) and len(site.told) == 1


def test_many_at_once_ask_for_one(site: Site) -> None:
    jobs = [(site.job(), f"{number:064x}"[::-1]) for number in range(8)]
    together = threading.Barrier(len(jobs))

    def ask(job: EndpointJob, anchor: str) -> None:
        together.wait()
        job.ensure_requested(anchor)

    threads = [threading.Thread(target=ask, args=asked) for asked in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(site.requests()) == 1


def test_a_kill_between_name_and_request_keeps_the_name(site: Site) -> None:
    site.job().ensure_requested(HEAD)
    (name,) = site.requests()
    (site.spool / "requests" / name).unlink()
    site.job().ensure_requested("f" * 64)
    assert list(site.requests()) == [name]


def test_it_is_waited_for_until_the_model_answers(site: Site) -> None:
    job = site.job()
    job.ensure_requested(HEAD)
    (site.run / "endpoint.json").touch()  # what a node that was lost has left is not the answer of this job
    _meanwhile(lambda: site.stands("RUNNING"))
    _meanwhile(site.answers)
    job.wait(never)
    assert site.told[1] == "the model's job waits: for the submitter"
    job.wait(never)


def test_who_is_asked_to_stop_waits_no_longer(site: Site) -> None:
    job = site.job()
    job.ensure_requested(HEAD)
    job.wait(lambda: True)


@pytest.mark.parametrize("state", ["FAILED", "TIMEOUT", "NODE_FAIL", "CANCELLED", "COMPLETED"])
def test_a_job_that_ended_shows_its_last_words_and_is_followed_by_another(site: Site, state: str) -> None:
    job = site.job()
    job.ensure_requested(HEAD)
    site.stands(state)
    site.says("loading", "CUDA out of \x1b[31mmemory", "the server ended before it answered")
    with pytest.raises(PausedError, match=f"(?s)Slurm says {state}; .*a1.log ends with.*memory") as paused:
        job.wait(never)
    assert "\x1b" not in str(paused.value)
    assert job.may_be_replaced()
    job.ensure_requested(HEAD)
    assert site.newest.endswith("endpoint.a2") and len(site.requests()) == 2


def test_it_is_started_again_a_few_times_only(site: Site) -> None:
    jobs = [site.job(), site.job()]  # of two lineages: they count together
    for _ in range(MOST_RESTARTS):
        for job in jobs:
            job.ensure_requested(HEAD)
        site.stands("FAILED")
        assert all(job.may_be_replaced() for job in jobs)
    jobs[0].ensure_requested(HEAD)
    site.stands("FAILED")
    assert not any(job.may_be_replaced() for job in jobs)
    assert len(site.requests()) == 1 + MOST_RESTARTS
    site.job().ensure_requested(HEAD)  # somebody has resumed the run
    assert len(site.requests()) == 2 + MOST_RESTARTS


def test_an_endpoint_that_fails_while_its_job_runs_is_no_reason_for_another(site: Site) -> None:
    job = site.job()
    assert not job.may_be_replaced()
    job.ensure_requested(HEAD)
    site.answers()
    _meanwhile(lambda: site.stands("RUNNING", age_s=-2))
    assert not job.may_be_replaced()


def test_an_old_answer_of_the_queue_says_nothing_about_now(site: Site) -> None:
    job = site.job()
    job.ensure_requested(HEAD)
    site.answers()
    _meanwhile(lambda: site.stands("NODE_FAIL", age_s=-2))
    assert job.may_be_replaced()


def test_what_the_submitter_refuses_is_not_asked_again_in_this_session(site: Site) -> None:
    job = site.job()
    job.ensure_requested(HEAD)
    site.receive(site.newest, status="rejected", reason="MLIPILOT_ENDPOINT is not set")
    with pytest.raises(PausedError, match="refused it: MLIPILOT_ENDPOINT is not set"):
        job.wait(never)
    assert not job.may_be_replaced()
    site.job().ensure_requested(HEAD)
    assert len(site.requests()) == 2


def test_a_submitter_that_is_silent_is_no_reason_for_another_job(tmp_path: Path) -> None:
    site = Site(tmp_path / "run", patience_s=0.1)
    job = site.job()
    job.ensure_requested(HEAD)
    site.receive(site.newest)
    assert not job.may_be_replaced()


def test_it_is_ended_by_way_of_the_submitter(site: Site) -> None:
    job = site.job()
    job.end()  # there was none
    job.ensure_requested(HEAD)
    cancel = site.spool / "cancel" / site.newest
    _meanwhile(lambda: site.receive(site.newest, status="rejected", reason="cancelled"))
    job.end()
    assert cancel.exists()
    assert names_of_jobs(RunPaths(site.run)) == [site.newest]


def test_who_ends_it_waits_for_the_submitters_next_look_at_the_queue(site: Site) -> None:
    job = site.job()
    job.ensure_requested(HEAD)
    site.answers()
    looked = []

    def look() -> None:
        looked.append(True)
        site.stands("RUNNING", age_s=-2)

    _meanwhile(look)
    job.end()
    assert looked
