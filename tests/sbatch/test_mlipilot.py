"""`sbatch/mlipilot`: verbs on a host that has them in the image alone, by a real Apptainer or a stand-in."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import pty
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import StandIn
from tests.sbatch.conftest import REPOSITORY
from tests.waiting import wait_until

NO_SLURM = {"PATH": "/nowhere"}


class Host:
    """A checkout with an image, where `mlipilot` in the image is a program of the test's."""

    def __init__(self, root: Path, image: Path) -> None:
        self.root, self.work, self.image = root, root / "work", root / "containers" / "mlipilot-cpu.sif"
        shutil.copytree(REPOSITORY / "sbatch", root / "sbatch")
        for folder in (self.work, self.image.parent, root / "home"):
            folder.mkdir()
        self.image.symlink_to(image)
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("MLIPILOT_", "APPTAINER", "SLURM_"))}
        (runtime := root / "runtime").mkdir(mode=0o700)
        own = {"HOME": str(root / "home"), "XDG_RUNTIME_DIR": str(runtime)}
        self.env = kept | own | {"APPTAINER_BIND": f"{root / 'program'}:/bin/mlipilot"}

    def begin(self, *words: str, program: str, **environment: str) -> subprocess.Popen[str]:
        (self.root / "program").write_text(f"#!/bin/bash\n{program}\n")
        (self.root / "program").chmod(0o755)
        return subprocess.Popen(
            [str(self.root / "sbatch" / "mlipilot"), *words],
            cwd=self.work,
            env=self.env | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str, program: str, given: str = "", **environment: str) -> tuple[int, str, str]:
        """Exit status, output and errors."""
        process = self.begin(*words, program=program, **environment)
        said, complaint = process.communicate(given, timeout=60)
        return process.returncode, said, complaint


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
    said, complaint = process.communicate(timeout=30)
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


# ---- With a stand-in for Apptainer ----


@pytest.fixture
def site(tmp_path: Path) -> Host:
    """Where what runs in the image runs on the host, and its command line is kept."""
    (image := tmp_path / "an.sif").write_bytes(b"a SIF as it was built")
    made = Host(tmp_path / "site", image)
    made.image.unlink()
    shutil.copy(image, made.image)
    bin_ = tmp_path / "standin" / "bin"
    bin_.mkdir(parents=True)
    (bin_ / "apptainer").symlink_to(Path(__file__).with_name("standin_apptainer"))
    (bin_ / "mlipilot").symlink_to(made.root / "program")
    made.env |= {"PATH": f"{bin_}:{os.environ['PATH']}", "STANDIN_APPTAINER": str(bin_.parent)}
    return made


TOLD = "env | sed -n 's/^APPTAINERENV_//p'"


def told(said: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in said.splitlines())


def test_keys_go_by_the_environment_and_never_by_a_command_line(site: Host) -> None:
    (run := site.work / "runs" / "x").mkdir(parents=True)
    (run / "campaign.lock.yaml").write_text("pilot:\n  api_key_env: OUR_KEY\n")
    keys = {"OPENAI_API_KEY": "secret-1", "OUR_KEY": "secret-2", "SET_KEY": "secret-3", "MORE": "secret-4"}
    words = ["resume", "runs/x", "--set", "pilot.reviewer.api_key_env=SET_KEY"]
    status, said, _ = site.run(*words, program=TOLD, MLIPILOT_PASS="MORE", OTHER_KEY="secret-5", **keys)
    assert status == 0 and keys.items() <= told(said).items() and "OTHER_KEY" not in told(said)
    calls = (Path(site.env["STANDIN_APPTAINER"]) / "calls").read_text()
    assert "runs/x" in calls and "secret" not in calls


@pytest.mark.parametrize("verb", ["run", "resume", "reproduce"])
def test_the_digest_of_the_image_is_told_where_it_is_recorded_or_compared(site: Host, verb: str) -> None:
    digest = hashlib.sha256(site.image.read_bytes()).hexdigest()
    assert told(site.run(verb, program=TOLD)[1])["MLIPILOT_IMAGE_SHA256"] == digest
    stated = {"MLIPILOT_IMAGE_SHA256": "0" * 64}  # nobody's word but sha256sum's
    assert told(site.run(verb, program=TOLD, **stated)[1])["MLIPILOT_IMAGE_SHA256"] == digest
    assert "MLIPILOT_IMAGE_SHA256" not in told(site.run("status", program=TOLD, **stated)[1])


