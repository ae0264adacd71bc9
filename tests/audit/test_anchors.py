"""A ledger against the names of its jobs, as a stand-in for Slurm's accounts has them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mlipilot.audit.anchors import verify_anchors
from mlipilot.audit.ledger import Ledger, read_ledger
from mlipilot.audit.verification_result import Verification
from mlipilot.paths import RunPaths
from tests.conftest import StandIn
from tests.events import event


@dataclass
class Campaign:
    """A lineage whose jobs were submitted one after the other, and the rows that Slurm keeps of them."""

    run: RunPaths
    rows: Path
    numbers: dict[str, str] = field(default_factory=dict)

    def begin(self, backend: str = "slurm") -> None:
        self.run.lineage(0).root.mkdir(parents=True)
        self.run.spec.write_text("a spec")
        self.ledger = Ledger(self.run.lineage(0).ledger)
        self.ledger.append(event("campaign_started", backend=backend))

    def submit(self, words: str = "l0.0001.s7.t.a1") -> str:
        """A job in the ledger, the spool and the accounts; returns its name."""
        self.ledger.append(event("job_submitted"))
        name = f"mlp-{self.ledger.head[:16]}-{words}"
        (self.run.spool / "requests").mkdir(parents=True, exist_ok=True)
        (self.run.spool / "requests" / name).touch()
        self.numbers[name] = str(40 + len(self.numbers))
        self.account(name, self.numbers[name])
        return name

    def account(
        self, name: str, number: str, after: timedelta = timedelta(0), at: Path | None = None
    ) -> None:
        """A row of Slurm's, in whole seconds."""
        when = (datetime.now(UTC) + after).replace(microsecond=0, tzinfo=None)
        with self.rows.open("a") as stream:
            stream.write(f"{number}|{when.isoformat()}|{name}|{at or self.run.root}\n")

    def finish(self, name: str, **changes: str) -> None:
        said = {"job_id": self.numbers[name], "job_name": name} | changes
        self.ledger.append(event("job_finished", said))

    def cut(self, records: int) -> None:
        """Take records off the ledger's end, and all that the spool has beyond it."""
        lines = self.run.lineage(0).ledger.read_bytes().splitlines(keepends=True)
        self.run.lineage(0).ledger.write_bytes(b"".join(lines[: len(lines) - records]))
        heads = {record.hash[:16] for record in read_ledger(self.run.lineage(0).ledger)}
        for request in self.run.spool.glob("requests/*"):
            if request.name[4:20] not in heads:
                request.unlink()


def _verified(run: RunPaths) -> Verification:
    found = Verification()
    verify_anchors(run, found)
    return found


@pytest.fixture
def campaign(tmp_path: Path, stand_in: StandIn) -> Campaign:
    """Two jobs that are over and one that runs, on a cluster that keeps accounts."""
    made = Campaign(RunPaths(tmp_path / "run"), tmp_path / "rows")
    made.begin()
    for _ in range(2):
        made.finish(made.submit())
    made.submit()
    by_number = f'rows=$(grep -E "^(${{wanted//,/|}})[|]" "{made.rows}"); [ -z "$rows" ] || echo "$rows"'
    script = 'for word; do [ "$word" = "${word#--jobs=}" ] || wanted=${word#--jobs=}; done\n'
    script += f'printf "%s\\n" "$TZ" "$@" >>"{tmp_path}/asked"\n'
    stand_in("sacct", script + f'if [ -n "$wanted" ]; then {by_number}; else cat "{made.rows}"; fi')
    return made


def test_names_that_ledger_and_accounts_agree_on(campaign: Campaign, tmp_path: Path) -> None:
    found = _verified(campaign.run)
    assert (found.problems, found.anchors, found.witnessed) == ([], 2, 2)
    assert found.notes == [
        f"{campaign.run.lineage(0).ledger}: Slurm's accounts bear witness to it up to line 4"
    ]
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked.count("UTC") == 2 and "--jobs=40,41" in asked  # two questions for all jobs


def test_a_job_that_seeds_share_counts_once(campaign: Campaign) -> None:
    for name in list(campaign.numbers)[:2]:  # another seed's end in the jobs that are over
        campaign.finish(name)
    found = _verified(campaign.run)
    assert (found.problems, found.anchors, found.witnessed) == ([], 2, 2)


def test_a_ledger_that_was_cut_at_a_record_s_end_is_found_out(campaign: Campaign) -> None:
    """All that the files had of the last job is gone: nothing but the accounts knows of it."""
    campaign.cut(1)
    found = _verified(campaign.run)
    (problem,) = found.problems
    assert "a ledger was cut or rewritten" in problem and "job 42" in problem


def test_a_ledger_that_was_cut_to_its_first_record_is_found_out(campaign: Campaign) -> None:
    campaign.cut(5)
    assert len(_verified(campaign.run).problems) == 3


