"""Programs of the machine, what stands in for them, a small real image, an endpoint that misbehaves."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.done_once import disks_are_not_waited_for as disks_are_not_waited_for
from tests.done_once import toolkit_is_listed_once as toolkit_is_listed_once
from tests.endpoint.faulty_server import FaultyServer
from tests.timeouts import give_long_ones_time
from tests.timeouts import pytest_runtest_makereport as pytest_runtest_makereport  # a hook of pytest's

# A busy machine is no fault: an example takes as long as it takes, and so does drawing one.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

StandIn = Callable[[str, str], None]
# Who builds or trains a MACE model; importing it takes seconds, so that one worker should do it for all.
WITH_MACE = ("tests/evaluation/", "tests/recipes/", "tests/reproduce/", "tests/report/test_export.py")
# Who mostly waits for a shell, and shares nothing with the other tests of its file; and who waits besides.
ALONE = ("tests/jobs/", "tests/sbatch/")
WAITING = (*ALONE, "tests/containers/")
# Groups, and tests without one, that take long; begun last, they would leave other workers idle at the end.
LONGEST_FIRST = (
    "installed",
    "two lineages",
    "test_each_ends_invalid_with_its_reason_and_harms_nothing",
    "test_a_campaign_as_the_readme_has_it",
    "test_a_forged_evaluation_makes_its_candidate_invalid_and_no_other",
    "undisturbed",
    "own_cluster",
    "test_the_controllers_own_nodes_run_its_jobs_and_its_successor_goes_on",
    "test_a_requeued_training_goes_on_and_ends_with_the_weights_of_an_undisturbed_one",
    "test_a_reproduction_knows_that_it_is_in_the_recorded_image",
    "test_two_clusters_are_one_run",
    "replay",
    "the image once more",
    "test_what_candidates_leave_besides_is_dropped_and_harms_the_run_in_no_way",
    "test_a_run_that_is_folded_under_way_goes_on_and_reads_as_any_other",
    "test_a_dead_endpoint_pauses_and_resume_goes_on",
    "users of a group",
    "MACE",
    "test_a_submitter_that_hangs_at_the_end_is_not_waited_for",
    "test_killed_at_any_line_of_it_nothing_is_lost_or_submitted_again",
    "test_killed_at_any_line_it_leaves_a_successor_that_goes_on",
    "tests/merge/test_merging.py",
    "tests/merge/test_merging_cut_short.py",
    "tests/report/test_lineage_reading.py",
    "tests/report/test_write.py",
    "test_the_queue_is_asked_less_often_while_nothing_changes",
    "test_a_submitter_that_dies_is_started_again_with_growing_steps",
)


@pytest.hookimpl(tryfirst=True)  # xdist looks for groups in this hook, too
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Unit tests go to workers by file or one by one; slow ones group themselves. Long ones come first."""
    for item in items:
        give_long_ones_time(item)
        if any(item.get_closest_marker(name) for name in ("slow", "cluster", "sweep", "xdist_group")):
            continue
        file = item.nodeid.partition("::")[0]
        if file.startswith(WAITING):
            item.add_marker("processes")
        if not file.startswith(ALONE) or "shell_image" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("MACE" if file.startswith(WITH_MACE) else file))
    items.sort(key=_turn)


def _turn(item: pytest.Item) -> int:
    mark = item.get_closest_marker("xdist_group")
    name = mark.args[0] if mark else getattr(item, "originalname", item.name)
    return LONGEST_FIRST.index(name) if name in LONGEST_FIRST else len(LONGEST_FIRST)


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """Put a bash script in the place of a program."""
    programs = tmp_path / "stand-ins"
    programs.mkdir()
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")

    def write(name: str, script: str) -> None:
        path = programs / name
        path.write_text(f"#!/bin/bash\n# a stand-in for {name}\n{script}\n", encoding="utf-8")
        path.chmod(0o755)

    return write


@pytest.fixture
def no_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without Slurm, Apptainer and NVIDIA's tools."""
    (tmp_path / "no-programs").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "no-programs"))


@pytest.fixture
def path_without(tmp_path: Path) -> Callable[..., str]:
    """A PATH with all of this machine's programs but some: `path_without("apptainer", "singularity")`."""

    def make(*absent: str) -> str:
        (folder := tmp_path / "programs").mkdir()
        for source in os.environ["PATH"].split(":"):
            for program in Path(source).iterdir() if Path(source).is_dir() else ():
                link = folder / program.name
                if program.name not in absent and not link.is_symlink():
                    link.symlink_to(program)
        return str(folder)

    return make


@pytest.fixture(scope="session")
def shell_image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real image of a few megabytes: this machine's shell, bash, cat and stat, and their libraries."""
    if shutil.which("apptainer") is None:
        pytest.skip("there is no apptainer on the PATH: ci/cluster/install.sh installs it on Debian 12")
    root = tmp_path_factory.mktemp("image")
    tree = root / "tree"
    for folder in (
        "bin",
        "dev",
        "etc",
        "home",
        "mnt",
        "opt",
        "proc",
        "root",
        "sys",
        "tmp",
        "usr/bin",
        "var/tmp",
    ):
        (tree / folder).mkdir(parents=True)
    for name in ("bash", "sh", "cat", "stat", "sleep", "true"):
        program = Path(shutil.which(name) or pytest.fail(f"no {name} here")).resolve()
        shutil.copy(program, tree / "bin" / name)
        linked = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
        for library in re.findall(r"(/\S+) \(0x", linked):
            (tree / library[1:]).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(Path(library).resolve(), tree / library[1:])
    built = subprocess.run(
        ["apptainer", "build", root / "small.sif", tree], capture_output=True, text=True, check=False
    )
    if built.returncode:
        pytest.skip(f"apptainer builds no image here: {built.stderr.strip()[-200:]}")
    return root / "small.sif"


@pytest.fixture
def faulty_server() -> Iterator[FaultyServer]:
    with FaultyServer() as server:
        yield server
