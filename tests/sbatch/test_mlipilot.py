"""`sbatch/mlipilot`: what a verb in the image sees, reads and writes, by a real Apptainer."""

from __future__ import annotations

import os
import pty
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sbatch.host import Host
from tests.waiting import wait_until


@pytest.fixture
def host(tmp_path: Path, shell_image: Path) -> Host:
    return Host(tmp_path / "a checkout", shell_image)


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A directory that Apptainer shows no container by itself."""
    try:
        folder = Path(f"/srv/mlipilot-test-{secrets.token_hex(4)}")
        folder.mkdir()
    except OSError:
        pytest.skip("this user cannot write in /srv")
    yield folder
    shutil.rmtree(folder)


def test_a_run_on_another_file_system_is_seen_by_whatever_path(host: Host, scratch: Path) -> None:
    """Absolute, by links of any kind, with blanks; what an option names, and what is yet to be written."""
    (run := scratch / "my runs" / "cu emt").mkdir(parents=True)
    (run / "campaign.lock.yaml").write_text("seen")
    (host.work / "runs").symlink_to(run.parent)
    (scratch / "link").symlink_to(run.parent)
    program = 'for path in "${@:2}"; do path=${path#*=}; echo "$(cat "$path/campaign.lock.yaml")"; done'
    names = [run, scratch / "link" / "cu emt", "runs/cu emt", f"--run-dir={run}", f"data.path={run}"]
    for name in map(str, names):
        assert host.run("status", name, program=program)[:2] == (0, "seen\n"), name
    # The directory's own link is followed where no word names it.
    assert host.run("status", program='cat "runs/cu emt/campaign.lock.yaml"')[:2] == (0, "seen")
    written = 'echo made >"$3"'
    assert host.run("evaluate", "--output", str(scratch / "new.json"), program=written)[0] == 0
    assert (scratch / "new.json").read_text() == "made\n"


def test_a_campaign_file_elsewhere_brings_its_scorecard(host: Host, scratch: Path) -> None:
    for name in ("campaigns/mine.yaml", "scorecards/mine.yaml"):
        (scratch / name).parent.mkdir()
        (scratch / name).write_text(name)
    program = 'cat "$2" "${2%/*}/../scorecards/mine.yaml"'
    said = host.run("plan", f"{scratch}/campaigns/mine.yaml", program=program)
    assert said[:2] == (0, "campaigns/mine.yamlscorecards/mine.yaml"), said


def test_words_that_are_no_paths_and_paths_below_the_directory_stay_as_they_are(host: Host) -> None:
    (host.work / "runs" / "a").mkdir(parents=True)
    words = ["run", "runs/a", "--set", "pilot.model=Qwen/Qwen3-32B", "--set", "pilot.url=http://h:8000/v1"]
    words += [
        "--output=/dev/stdout",
        "/dev/null",
        "--name=10:30",
        "",
        "a,b",
        "--set",
        'space={"x": "/y"}',
        "*",
        "$HOME",
    ]
    status, said, complaint = host.run(*words, program='printf "%s\\n" "$@"')
    assert (status, complaint) == (0, "") and said.split("\n")[:-1] == words


def test_what_lies_in_a_directory_of_the_image_s_own_is_one_clear_error(host: Host) -> None:
    status, said, complaint = host.run("data", "import", "/etc/passwd", program="echo ran")
    assert (status, said, complaint.count("\n")) == (2, "", 1)
    assert "/etc/passwd lies where the image has a directory of its own: put it elsewhere" in complaint


def test_the_root_directory_is_no_place_to_bind(host: Host, scratch: Path) -> None:
    (scratch / "file").write_text("seen")
    host.work = Path("/")
    assert host.run("status", f"{scratch}/file", program='pwd; cat "$2"')[:2] == (0, "/\nseen")


@pytest.mark.parametrize("name", ["10:30", "a,b", "a\\b"])
def test_what_no_container_can_be_given_is_one_clear_error(host: Host, scratch: Path, name: str) -> None:
    (scratch / name).mkdir()
    status, said, complaint = host.run("status", str(scratch / name), program="echo ran")
    assert (status, said) == (2, "") and complaint.count("\n") == 1
    assert f"a container cannot be given {scratch / name}: no colon, comma or backslash" in complaint


def test_the_exit_status_and_what_is_read_and_written_are_the_verb_s(host: Host) -> None:
    program = "cat; echo wrong >&2; exit 75"
    assert host.run("resume", program=program, given="read\n") == (75, "read\n", "wrong\n")


def test_a_signal_reaches_the_verb_and_nothing_is_left_behind(host: Host, tmp_path: Path) -> None:
    program = "trap 'echo ended; exit 130' TERM; echo begun; while :; do sleep 0.1; done"
    (own := tmp_path / "tmp").mkdir()
    process = host.begin("run", program=program, TMPDIR=str(own))
    assert process.stdout is not None and process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGTERM)
    said, complaint = process.communicate(timeout=60)
    assert (process.returncode, said) == (130, "ended\n"), complaint
    wait_until(lambda: not list(own.iterdir()))


def test_a_terminal_stays_one_with_its_colours(host: Host) -> None:
    ours, theirs = pty.openpty()
    host.run("status", program=":")  # writes the program's file
    program = '[ -t 0 ] && [ -t 1 ] && echo "terminal $TERM $NO_COLOR $COLORTERM"'
    (host.root / "program").write_text(f"#!/bin/bash\n{program}\n")
    env = host.env | {"TERM": "xterm-256color", "NO_COLOR": "1", "COLORTERM": "truecolor"}
    command = [str(host.root / "sbatch" / "mlipilot"), "status"]
    subprocess.run(command, cwd=host.work, env=env, stdin=theirs, stdout=theirs, timeout=60, check=True)
    assert os.read(ours, 100).decode().strip() == "terminal xterm-256color 1 truecolor"


def test_packages_of_the_home_directory_stay_out(host: Host) -> None:
    assert host.run("status", program='echo "$PYTHONNOUSERSITE"')[1] == "1\n"


def test_without_an_image_or_apptainer_the_mend_is_told(host: Host) -> None:
    host.image.unlink()
    status, _, complaint = host.run("status", program=":")
    assert (
        status == 2
        and complaint.startswith("mlipilot: there is no image at")
        and "MLIPILOT_IMAGE" in complaint
    )
    tools = host.root / "tools"
    tools.mkdir()
    for name in ("bash", "realpath", "dirname", "uname", "env"):
        (tools / name).symlink_to(str(shutil.which(name)))
    status, _, complaint = host.run("status", program=":", PATH=str(tools))
    assert status == 2 and "MLIPILOT_MODULES" in complaint
    assert "neither apptainer nor singularity is on the PATH" in complaint