def test_a_reproduction_in_the_image_is_not_sent_to_the_image_again(site: Host) -> None:
    """MLIPILOT_IMAGE is the verb's --image, in containers of their own, which cannot be started inside."""
    given = {"MLIPILOT_IMAGE": str(site.image)}
    found = told(site.run("reproduce", program=TOLD, **given)[1])
    assert "MLIPILOT_IMAGE" not in found and "MLIPILOT_IMAGE_SHA256" in found


def test_an_image_that_is_not_the_one_that_was_built_is_refused(site: Host) -> None:
    lock = f"mlipilot-cpu:\n  file: mlipilot-cpu.sif\n  sif_sha256: {'0' * 64}\n"
    site.image.with_name("images.lock").write_text(lock)
    status, said, complaint = site.run("reproduce", program="echo ran")
    assert (status, said) == (2, "") and "is not the one in images.lock beside it" in complaint


def test_the_site_s_settings_are_told(site: Host) -> None:
    found = told(site.run("doctor", program=TOLD, MLIPILOT_GPU_PARTITION="gpu")[1])
    assert found["MLIPILOT_GPU_PARTITION"] == "gpu" and found["MLIPILOT_IMAGE"] == str(site.image)


ASKS = f"""\
export MLIPILOT_HOST=$APPTAINERENV_MLIPILOT_HOST PATH=/nowhere PYTHONPATH={REPOSITORY}
exec {sys.executable} -c '
import json, sys
from mlipilot.programs import ask
asked = json.loads(sys.argv[1])
answer = ask(asked["argv"], timeout_s=asked.get("timeout_s", 20), stdin=asked.get("stdin", ""),
             environment=asked.get("environment"))
print(json.dumps([answer.status, answer.stdout, answer.stderr, answer.hung, answer.is_missing]))' "$2"
"""


def ask_from_inside(site: Host, *argv: str, verb: str = "verify", **asked: object) -> list[object]:
    status, said, complaint = site.run(verb, json.dumps({"argv": argv} | asked), program=ASKS)
    assert status == 0, complaint
    found: list[object] = json.loads(said)
    return found


@pytest.fixture
def slurm(site: Host, stand_in: StandIn) -> StandIn:
    """Slurm's commands on the host, each a few lines of bash."""
    site.env["PATH"] = f"{site.env['PATH'].partition(':')[0]}:{os.environ['PATH']}"
    return stand_in


def test_the_host_answers_what_only_it_can(site: Host, slurm: StandIn) -> None:
    slurm("sacct", 'cat; printf "%s|" "$@" "$TZ" "${SLURM_JOB_ID-}" "$SLURM_CONF"; echo "oh" >&2; exit 3')
    site.env |= {"SLURM_JOB_ID": "7", "SLURM_CONF": "/x/slurm.conf"}
    words = ["--jobs=1,2", "a b", "", "*", "line\nbreak"]
    answer = ask_from_inside(site, "sacct", *words, stdin="given;", environment=NO_SLURM | {"TZ": "UTC"})
    assert answer == [3, "given;" + "|".join([*words, "UTC", "", "/x/slurm.conf", ""]), "oh\n", False, False]


def test_an_answer_may_be_long_and_a_program_may_hang(site: Host, slurm: StandIn) -> None:
    slurm("squeue", "head -c 200000 /dev/zero | tr '\\0' x")
    assert ask_from_inside(site, "squeue")[1] == "x" * 200_000
    slurm("sinfo", "sleep 60")
    assert ask_from_inside(site, "sinfo", timeout_s=1)[3:] == [True, False]


def test_what_is_on_no_host_is_missing(site: Host) -> None:
    site.env["PATH"] = f"{site.env['PATH'].partition(':')[0]}:/usr/bin:/bin"
    answer = ask_from_inside(site, "sinfo-of-nobody")
    assert answer == [None, "", "sinfo-of-nobody is not on the PATH", False, True]


FORBIDDEN = [
    ["scancel", "7"],
    ["sbatch", "job.sh"],
    ["scontrol", "update", "jobid=7", "show"],
    ["scontrol", "-o", "hold", "7"],
    ["scontrol"],
    ["sacctmgr", "-i", "modify", "user", "me", "set", "show"],
    ["bash", "-c", "true"],
    ["apptainer", "exec", "image", "true"],
]


@pytest.mark.parametrize("argv", FORBIDDEN, ids=" ".join)
def test_the_host_does_nothing_that_changes_anything(
    site: Host, slurm: StandIn, tmp_path: Path, argv: list[str]
) -> None:
    for name in ("scancel", "sbatch", "scontrol", "sacctmgr"):
        slurm(name, f"touch {tmp_path}/done")
    assert ask_from_inside(site, *argv)[4] is True
    assert not (tmp_path / "done").exists()


