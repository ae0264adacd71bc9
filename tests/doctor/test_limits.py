"""Limits of queued jobs, which would stop a campaign at night, are told before it."""

from __future__ import annotations

import pytest

from mlipilot.doctor.check import Check
from mlipilot.doctor.limits import check_limits
from mlipilot.jobs.job_settings import JobSettings
from tests.conftest import StandIn
from tests.doctor.conftest import SiteOf

SACCTMGR = """\
case "$*" in
  *"show assoc"*) printf '%s\\n' {associations} ;;
  *"show qos"*) printf '%s\\n' {qos} ;;
esac
"""


def checks(stand_in: StandIn, site_of: SiteOf, association: str, *qos: str, **site: str) -> list[Check]:
    listed = " ".join(f"'{line}'" for line in qos or ["normal|||||"])
    stand_in("sacctmgr", SACCTMGR.format(associations=f"'{association}'", qos=listed))
    return list(check_limits(site_of(**site), JobSettings(backend="slurm", max_in_flight=2)))


def test_no_limit_needs_no_word(stand_in: StandIn, site_of: SiteOf) -> None:
    assert checks(stand_in, site_of, "chem|normal|normal||||") == []


@pytest.mark.parametrize(
    "association", ["chem|normal|normal|1|||", "chem|normal|normal||1||", "chem||n|||1|"]
)
def test_a_limit_of_one_leaves_no_place_for_a_job(
    stand_in: StandIn, site_of: SiteOf, association: str
) -> None:
    (found,) = checks(stand_in, site_of, association)
    assert found.status == "failed" and "leaves no place for a job beside the controller" in found.found
    assert "account chem" in found.found


def test_a_tight_limit_is_warned_of(stand_in: StandIn, site_of: SiteOf) -> None:
    (found,) = checks(stand_in, site_of, "chem|normal|normal|2|||")
    assert (
        found.status == "warning"
        and "MaxSubmitJobs=2 of account chem: a lineage at ease has 6" in found.found
    )
    assert "max_in_flight" in found.mend


def test_the_limits_of_the_qos_in_force_count_and_no_others(stand_in: StandIn, site_of: SiteOf) -> None:
    qos = ("normal|||||", "short|3||||", "long|1||||")
    (found,) = checks(stand_in, site_of, "chem|normal|normal,short||||", *qos, QOS="short")
    assert found.status == "warning" and "MaxSubmitJobsPerUser=3 of QOS short" in found.found


def test_room_is_told_in_lineages(stand_in: StandIn, site_of: SiteOf) -> None:
    (found,) = checks(stand_in, site_of, "chem|normal|normal|20|||")
    assert found.status == "ok" and "room for 3 lineages" in found.found


@pytest.mark.parametrize("script", ["exit 1", "echo 'sacctmgr: error: no' >&2", "echo 'a|b'; echo hello"])
def test_what_is_no_answer_is_no_limit(stand_in: StandIn, site_of: SiteOf, script: str) -> None:
    stand_in("sacctmgr", script)
    assert list(check_limits(site_of(), JobSettings(backend="slurm"))) == []
