"""A controller that hands its core back: whom its successor waits for, and who goes on where it cannot."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from tests.events import event
from tests.sbatch.checkout import Checkout, as_ledger
from tests.sbatch.conftest import REPOSITORY, StandinSlurm, read_fields
from tests.waiting import wait_until

NAMES = {"41": "mlp-0123456789abcdef-l0.0000.s1.t.a1", "42": "mlp-0123456789abcdef-l0.0000.s2.t.a1"}
RECEIPT = "spool/successors/lineage-0.17_0"


@pytest.fixture
def site(tmp_path: Path, standin_slurm: StandinSlurm) -> Checkout:
    """A controller that waits for two jobs and hands its core back when it is told so; else it ends well."""
    site = Checkout(tmp_path / "site", standin_slurm)
    site.submitter = (
        'trap "echo >\\"$1/let_go\\"; exit" TERM\ntouch "$1/served"\nwhile sleep 0.1; do :; done\n'
    )
    for number, name in NAMES.items():
        standin_slurm.put_job(number, name, "RUNNING")
    hands_back(site)
    return site


def hands_back(site: Checkout, text: str | None = None, then: str = "exit 79") -> None:
    if text is None:
        text = "".join(f"{number} {name}\n" for number, name in NAMES.items())
    site.write_program(
        "mlipilot",
        f"""env | sed -nE 's/^APPTAINERENV_//p' >told
echo "$APPTAINERENV_MLIPILOT_HAND_BACK_S" >>starts
[ "$APPTAINERENV_MLIPILOT_HAND_BACK_S" != 0 ] || exit 0
mkdir -p {site.run}/spool/waiting
printf %s '{text}' >{site.run}/spool/waiting/lineage-0
until [ -e {site.run}/served ]; do sleep 0.1; done
{then}""",
    )


def starts(site: Checkout) -> list[str]:
    """What each controller was told of MLIPILOT_HAND_BACK_S."""
    return (site.apptainer / "starts").read_text().splitlines()


def behind(site: Checkout) -> str:
    """For whom the successor waits."""
    return (site.slurm.root / "behind" / "1").read_text().strip().replace("(unfulfilled)", "")


def went_on(site: Checkout, said: str) -> bool:
    """Whether the job went on with another controller, which handed nothing back, to the lineage's end."""
    ended = "the controller of lineage 0 ended with status 0" in said
    return starts(site) == ["1800", "0"] and ended and "handed back: " not in said


def test_the_successor_waits_for_any_of_the_jobs_and_this_one_ends(site: Checkout) -> None:
    done = site.start()
    assert done.returncode == 0, done.stdout
    assert "handed back: job 1 goes on with lineage 0 when one of its jobs (41 42) ends" in done.stdout
    updates = [call for call in site.slurm.calls("scontrol") if call[0] == "update"]
    assert updates == [["update", "jobid=1", "dependency=afterany:41?afterany:42"]]
    assert site.slurm.calls("scancel") == [] and starts(site) == ["1800"]
    assert read_fields(site.run / RECEIPT) == {"job_id": "1", "name": "", "awaits": "41 42"}
    assert (site.run / "let_go").exists(), "the submitter of another lineage may serve"


def test_where_slurm_refuses_it_goes_on_as_before(site: Checkout) -> None:
    site.slurm.tell("scontrol", "", "refused", "")
    said = site.start().stdout
    words = "job 1 cannot be told to wait for others, and this job keeps its core: scontrol: error: Access"
    assert went_on(site, said) and said.count(words) == 1 and behind(site) == "afterany:17_0"
    assert site.slurm.calls("scancel") == [["--state=PENDING", "1"]]
    first, again = (site.apptainer / "calls").read_text().splitlines()
    assert "--unattended" not in first and "--unattended" in again, "it may have been cancelled meanwhile"


