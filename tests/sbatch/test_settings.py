"""Each setting of the batch scripts may be missing: a user sets few of them, or none."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from mlipilot.doctor.site import Site
from tests.sbatch.checkout import Checkout
from tests.sbatch.conftest import REPOSITORY, Run, StandinSlurm, job_name

SBATCH = REPOSITORY / "sbatch"
CAMPAIGNS = sorted((REPOSITORY / "campaigns").glob("*.sbatch"))
# What a login shell has, whoever it is of.
USER = {"HOME": "/tmp", "PATH": os.environ["PATH"], "USER": "somebody", "LANG": "C.UTF-8"}


def declared() -> dict[str, tuple[str, str]]:
    """Kind and default of each setting, as settings.sh has them."""
    script = 'source "$0"; printf "%s\\n" "${settings[@]}"'
    shell = ["bash", "-u", "-c", script, str(SBATCH / "settings.sh")]
    lines = subprocess.run(shell, env={}, capture_output=True, text=True, check=True).stdout.splitlines()
    return {name: (kind, default) for name, kind, default, _ in (line.split("|") for line in lines)}


def read_in(*files: Path) -> set[str]:
    """The settings that shell scripts read: with a dollar, in arithmetic, or by a name that they hand on.

    Not what stands in comments, or what is given to a program in a container alone.
    """
    words = re.compile(r"(?<![A-Z0-9_])MLIPILOT_[A-Z0-9_]*[A-Z0-9]\b")
    lines = (line for file in files for line in file.read_text().splitlines())
    ours = (re.sub(r"(^|\s)#.*|give_inside \w+", "", line) for line in lines)
    return {name for line in ours for name in words.findall(line)} - {"MLIPILOT_ENDPOINT_TOKEN"}


SETTINGS = declared()
# The site block of a campaign gives these a meaning; nothing below sbatch/ knows them.
OF_CAMPAIGNS = {"MLIPILOT_RUN", "MLIPILOT_PROFILE"}
OF_CONTROLLERS = read_in(
    *(SBATCH / f"{name}.sh" for name in ("campaign", "hand_back", "owner", "successor")), *CAMPAIGNS
)


def all_set(root: Path) -> dict[str, str]:
    """A good value for every setting, as nobody has them."""
    values = {name: f"of-{name.lower()}" for name, (kind, _) in SETTINGS.items() if kind == "text"}
    values |= {name: str(int(default) + 1) for name, (kind, default) in SETTINGS.items() if kind.isdigit()}
    values |= {name: f"--comment={name}" for name in SETTINGS if "EXTRA" in name}
    (model := root / "model.gguf").touch()
    return values | {
        "MLIPILOT_IMAGE": str(root / "containers" / "mlipilot-cpu.sif"),
        "MLIPILOT_IMAGE_SHA256": "ab" * 32,
        "MLIPILOT_SUBMIT": "here",
        "MLIPILOT_ENGINE": "slurm",
        "MLIPILOT_SBATCH_DIR": str(SBATCH),
        "MLIPILOT_ENDPOINT": str(model),
        "MLIPILOT_ENDPOINT_IMAGE": str(model),
        "MLIPILOT_PASS": "HOME",
        "MLIPILOT_RUN": "runs/tiny",
        "MLIPILOT_PROFILE": "full",
        "MLIPILOT_LINEAGES": "0-1",
        "MLIPILOT_LEDGER_RECORDS": "12",
        "MLIPILOT_CAMPAIGN_FILE": "campaigns/mine.sbatch",
        "MLIPILOT_IDLE_GENERATIONS": "1",
    }


def test_every_setting_that_a_script_reads_is_declared_and_no_other() -> None:
    scripts = [file for file in (*SBATCH.iterdir(), *CAMPAIGNS) if file.name != "settings.sh"]
    assert read_in(*scripts) <= SETTINGS.keys() | OF_CAMPAIGNS
    text = "".join(file.read_text() for file in scripts)
    by_template = {f"MLIPILOT_SBATCH_EXTRA_{name}" for name in ("TRAIN", "EVALUATE", "FUSED")}
    assert SETTINGS.keys() - read_in(*scripts) == by_template
    assert "extra=MLIPILOT_SBATCH_EXTRA_${wanted[template]^^}" in text  # these it reads so
    assert not OF_CAMPAIGNS & read_in(*SBATCH.iterdir())


def test_one_place_gives_a_setting_its_default() -> None:
    elsewhere = [file for file in SBATCH.glob("*.sh") if file.name != "settings.sh"]
    guarded = re.compile(r"\$\{(MLIPILOT_[A-Z0-9_]+):?[-=]")
    found = {name for file in elsewhere for name in guarded.findall(file.read_text())}
    computed = {"MLIPILOT_SBATCH_DIR", "MLIPILOT_LINEAGES"}
    assert found == computed and all(SETTINGS[name][1] == "" for name in computed)


def test_the_documents_tell_the_same_defaults() -> None:
    documents = "".join(file.read_text() for file in (REPOSITORY / "docs").glob("*.md"))
    told = dict(re.findall(r"`(MLIPILOT_[A-Z0-9_]+)` \((\d+)\)", documents))
    assert told and told == {name: SETTINGS[name][1] for name in told}


def test_scripts_read_their_settings_before_anything_else() -> None:
    for name in ("submitter.sh", "campaign.sh", "endpoint.sh", "hyperqueue.sh"):
        sourced = re.findall(r'^source ".*/([a-z_]+\.sh)"$', (SBATCH / name).read_text(), re.MULTILINE)
        assert sourced[0] == "settings.sh", name


def test_the_doctor_has_the_same_defaults() -> None:
    site = Site.from_environment({})
    assert site.most == {name: int(SETTINGS[f"MLIPILOT_MAX_{name.upper()}"][1]) for name in site.most}
    assert site.gres == SETTINGS["MLIPILOT_GPU_GRES"][1]


@pytest.mark.parametrize("name", [name for name, (kind, _) in SETTINGS.items() if kind.isdigit()])
def test_a_number_that_is_none_is_named_with_the_mend(name: str) -> None:
    least = int(SETTINGS[name][0])
    for value in ("soon", str(least - 1), "1e3", "08", " 7", "9999999999"):
        done = subprocess.run(
            ["bash", "-u", str(SBATCH / "settings.sh")], env={name: value}, capture_output=True, text=True
        )
        assert (done.returncode, done.stdout) == (2, "")
        assert f"{name}='{value}' is not a whole number: set it to {least} or more" in done.stderr


@pytest.mark.parametrize(
    "words", ["--api-key k3y", "--threads 8 --api-key=k3y", "--api_key k3y", "--hf-token\tk3y"]
)
def test_a_key_among_the_words_for_the_models_server_is_refused_and_not_shown(words: str) -> None:
    done = subprocess.run(
        ["bash", "-u", str(SBATCH / "settings.sh")],
        env={"MLIPILOT_ENDPOINT_OPTIONS": words},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "MLIPILOT_ENDPOINT_OPTIONS holds a key: leave it out" in done.stderr and "k3y" not in done.stderr


def site_file(root: Path, text: str) -> Path:
    """A clone of the batch scripts with the site's file for all users beside them."""
    shutil.copytree(SBATCH, root / "sbatch")
    (root / "sbatch" / "site.sh").write_text(text)
    return root / "sbatch" / "settings.sh"