ALLOWED = [
    ["sbatch", "--test-only", "--time=1"],
    ["scontrol", "show", "config"],
    ["scontrol", "-o", "show", "job", "7"],
    ["sacctmgr", "--noheader", "show", "associations"],
    ["squeue", "-h", "-j", "7,7"],
    ["sinfo", "--version"],
]


@pytest.mark.parametrize("argv", ALLOWED, ids=" ".join)
def test_the_host_answers_questions(site: Host, slurm: StandIn, argv: list[str]) -> None:
    slurm(argv[0], 'echo "$*"')
    assert ask_from_inside(site, *argv)[:2] == [0, " ".join(argv[1:]) + "\n"]


def test_containers_of_the_doctor_have_nothing_of_the_site_s_settings(site: Host) -> None:
    given = {"APPTAINER_BINDPATH": "/data", "HTTPS_PROXY": "http://me:secret@proxy", "APPTAINERENV_X": "1"}
    site.env |= given
    assert ask_from_inside(site, "apptainer", "exec", "image", "true", verb="doctor")[0] == 0
    names = (Path(site.env["STANDIN_APPTAINER"]) / "environment").read_text().split()
    assert "PATH" in names and not given.keys() & set(names)


def test_only_the_doctor_tries_containers(site: Host) -> None:
    assert ask_from_inside(site, "apptainer", "exec", "image", "true", verb="doctor")[0] == 0
    assert ask_from_inside(site, "apptainer", "exec", "image", "true")[4] is True


def test_cancel_ends_jobs_by_their_numbers_and_nothing_else(site: Host, slurm: StandIn) -> None:
    slurm("scancel", 'echo "$*"')
    assert ask_from_inside(site, "scancel", "7", "8_1", verb="cancel")[:2] == [0, "7 8_1\n"]
    for words in (["--user=me"], ["7", "--me"], ["7;8"], []):
        assert ask_from_inside(site, "scancel", *words, verb="cancel")[4] is True, words


@pytest.fixture
def singularity(site: Host) -> Host:
    """A host with SingularityCE in Apptainer's place."""
    bin_ = Path(site.env["STANDIN_APPTAINER"]) / "bin"
    (bin_ / "apptainer").rename(bin_ / "singularity")
    tools = site.root / "tools"
    tools.mkdir()
    for folder in ("/usr/bin", "/bin"):
        for program in Path(folder).iterdir():
            if program.name != "apptainer" and not (tools / program.name).is_symlink():
                (tools / program.name).symlink_to(program)
    site.env["PATH"] = f"{bin_}:{tools}"
    return site


def test_where_a_host_has_singularity_it_is_called_instead(singularity: Host) -> None:
    program = "env | sed -n 's/^SINGULARITYENV_//p'"
    status, said, complaint = singularity.run("run", program=program, OPENAI_API_KEY="secret-1")
    assert status == 0, complaint
    found = told(said)
    assert found["OPENAI_API_KEY"] == "secret-1" and found["MLIPILOT_HOST"]
    assert found["MLIPILOT_IMAGE_SHA256"] == hashlib.sha256(singularity.image.read_bytes()).hexdigest()


def test_the_doctor_in_an_image_tries_the_container_program_that_the_host_has(singularity: Host) -> None:
    asks = ASKS.replace("APPTAINERENV", "SINGULARITYENV")
    words = json.dumps({"argv": ["apptainer", "exec", "image", "echo", "ran"]})
    status, said, complaint = singularity.run("doctor", words, program=asks)
    assert status == 0 and json.loads(said)[:2] == [0, "ran\n"], complaint


def programs_asked() -> set[tuple[str, ...]]:
    """The first words of every command line of Slurm's and Apptainer's that the toolkit asks."""
    found = set()
    for path in (REPOSITORY / "mlipilot").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.List) and node.elts and isinstance(node.elts[0], ast.Constant):
                words = [word.value for word in node.elts if isinstance(word, ast.Constant)]
                if words[0] in ("sinfo", "sacct", "squeue", "scontrol", "sacctmgr", "sbatch", "scancel"):
                    found.add(tuple(map(str, words)))
    return found


def test_all_that_the_toolkit_asks_of_slurm_is_answered() -> None:
    asked = programs_asked()
    assert {words[0] for words in asked} >= {"sinfo", "sacct", "squeue", "scontrol", "sbatch"}
    script = 'source "$0"; is_for_asking "$@"'
    for words in sorted(asked):
        asks = ["cancel", *words, "7"] if words[0] == "scancel" else ["verify", *words]
        command = ["bash", "-u", "-c", script, str(REPOSITORY / "sbatch" / "host.sh"), *asks]
        assert subprocess.run(command, check=False).returncode == 0, words