def test_a_time_limit_while_slurm_is_silent_ends_it(site: Checkout) -> None:
    site.slurm.tell("squeue", "down")
    campaign = site.begin()
    wait_until(lambda: len(site.slurm.calls("squeue")) >= 1)
    campaign.send_signal(signal.SIGUSR2)
    said, _ = campaign.communicate(timeout=30)
    assert "before its time: job 1 goes on" in said and starts(site) == ["1800"]
    assert site.slurm.calls("scancel") == []


def test_where_jobs_are_submitted_elsewhere_no_core_is_handed_back(site: Checkout) -> None:
    assert site.start(MLIPILOT_SUBMIT="login").returncode == 0
    assert starts(site) == ["0"]


def test_a_site_may_forbid_it(site: Checkout) -> None:
    assert site.start(MLIPILOT_HAND_BACK_S="0").returncode == 0
    assert starts(site) == ["0"]


def test_a_job_that_slurm_starts_again_has_its_successor_wait_for_it_again(site: Checkout) -> None:
    """Its node was lost in the moment in which it handed its core back."""
    site.start()
    assert behind(site) == "afterany:41?afterany:42"
    hands_back(site, then="exit 137")
    said = site.start(SLURM_RESTART_COUNT="1").stdout
    assert "job 1 takes over if this one ends early" in said and len(site.slurm.calls("sbatch")) == 1
    assert behind(site) == "afterany:17_0" and "job 1 goes on" in said


def test_a_successor_that_has_begun_by_then_is_followed_by_another(site: Checkout) -> None:
    site.start()
    site.slurm.put_job("1", "mlipilot", "RUNNING")
    hands_back(site, then="exit 137")
    said = site.start(SLURM_RESTART_COUNT="1").stdout
    assert "job 2 takes over if this one ends early" in said and "job 2 goes on" in said


def test_jobs_that_ended_are_progress(site: Checkout) -> None:
    ledger = site.lineage / "ledger.jsonl"
    ledger.parent.mkdir(parents=True)
    ledger.write_text(as_ledger(event("job_submitted"), event("resumed"), event("job_finished")))
    done = site.start(MLIPILOT_LEDGER_RECORDS="1", MLIPILOT_IDLE_GENERATIONS="3")
    assert "handed back: " in done.stdout
    told = site.slurm.environment("sbatch")
    assert (told["MLIPILOT_LEDGER_RECORDS"], told["MLIPILOT_IDLE_GENERATIONS"]) == ("2", "0")


# ---- The decision alone ----
ALONE = f"""\
set -uo pipefail
MLIPILOT_POLL_S=1 run=$1 lineage=0 script=tiny.sbatch early=
SLURM_JOB_ID=17 SLURM_ARRAY_JOB_ID=17 SLURM_ARRAY_TASK_ID=0
say() {{ echo "$*"; }}
for part in slurm owner successor hand_back; do source {REPOSITORY}/sbatch/$part.sh; done
successor=1
exec {{never}}<> <(:)
lines=0
[ -z "${{KILL_AT:-}}" ] || {{ set -T; trap '((++lines != KILL_AT)) || kill -KILL $$' DEBUG; }}
hand_back
echo "status $?, after $lines"
"""


class Alone:
    """Job 17_0, whose controller has just ended; job 1 waits for it."""

    def __init__(self, run: Path, slurm: StandinSlurm) -> None:
        self.run, self.slurm = run, slurm
        for folder in ("waiting", "successors"):
            (run / "spool" / folder).mkdir(parents=True)
        self.awaits("".join(f"{number} {name}\n" for number, name in NAMES.items()))
        (slurm.root / "behind").mkdir()
        for number, name in (NAMES | {"17_0": "mlipilot", "1": "mlipilot"}).items():
            slurm.put_job(number, name, "PENDING" if number == "1" else "RUNNING")
        (slurm.root / "behind" / "1").write_text("afterany:17_0(unfulfilled)\n")

    def awaits(self, text: str) -> None:
        (self.run / "spool" / "waiting" / "lineage-0").write_text(text)

    def has_ended(self, number: str) -> None:
        (self.slurm.root / "jobs" / number).unlink()

    def decide(self, **environment: str) -> str:
        """What was said; at its end whether the core is given away."""
        path = f"{self.slurm.root / 'bin'}:{os.environ['PATH']}"
        told = {"PATH": path, "STANDIN_SLURM": str(self.slurm.root)} | environment
        command = ["bash", "-c", ALONE, "x", str(self.run)]
        return subprocess.run(command, env=told, capture_output=True, text=True, timeout=60).stdout

    @property
    def behind(self) -> str:
        path = self.slurm.root / "behind" / "1"
        return path.read_text().strip().replace("(unfulfilled)", "") if path.exists() else ""

    @property
    def keeps_its_core(self) -> bool:
        return "status 1" in self.decide() and self.behind == "afterany:17_0"