def value_of(settings: Path, name: str, **env: str) -> str:
    script = f'source "$0"; printf %s "${name}"'
    shell = ["bash", "-u", "-c", script, str(settings)]
    return subprocess.run(shell, env=env, capture_output=True, text=True, check=True).stdout


def test_the_sites_file_stands_for_what_the_users_environment_does_not_say(tmp_path: Path) -> None:
    text = 'MLIPILOT_GPU_PARTITION=fat\nMLIPILOT_POLL_S=$((7 * 6))\n: "$NOT_SET"\nMLIPILOT_QOS=long\n'
    settings = site_file(tmp_path, text)
    assert value_of(settings, "MLIPILOT_GPU_PARTITION") == "fat"
    assert value_of(settings, "MLIPILOT_GPU_PARTITION", MLIPILOT_GPU_PARTITION="") == "fat"
    assert value_of(settings, "MLIPILOT_GPU_PARTITION", MLIPILOT_GPU_PARTITION="mine") == "mine"
    assert value_of(settings, "MLIPILOT_POLL_S") == "42"
    assert value_of(settings, "MLIPILOT_DOUBT_S") == SETTINGS["MLIPILOT_DOUBT_S"][1]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("if\n", "site.sh"),
        ("exit 0\n", "site.sh"),
        ("set -e\nfalse\n", "site.sh"),
        ("MLIPILOT_POLL_S=soon\n", "MLIPILOT_POLL_S='soon'"),
    ],
)
def test_a_sites_file_that_is_wrong_is_named(tmp_path: Path, text: str, words: str) -> None:
    settings = site_file(tmp_path, text)
    done = subprocess.run(["bash", "-u", str(settings)], env={}, capture_output=True, text=True)
    assert done.returncode == 2 and words in done.stderr


