"""`sbatch/mlipilot`: what the host tells and answers the verb in the image; Apptainer is a stand-in here."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import StandIn
from tests.sbatch.conftest import REPOSITORY
from tests.sbatch.host import Host

NO_SLURM = {"PATH": "/nowhere"}


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
answer = ask(asked["argv"], timeout_s=asked.get("timeout_s", 60), stdin=asked.get("stdin", ""),
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
