"""What `sbatch/campaign.sh` does around a controller."""

from __future__ import annotations

import hashlib
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mlipilot.pilots.pilot_settings import NAMED
from mlipilot.yaml_io import load_yaml
from tests.sbatch.checkout import IMAGE, Checkout
from tests.sbatch.conftest import StandinSlurm
from tests.waiting import wait_until

PathWithout = Callable[..., str]


@pytest.fixture
def site(tmp_path: Path, standin_slurm: StandinSlurm) -> Checkout:
    return Checkout(tmp_path / "site", standin_slurm)


def refused(site: Checkout, run: str = "runs/tiny", **environment: str) -> str:
    """The last line of a campaign that ends before anything was asked of Slurm or run in the image."""
    done = site.start(run, **environment)
    assert done.returncode == 2, done.stdout
    assert site.slurm.calls("sbatch") == [] and not (site.apptainer / "calls").exists()
    return str(done.stdout).splitlines()[-1]


def test_an_image_that_is_not_the_one_that_was_built_is_refused(site: Checkout) -> None:
    digest = hashlib.sha256(IMAGE).hexdigest()
    entry = f"mlipilot-cpu:\n  file: mlipilot-cpu.sif\n  variant: cpu\n  sif_sha256: {digest}\n"
    other = "mlipilot-cuda:\n  file: mlipilot-cuda.sif\n  sif_sha256: 0\n"
    site.image.with_name("images.lock").write_text("# by build.sh\n" + entry + other)
    site.image.write_bytes(IMAGE[:-1] + b"T")
    assert f"mlipilot-cpu.sif is not the one in images.lock beside it ({digest})" in refused(site)
    assert not (site.run / "image.sha256").exists()
    site.image.write_bytes(IMAGE)
    assert site.start().returncode == 0


def test_a_folder_is_no_image_and_leaves_no_trace_in_the_run(site: Checkout) -> None:
    site.image.unlink()
    site.image.mkdir()
    assert f"there is no image at {site.image}" in refused(site)
    assert not (site.run / "image.sha256").exists()


def test_a_module_that_cannot_be_loaded_ends_a_campaign_with_its_words(site: Checkout) -> None:
    site.write_program(
        "module", 'echo loaded; [ "$2" = gcc ] || { printf "ERROR: no\\n  %s here\\n" "$2" >&2; exit 1; }'
    )
    done = site.start(MLIPILOT_MODULES="gcc apptainer/9")
    assert done.returncode == 2 and site.slurm.calls("sbatch") == []
    (loaded, line) = done.stdout.splitlines()  # what the first one says when it is loaded, and the end
    words = r"the module apptainer/9 of MLIPILOT_MODULES was not loaded on \S+: ERROR: no apptainer/9 here"
    assert loaded == "loaded" and re.search(words, line), line


def test_modules_of_a_site_that_has_none_end_a_campaign(site: Checkout) -> None:
    done = site.start(MLIPILOT_MODULES="apptainer/1.4")
    assert done.returncode == 2 and "module: command not found" in done.stdout


def test_a_module_that_fails_with_words_alone_ends_a_campaign(site: Checkout) -> None:
    """As Modules 3.2 has it."""
    site.write_program("module", "echo \"ModuleCmd_Load.c(213):ERROR:105: Unable to locate '$2'\" >&2")
    done = site.start(MLIPILOT_MODULES="apptainer/1.4")
    assert done.returncode == 2 and "ERROR:105: Unable to locate 'apptainer/1.4'" in done.stdout


def test_the_program_of_singularityce_does_instead(site: Checkout, path_without: PathWithout) -> None:
    (site.apptainer / "bin" / "apptainer").rename(site.apptainer / "bin" / "singularity")
    path = path_without("apptainer", "singularity")
    path = f"{site.slurm.root / 'bin'}:{site.apptainer / 'bin'}:{path}"
    (site.root / "key.pem").touch()
    done = site.start(PATH=path, MLIPILOT_PUBLIC_KEY=str(site.root / "key.pem"))
    assert done.returncode == 0, done.stdout
    assert site.told()["MLIPILOT_CONTROLLER_JOB"] == "17_0"
    verify, run = (site.apptainer / "calls").read_text().splitlines()
    assert verify.startswith("verify\x1f") and "mlipilot\x1frun" in run


def test_a_host_without_either_is_told(site: Checkout, path_without: PathWithout) -> None:
    path = f"{site.slurm.root / 'bin'}:{path_without('apptainer', 'singularity')}"
    done = site.start(PATH=path)
    assert done.returncode == 2 and "neither apptainer nor singularity is on the PATH" in done.stdout