def test_a_ledger_that_was_written_anew_is_found_out(campaign: Campaign) -> None:
    names = list(campaign.numbers)
    campaign.run.lineage(0).ledger.unlink()
    campaign.ledger = Ledger(campaign.run.lineage(0).ledger)
    campaign.ledger.append(event("campaign_started", backend="slurm"))
    campaign.ledger.append(event("job_submitted"))
    forged = f"mlp-{campaign.ledger.head[:16]}-l0.0001.s7.t.a1"
    campaign.ledger.append(event("job_finished", job_id="40", job_name=forged))
    problems = "\n".join(_verified(campaign.run).problems)
    assert f"Slurm's accounts say that job 40 was named {names[0]}, the ledger {forged}" in problems
    assert problems.count("a ledger was cut or rewritten") == 3


@pytest.mark.parametrize(
    "changes",
    [
        {"job_name": "mlp-0123456789abcdef-l0.0001.s7.t.a1"},
        {"job_name": "mine\x1b[2J"},
        {"job_id": "--help"},
    ],
)
def test_a_name_without_an_earlier_record_needs_no_accounts(
    tmp_path: Path, no_programs: None, changes: dict[str, str]
) -> None:
    made = Campaign(RunPaths(tmp_path / "run"), tmp_path / "rows")
    made.begin()
    made.finish(made.submit(), **changes)
    (problem,) = _verified(made.run).problems
    assert "ledger.jsonl:3: the name of Slurm's job" in problem and "\x1b" not in problem


def test_another_run_in_the_same_directory_and_other_jobs_are_not_ours(
    campaign: Campaign, tmp_path: Path
) -> None:
    other = "mlp-0123456789abcdef-l0.0001.s7.t.a1"
    campaign.account(other, "7", after=timedelta(hours=-1))  # this directory's earlier run
    campaign.account(other, "8", at=tmp_path / "elsewhere")
    campaign.account("mine", "9")
    campaign.account("two\n|lines", "10")
    assert _verified(campaign.run).problems == []


def test_a_number_that_slurm_used_again_is_no_contradiction(campaign: Campaign) -> None:
    _, *others = campaign.rows.read_text().splitlines()
    campaign.rows.write_text("\n".join(others) + "\n")
    campaign.account("mine", "40", after=timedelta(days=400), at=Path("/elsewhere"))
    found = _verified(campaign.run)
    assert found.problems == [] and (found.anchors, found.witnessed) == (2, 1)
    assert "1 of 2 Slurm jobs are not in its accounts" in found.notes[-1] and found.notes[-1].endswith(": 40")


def test_a_job_that_is_submitted_while_slurm_is_asked_is_no_cut(
    campaign: Campaign, stand_in: StandIn
) -> None:
    """The stand-in answers with a job whose record it appends before it speaks."""
    ledger = campaign.run.lineage(0).ledger
    before = ledger.read_bytes()
    campaign.submit("l0.0002.s7.t.a1")
    after = ledger.with_name("after")
    ledger.replace(after)
    ledger.write_bytes(before)
    stand_in("sacct", f'cp "{after}" "{ledger}"; cat "{campaign.rows}"')
    assert _verified(campaign.run).problems == []


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("echo 'Slurm accounting storage is disabled' >&2; exit 1", "accounting storage is disabled"),
        ("echo 'sacct: error: slurm_persist_conn_open: refused' >&2", "refused"),
        ("printf '\\e[2Jhelp' >&2; exit 3", "help"),
    ],
)
def test_without_an_answer_the_note_says_why(
    campaign: Campaign, stand_in: StandIn, script: str, why: str
) -> None:
    stand_in("sacct", script)
    campaign.cut(1)
    found = _verified(campaign.run)
    assert found.problems == [] and (found.anchors, found.witnessed) == (2, 0)
    (note,) = found.notes
    assert why in note and "2 Slurm jobs were compared with the ledger alone" in note and "\x1b" not in note


def _extract(campaign: Campaign) -> None:
    """The submitter's, of all that the accounts have."""
    rows = [line.split("|") for line in campaign.rows.read_text().splitlines()]
    lines = ["time=1796000000 begun=1795000000 accounting=1", "JobIDRaw|JobID|JobName|Submit|WorkDir"]
    lines += [f"{number}|{number}|{name}|{when}|{at}" for number, when, name, at in rows]
    (campaign.run.spool / "accounts").write_text("\n".join(lines) + "\n")


def test_where_slurm_cannot_be_asked_the_extract_is_and_it_is_said(
    campaign: Campaign, stand_in: StandIn
) -> None:
    _extract(campaign)
    stand_in("sacct", "echo 'sacct: error: refused' >&2; exit 1")
    found = _verified(campaign.run)
    assert (found.problems, found.anchors, found.witnessed, found.extracted) == ([], 2, 0, 2)
    said = "\n".join(found.notes)
    assert (
        "2 of 2 names that Slurm itself did not tell now (sacct: error: refused) are in the extract" in said
    )
    assert "whoever can rewrite the ledger can rewrite that, too" in said and "ledger alone" not in said