@pytest.fixture
def alone(tmp_path: Path, standin_slurm: StandinSlurm) -> Alone:
    return Alone(tmp_path / "run", standin_slurm)


def test_whom_it_waits_for_is_what_slurm_says_and_not_how_the_command_ended(alone: Alone) -> None:
    alone.slurm.tell("scontrol", "lost_answer")
    alone.slurm.tell("squeue", "down", "empty", "")
    assert "status 0" in alone.decide() and alone.behind == "afterany:41?afterany:42"


def test_where_a_job_has_ended_meanwhile_the_successor_begins_at_once(alone: Alone) -> None:
    alone.has_ended("42")
    said = alone.decide()
    assert "job 42 has ended meanwhile" in said and "status 0" in said and alone.behind == "afterany:17_0"
    assert not (alone.run / RECEIPT).exists()


def test_a_successor_that_has_begun_already_is_let_go_on(alone: Alone) -> None:
    """A job had ended before the command, as Slurm 22.05 takes it."""
    alone.has_ended("42")
    alone.slurm.tell("scontrol", "begins")
    said = alone.decide()
    assert "status 0" in said and "meanwhile" not in said and alone.behind == ""


def test_a_successor_that_somebody_ended_is_missed_before_the_core_is_given_away(alone: Alone) -> None:
    alone.has_ended("1")
    said = alone.decide()
    assert "job 1, which was to take over, is not in Slurm's queue any more: this job keeps its core" in said
    assert "status 1" in said


def test_a_lineage_that_was_not_let_go_would_keep_the_successor_out(alone: Alone) -> None:
    claim = alone.run / "lineage-0" / "controller" / "000001.json"
    claim.parent.mkdir(parents=True)
    claim.write_text(json.dumps({"job": {"id": "17_0", "cluster": "alps"}}, indent=2))
    assert alone.keeps_its_core and alone.slurm.calls("scontrol") == []
    claim.write_text("")
    assert not alone.keeps_its_core


@pytest.mark.parametrize(
    "text", ["", "soon mlp-x\n", "41 /etc/passwd\n", "41?afterany:1 mlp-x\n", "041 mlp-x\n"]
)
def test_what_names_no_jobs_is_not_given_to_slurm(alone: Alone, text: str) -> None:
    alone.awaits(text)
    assert alone.keeps_its_core and alone.slurm.calls("scontrol") == []


def test_a_list_that_is_missing_names_none(alone: Alone) -> None:
    (alone.run / "spool" / "waiting" / "lineage-0").unlink()
    assert alone.keeps_its_core


@pytest.mark.parametrize("ended", [None, "42"])
def test_killed_at_any_line_it_leaves_a_successor_that_goes_on(alone: Alone, ended: str | None) -> None:
    """What a successor waits for is over with this job, or runs."""
    if ended:
        alone.has_ended(ended)
    lines = re.search("after ([0-9]+)", alone.decide(KILL_AT="999"))
    assert lines is not None and int(lines[1]) > 20
    seen = set()
    for line in range(1, int(lines[1]) + 1):
        (alone.slurm.root / "behind" / "1").write_text("afterany:17_0(unfulfilled)\n")
        assert "status" not in alone.decide(KILL_AT=str(line))
        seen.add(alone.behind)
        assert alone.slurm.calls("scancel") == []
    assert seen == {"afterany:17_0", "afterany:41?afterany:42"}
