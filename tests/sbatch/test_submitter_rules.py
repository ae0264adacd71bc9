"""What is no request and what is outside the rules: one clear rejection, and Slurm hears nothing."""

from __future__ import annotations

from pathlib import Path

from tests.sbatch.conftest import ATTEMPT, Run, StandinSlurm, job_name

EVALUATION = "lineage-0/iterations/0001/seed-11/evaluate/attempt-1"
TRAINING, AFTER = job_name(1), job_name(2)


def test_a_request_after_a_rejected_one_is_rejected(run: Run, standin_slurm: StandinSlurm) -> None:
    run.request(TRAINING, minutes="0")
    run.request(AFTER, after=TRAINING)
    run.once()
    assert run.receipt(AFTER) == {"status": "rejected", "reason": f"after={TRAINING} was rejected"}
    assert standin_slurm.calls("sbatch") == []


GOOD = f"template=train\nattempt={ATTEMPT}\nminutes=30\ncpus=1\nmemory_mib=500\ngpus=0\n"
# Changes of a good request, and words of the rule.
OUTSIDE: list[tuple[dict[str, str | None], str]] = [
    ({"after": TRAINING}, "is not the name of another request"),  # the first, for that is its own name
    ({"template": None}, "key template is missing"),
    ({"gpus": None}, "key gpus is missing"),
    ({"template": "../train"}, "template=../train is not train, evaluate, fused or endpoint"),
    ({"attempt": f"/{ATTEMPT}"}, "is not the path of an attempt"),
    ({"attempt": f"{ATTEMPT}/../attempt-1"}, "is not the path of an attempt"),
    ({"attempt": ATTEMPT.replace("0001", "001")}, "is not the path of an attempt"),
    ({"attempt": ATTEMPT.replace("attempt-1", "attempt-2")}, "is not a directory below the run"),
    ({"then": EVALUATION}, f"the line 'then={EVALUATION[:55]}' begins with no known key"),
    ({"attempt": f"{ATTEMPT},{ATTEMPT}"}, f"attempt={ATTEMPT} is there twice"),
    ({"attempt": f"{ATTEMPT}+{EVALUATION}"}, f"attempt={EVALUATION} is not a directory"),
    ({"attempt": f"{ATTEMPT},,{EVALUATION}"}, "is no list of attempts"),
    ({"attempt": f"{ATTEMPT}+"}, "is no list of attempts"),
    ({"attempt": f"{ATTEMPT} {EVALUATION}"}, "is no list of attempts"),
    ({"attempt": f"{ATTEMPT[:-1]}*"}, "is not the path of an attempt"),
    ({"attempt": ""}, "is no list of attempts"),
    ({"template": "endpoint"}, "template=endpoint takes no other key"),
    ({"minutes": "0"}, "minutes=0 is not a whole number from 1 to 1440 (MLIPILOT_MAX_MINUTES"),
    ({"minutes": "1441"}, "minutes=1441"),
    ({"minutes": "1e2"}, "minutes=1e2"),
    ({"minutes": "030"}, "minutes=030"),
    ({"minutes": "5 --uid=0"}, "minutes=5 --uid=0"),
    ({"cpus": "65"}, "from 1 to 64 (MLIPILOT_MAX_CPUS"),
    ({"cpus": "-1"}, "cpus=-1"),
    ({"memory_mib": "0"}, "memory_mib=0"),
    ({"memory_mib": "262145"}, "from 1 to 262144 (MLIPILOT_MAX_MEMORY_MIB"),
    ({"gpus": "9"}, "from 0 to 8 (MLIPILOT_MAX_GPUS"),
    ({"gpus": "a[$(touch pwned)]"}, "gpus=a[$(touch pwned)]"),
    ({"after": "job"}, "after=job is not the name"),
    ({"exclude": "n1 n2"}, "exclude=n1 n2 is not a list of nodes"),
    ({"exclude": "n" * 401}, "is not a list of nodes"),
    ({"exclude": ""}, "is not a list of nodes"),
    ({"partition": "fat"}, "the line 'partition=fat' begins with no known key"),
    ({"text": GOOD + "cpus=2\n"}, "key cpus is there twice"),
    ({"text": GOOD + "\n"}, "the line ''"),
    ({"text": GOOD + "exclude=n1\x00n2\n"}, "other than printable ASCII"),
    ({"text": GOOD + "exclude=\u00e9\n"}, "other than printable ASCII"),
    ({"text": GOOD + "\r\n"}, "other than printable ASCII"),
    ({"text": GOOD + "x" * 16384}, "longer than 16384 bytes"),
    ({"text": ""}, "key template is missing"),
]


def test_requests_outside_the_rules_are_rejected_with_the_rule(run: Run, standin_slurm: StandinSlurm) -> None:
    names = [run.request(job_name(n), **changes) for n, (changes, _) in enumerate(OUTSIDE, 1)]
    done = run.once()
    for name, (changes, words) in zip(names, OUTSIDE, strict=True):
        receipt = run.receipt(name)
        assert receipt["status"] == "rejected", changes
        assert words in receipt["reason"], changes
        assert f"{name}: rejected: {receipt['reason']}" in done.stdout
    assert standin_slurm.calls("sbatch") == []
    assert not list(run.path.rglob("pwned"))


def test_attempts_are_real_places_in_the_run_with_an_order(
    run: Run, standin_slurm: StandinSlurm, tmp_path: Path
) -> None:
    def reason(number: int, attempt: str) -> str:
        run.request(name := job_name(number), attempt=attempt)
        run.once()
        return run.receipt(name)["reason"]

    outside = tmp_path / "elsewhere" / "seed-1" / "attempt-1"
    outside.mkdir(parents=True)
    (outside / "job.json").touch()
    (run.path / "lineage-0" / "iterations").mkdir(parents=True)
    (run.path / "lineage-0" / "iterations" / "0009").symlink_to(tmp_path / "elsewhere")
    assert "not a directory below the run" in reason(3, "lineage-0/iterations/0009/seed-1/attempt-1")

    bare = run.attempt("lineage-0/sealed-check/0001/seed-1/attempt-1")
    (bare / "job.json").unlink()
    assert "holds no file job.json" in reason(4, "lineage-0/sealed-check/0001/seed-1/attempt-1")
    (bare / "job.json").symlink_to(outside / "job.json")
    assert "holds no file job.json" in reason(5, "lineage-0/sealed-check/0001/seed-1/attempt-1")

    assert standin_slurm.calls("sbatch") == []


def test_what_is_no_request_is_not_followed(run: Run, standin_slurm: StandinSlurm, tmp_path: Path) -> None:
    (tmp_path / "text").write_text(GOOD)
    run.attempt()
    run.write("requests", "mlp-0123-a", GOOD)
    run.write("requests", "--help", GOOD)
    run.write("requests", f".{TRAINING}.tmp", GOOD)
    (run.spool / "requests" / AFTER).symlink_to(tmp_path / "text")
    done = run.once()
    assert done.returncode == 0
    assert "mlp-0123-a: ignored" in done.stdout
    assert [path.name for path in (run.spool / "receipts").iterdir()] == [AFTER]
    assert "no regular file" in run.receipt(AFTER)["reason"]
    assert standin_slurm.calls("sbatch") == []


def test_the_sites_bounds_are_settings(run: Run) -> None:
    run.request(minutes="31")
    run.once(MLIPILOT_MAX_MINUTES="30")
    assert "minutes=31 is not a whole number from 1 to 30" in run.receipt()["reason"]