def test_the_next_controller_on_a_node_does_not_read_the_image_again(site: Checkout) -> None:
    site.write_program("sha256sum", 'echo >>"$STANDIN_APPTAINER/reads"; exec /usr/bin/sha256sum "$@"')
    time.sleep(3.1)  # what has just changed is not remembered
    for reads, always in (1, ""), (1, "0"), (2, "1"):
        assert site.start(MLIPILOT_HASH_ALWAYS=always).returncode == 0
        assert len((site.apptainer / "reads").read_text().splitlines()) == reads


def test_what_is_no_variable_cannot_be_passed_on(site: Checkout) -> None:
    done = site.start(MLIPILOT_PASS="HOME a-b")
    assert done.returncode == 2 and "MLIPILOT_PASS in tiny.sbatch: 'a-b' is no name" in done.stdout
    assert not (site.apptainer / "calls").exists()


def test_an_image_that_is_not_the_runs_is_refused(site: Checkout) -> None:
    site.run.mkdir(parents=True)
    (site.run / "image.sha256").write_text("a" * 64 + "\n")
    assert f"the run was begun with another image ({'a' * 64})" in refused(site)


def test_a_place_that_no_container_can_be_given_is_refused(site: Checkout) -> None:
    assert "no colon, comma or backslash" in refused(site, "runs/10:30")


def test_the_successor_is_queued_first_and_cancelled_when_it_is_not_needed(site: Checkout) -> None:
    done = site.start()
    assert done.returncode == 0, done.stdout
    queued = ["--parsable", "--open-mode=append", "--array=0", "--dependency=afterany:17_0", "tiny.sbatch"]
    assert site.slurm.calls("sbatch") == [queued]
    assert site.slurm.calls("scancel") == [["--state=PENDING", "1"]]
    assert "--go-on" in site.words() and "--unattended" not in site.words()
    assert (site.run / "served").exists()


@pytest.mark.parametrize("why", [{"MLIPILOT_LEDGER_RECORDS": "0"}, {"SLURM_RESTART_COUNT": "1"}])
def test_a_start_that_nobody_asked_for_says_so(site: Checkout, why: dict[str, str]) -> None:
    assert site.start(**why).returncode == 0
    assert "--unattended" in site.words()


def test_a_signal_ends_the_controller_and_leaves_the_successor(site: Checkout) -> None:
    site.write_program("mlipilot", "echo >begun; exec sleep 60")
    campaign = site.begin()
    wait_until((site.apptainer / "begun").exists)
    campaign.send_signal(signal.SIGUSR2)
    said, _ = campaign.communicate(timeout=60)
    assert campaign.returncode == 143 and "before its time: job 1 goes on" in said
    assert site.slurm.calls("scancel") == []


def test_a_signal_before_there_is_a_controller_leaves_nothing(site: Checkout) -> None:
    slow = 'echo >"$STANDIN_APPTAINER/hashing"; sleep 0.2; exec /usr/bin/sha256sum "$@"'
    site.write_program("sha256sum", slow)
    campaign = site.begin()
    wait_until((site.apptainer / "hashing").exists)
    campaign.send_signal(signal.SIGTERM)
    campaign.communicate(timeout=60)
    assert campaign.returncode == 143
    assert site.slurm.calls("sbatch") == [] and not (site.apptainer / "calls").exists()


def test_three_controllers_in_a_row_that_got_no_further_are_enough(site: Checkout) -> None:
    done = site.start(MLIPILOT_LEDGER_RECORDS="0", MLIPILOT_IDLE_GENERATIONS="3")
    assert done.returncode == 2 and "3 controllers in a row got no further" in done.stdout
    assert site.slurm.calls("sbatch") == []


def test_where_jobs_are_submitted_elsewhere_this_node_asks_slurm_for_none(site: Checkout) -> None:
    done = site.start(MLIPILOT_SUBMIT="login")
    assert done.returncode == 0, done.stdout
    assert f"sbatch/submitter.sh --once {site.run}" in done.stdout and "--go-on" in site.words()
    assert site.slurm.calls("sbatch") == [] and not (site.run / "served").exists()


def test_with_hyperqueue_the_jobs_nodes_are_its_workers_for_as_long_as_the_campaign(site: Checkout) -> None:
    site.submitter = 'env >"$1/served"\n'
    keeper = (
        'trap "echo ended >>\'$1/joined\'; exit" TERM\necho "$@" >"$1/joined"\nwhile :; do sleep 0.1; done\n'
    )
    (site.root / "sbatch" / "hyperqueue.sh").write_text(keeper)
    site.write_program(
        "mlipilot", f"until [ -e {site.run}/joined ] && [ -e {site.run}/served ]; do sleep 0.1; done"
    )
    site.write_program("hq", "exit 1")
    done = site.start(MLIPILOT_ENGINE="hq")
    assert done.returncode == 0, done.stdout
    assert (site.run / "joined").read_text().splitlines() == [str(site.run), "ended"]
    assert "MLIPILOT_ENGINE=hq\n" in (site.run / "served").read_text()