@pytest.mark.parametrize(
    "text",
    [
        "MLIPILOT_QOS=long\n[ -d /no-such ] && MLIPILOT_QOS=other\n",
        "declare -x MLIPILOT_QOS=long\ncd /\n",
        "MLIPILOT_QOS=long\r\n",
        "echo hello; set -e; IFS=,; trap 'echo bye' EXIT; MLIPILOT_QOS=long\n",
        "set -u; export MLIPILOT_QOS=long; unset HOME\n",
    ],
)
def test_whatever_else_a_sites_file_does_its_settings_count(tmp_path: Path, text: str) -> None:
    assert value_of(site_file(tmp_path, text), "MLIPILOT_QOS", HOME="/") == "long"


def test_the_doctor_reads_the_sites_file_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site_file(tmp_path, "MLIPILOT_GPU_PARTITION=fat\nMLIPILOT_GPU_GRES=gpu:$(echo a100)\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLIPILOT_GPU_PARTITION", "mine")
    site = Site.from_environment()
    assert site.options == ("--partition=mine",) and site.gres == "gpu:a100"


def serve_once(run: Run, env: dict[str, str]) -> None:
    name = run.request()
    command = ["bash", str(SBATCH / "submitter.sh"), "--once", str(run.path)]
    standin = {"PATH": run.env["PATH"], "STANDIN_SLURM": run.env["STANDIN_SLURM"]}
    done = subprocess.run(command, env=USER | env | standin, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert run.receipt(name)["status"] == "submitted", done.stdout


def left_out(names: Iterable[str], together: int) -> list[Any]:
    """Each setting is left out with a few others, no neighbours in the alphabet; in the sweep alone."""
    listed = sorted(names)
    step = -(-len(listed) // together)
    groups = [pytest.param(listed[n::step], id=f"{listed[n]} and others") for n in range(step)]
    sweep = [pytest.mark.slow, pytest.mark.sweep]
    return groups + [pytest.param([name], id=name, marks=sweep) for name in listed]


@pytest.mark.parametrize("names", left_out(SETTINGS, 4))
def test_the_submitter_serves_without(names: list[str], run: Run, tmp_path: Path) -> None:
    (image := tmp_path / "containers" / "mlipilot-cpu.sif").parent.mkdir()
    image.touch()
    (run.path / "image.sha256").write_text("cd" * 32 + "\n")
    serve_once(run, {name: value for name, value in all_set(tmp_path).items() if name not in names})


def test_the_submitter_serves_where_nothing_but_the_image_is_set(run: Run, tmp_path: Path) -> None:
    (image := tmp_path / "a.sif").touch()
    (run.path / "image.sha256").write_text("cd" * 32 + "\n")
    serve_once(run, {"MLIPILOT_IMAGE": str(image)})


CONTROLLER = f"""\
# A stand-in: it asks for one job, and ends well when that is submitted.
cd "$(dirname "$STANDIN_SLURM")"/site/runs/* || exit
attempt=lineage-0/iterations/0000/seed-1/train/attempt-1
mkdir -p spool/requests "$attempt" && echo '{{}}' >"$attempt/job.json"
printf '%s\\n' template=train "attempt=$attempt" minutes=1 cpus=1 memory_mib=9 gpus=0 >spool/requests/.new
mv spool/requests/.new spool/requests/{job_name()}
for _ in {{1..200}}; do
  ! grep -sqx status=submitted spool/receipts/{job_name()} || exit 0
  sleep 0.1
done
exit 1
"""


@pytest.fixture
def site(tmp_path: Path, standin_slurm: StandinSlurm) -> Checkout:
    """A clone with an image, in which nothing is changed."""
    site = Checkout(tmp_path / "site", standin_slurm)
    site.write_program("mlipilot", CONTROLLER)
    site.write_program("module", "exit 0")
    return site


@pytest.mark.parametrize("script", [path.name for path in CAMPAIGNS])
def test_a_campaign_as_it_is_shipped_has_its_jobs_submitted(script: str, site: Checkout) -> None:
    done = site.submit(script, USER)
    assert done.returncode == 0, done.stdout
    assert [Path(call[-1]).name for call in site.slurm.calls("sbatch")[:1]] == [script]  # its successor
    assert any(f"--job-name={job_name()}" in call for call in site.slurm.calls("sbatch")[1:])


@pytest.mark.parametrize("names", left_out(OF_CONTROLLERS, 3))
def test_a_campaign_has_its_jobs_submitted_without(names: list[str], site: Checkout) -> None:
    env = {name: value for name, value in all_set(site.root).items() if name not in names}
    done = site.submit("cu_emt.sbatch", USER | env)
    assert done.returncode == 0, done.stdout


def test_a_campaign_that_is_submitted_from_elsewhere_says_from_where(site: Checkout) -> None:
    done = site.submit("cu_emt.sbatch", USER, SLURM_SUBMIT_DIR=str(site.root / "campaigns"))
    assert done.returncode == 2 and site.slurm.calls("sbatch") == []
    assert "sbatch this from the repository's root" in done.stdout