def test_the_extract_shows_a_cut_where_slurm_cannot_be_asked(campaign: Campaign, stand_in: StandIn) -> None:
    _extract(campaign)
    stand_in("sacct", "exit 1")
    campaign.cut(1)
    (problem,) = _verified(campaign.run).problems
    assert "the submitter's extracts of Slurm's accounts have job 42" in problem and "was cut" in problem


def test_the_extract_stands_in_for_what_slurm_has_forgotten(campaign: Campaign) -> None:
    _extract(campaign)
    _, *others = campaign.rows.read_text().splitlines()
    campaign.rows.write_text("\n".join(others) + "\n")
    found = _verified(campaign.run)
    assert (found.problems, found.witnessed, found.extracted) == ([], 1, 1)
    assert "1 of 1 names that Slurm itself did not tell now (its accounts do not" in "\n".join(found.notes)


def test_an_extract_that_knows_nothing_of_a_job_leaves_it_to_the_ledger(
    campaign: Campaign, stand_in: StandIn
) -> None:
    _extract(campaign)
    text = (campaign.run.spool / "accounts").read_text().splitlines()
    (campaign.run.spool / "accounts").write_text("\n".join([*text[:2], *text[3:]]) + "\n")
    stand_in("sacct", "exit 1")
    found = _verified(campaign.run)
    assert (found.problems, found.extracted) == ([], 1)
    assert "the names of 1 Slurm jobs were compared with the ledger alone" in "\n".join(found.notes)


def test_one_cut_is_told_once_where_both_know_of_it(campaign: Campaign) -> None:
    _extract(campaign)
    campaign.cut(1)
    (problem,) = _verified(campaign.run).problems
    assert "Slurm's accounts have job 42" in problem and "extract" not in problem


def test_a_request_that_no_ledger_knows_is_a_note_without_slurm_s_word(
    tmp_path: Path, no_programs: None
) -> None:
    made = Campaign(RunPaths(tmp_path / "run"), tmp_path / "rows")
    made.begin()
    made.finish(made.submit())
    (made.run.spool / "requests" / "mlp-0123456789abcdef-l0.0001.s7.t.a2").touch()
    found = _verified(made.run)
    assert found.problems == []
    assert "sacct is not on the PATH" in found.notes[0] and "the spool is no part" in found.notes[1]


@pytest.mark.parametrize("folded", [False, True])
def test_a_moved_run_s_requests_still_name_its_jobs(campaign: Campaign, tmp_path: Path, folded: bool) -> None:
    requests = {path.name for path in campaign.run.spool.glob("requests/*")}
    campaign.cut(1)
    for name in requests:
        if folded:
            (campaign.run.spool / "requests" / name).unlink(missing_ok=True)
            with (campaign.run.spool / "settled").open("a") as stream:
                stream.write(f"{name}\tstatus=submitted\tjob_id={campaign.numbers[name]}\tend\n")
        else:
            (campaign.run.spool / "requests" / name).touch()
    moved = RunPaths(campaign.run.root.rename(tmp_path / "moved"))
    (problem,) = _verified(moved).problems
    assert "a ledger was cut or rewritten" in problem


def test_names_of_hyperqueues_jobs_are_compared_with_the_ledger_and_it_is_said(campaign: Campaign) -> None:
    for job_id in ("hq-4711-1", "hq-4711.2-1", "hq-98-3"):
        name = campaign.submit()
        campaign.rows.write_text("".join(campaign.rows.read_text().splitlines(keepends=True)[:-1]))
        campaign.finish(name, job_id=job_id)
    found = _verified(campaign.run)
    assert found.problems == [] and (found.anchors, found.witnessed) == (5, 2)
    (note,) = [note for note in found.notes if "HyperQueue" in note]
    assert note.startswith("3 jobs were HyperQueue's, within the Slurm jobs 98, 4711: their names were")


@pytest.mark.parametrize("job_id", ["hq-4711", "hq-x-1", "hq-4711-1;2"])
def test_an_id_that_is_nobodys_or_a_name_of_hyperqueues_without_a_record_is_a_problem(
    campaign: Campaign, job_id: str
) -> None:
    campaign.finish(campaign.submit(), job_id=job_id)
    campaign.finish(campaign.submit(), job_id="hq-4711-1", job_name=f"mlp-{'0' * 16}-l0.0001.s7.t.a1")
    first, second = _verified(campaign.run).problems
    assert f"the name of HyperQueue's job {job_id}" in first and "HyperQueue's job hq-4711-1" in second


def test_local_processes_leave_no_names(tmp_path: Path, stand_in: StandIn) -> None:
    stand_in("sacct", f"touch {tmp_path}/asked")
    made = Campaign(RunPaths(tmp_path / "run"), tmp_path / "rows")
    made.begin("local")
    found = _verified(made.run)
    assert "the jobs were local processes" in found.notes[0] and not (tmp_path / "asked").exists()