def test_an_engine_that_is_not_there_ends_a_campaign_before_it_begins(
    site: Checkout, path_without: PathWithout
) -> None:
    path = f"{site.slurm.root / 'bin'}:{site.apptainer / 'bin'}:{path_without('hq')}"
    assert "hq is not on the PATH" in refused(site, MLIPILOT_ENGINE="hq", PATH=path)
    assert "MLIPILOT_ENGINE='pbs' in tiny.sbatch" in refused(site, MLIPILOT_ENGINE="pbs")


def test_where_jobs_are_submitted_has_two_answers(site: Checkout) -> None:
    assert site.start(MLIPILOT_SUBMIT="cron").returncode == 2
    assert not site.run.exists()


def test_the_variables_of_named_pilots_reach_the_controller_and_no_command_line(site: Checkout) -> None:
    fields = [key for settings in load_yaml(NAMED).values() for key in settings if key.endswith("_env")]
    named = {settings[key] for settings in load_yaml(NAMED).values() for key in fields if key in settings}
    assert {"QWEN3_32B_API_KEY", "MISTRAL_24B_BASE_URL"} < named
    given = {name: f"secret-{name}" for name in named} | {"UNRELATED_API_KEY": "secret"}
    assert site.start(**given).returncode == 0
    told = site.told()
    assert {name: told.get(name) for name in named} == {name: given[name] for name in named}
    assert "UNRELATED_API_KEY" not in told and "secret" not in (site.apptainer / "calls").read_text()
    for command in ("sbatch", "scancel"):
        assert not [word for call in site.slurm.calls(command) for word in call if "secret" in word]


def test_the_variables_that_a_campaign_names_reach_its_controller(site: Checkout) -> None:
    (site.root / "tiny.yaml").write_text(
        "pilot:\n  kind: openai\n  base_url_env: OUR_URL  # of the group\n"
        '  reviewer: {"api_key_env": "BIG_KEY", model: big}\n  # api_key_env: FORMER_KEY\n'
    )
    given = {"OUR_URL": "http://a/v1", "BIG_KEY": "k1", "SET_KEY": "k2", "FORMER_KEY": "k3"}
    done = site.start("runs/tiny", "--set", "pilot.analyst.api_key_env=SET_KEY", **given)
    assert done.returncode == 0, done.stdout
    told = site.told()
    assert {name for name in given if name in told} == {"OUR_URL", "BIG_KEY", "SET_KEY"}


def test_what_a_site_sets_for_containers_does_not_reach_the_controllers(site: Checkout) -> None:
    of_site = {"APPTAINER_BIND": "/srv", "SINGULARITY_BINDPATH": "/srv", "APPTAINERENV_TOKEN": "x"}
    done = site.start(**of_site, APPTAINER_TMPDIR="/scratch", OPENAI_API_KEY="k")
    assert done.returncode == 0, done.stdout
    told = site.told()
    assert not set(of_site) & set(told) and told["OPENAI_API_KEY"] == "k"
    seen = (site.apptainer / "environment").read_text().split()
    assert not set(of_site) & set(seen) and "APPTAINER_TMPDIR" in seen
    assert "left out of the environment of containers: APPTAINERENV_TOKEN" in done.stdout


def test_the_model_of_a_campaign_is_named_to_submitter_and_controller(site: Checkout) -> None:
    site.submitter = 'env >"$1/served"\n'
    (site.root / "tiny.gguf").touch()
    done = site.start(MLIPILOT_ENDPOINT="tiny.gguf", SLURM_ARRAY_TASK_MIN="0", SLURM_ARRAY_TASK_MAX="3")
    assert done.returncode == 0, done.stdout
    told = site.told()
    assert (told["MLIPILOT_ENDPOINT"], told["MLIPILOT_LINEAGES"]) == (str(site.root / "tiny.gguf"), "0-3")
    assert f"MLIPILOT_ENDPOINT={site.root / 'tiny.gguf'}\n" in (site.run / "served").read_text()
    assert site.slurm.environment("sbatch")["MLIPILOT_LINEAGES"] == "0-3", (
        "the successor's array has one task"
    )


def test_a_model_that_is_not_there_ends_a_campaign_before_it_begins(site: Checkout) -> None:
    done = site.start(MLIPILOT_ENDPOINT="no-such.gguf")
    assert done.returncode == 2 and "there is no model at MLIPILOT_ENDPOINT=no-such.gguf" in done.stdout
    (site.root / "Tiny-7B").mkdir()
    done = site.start(MLIPILOT_ENDPOINT="Tiny-7B")
    assert done.returncode == 2 and "set MLIPILOT_ENDPOINT_IMAGE to its image" in done.stdout
    assert site.slurm.calls("sbatch") == []
