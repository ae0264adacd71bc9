"""Golden command lines: what a job's code can see and reach is decided here."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from mlipilot.errors import InputError
from mlipilot.jobs.container_commands import (
    Network,
    binds_of,
    container_argv,
    container_environment,
    environment_file,
    without_toolkit,
    write_container_files,
)
from mlipilot.jobs.job_files import JobOrder

REPOSITORY = Path(__file__).resolve().parents[2]
ATTEMPT = Path("/r/lineage-0/iterations/0001/seed-1/train/attempt-1")


def an_order(**changes: object) -> JobOrder:
    fields: dict[str, object] = {
        "name": "x",
        "argv": ["/opt/mlipilot/bin/python", "-s", "train.py", "--seed", "1"],
        "cwd": "/r/lineage-0/iterations/0001/recipe",
        "environment": {},
        "wall_limit_s": 90.5,
        "run": "/r",
        "protected": "/r/protected.json",
        "read_only": {},
        "reads": ["/r/lineage-0/iterations/0001/recipe", "/r/data/train"],
    }
    return JobOrder.model_validate(fields | changes)


def _argv(order: JobOrder, attempt: Path, image: Path, *, network: Network) -> list[str]:
    return [*container_argv(order, attempt, image, network=network), *order.argv]


def test_a_training_sees_recipe_and_training_data_and_writes_one_directory() -> None:
    argv = _argv(an_order(), ATTEMPT, Path("/images/m.sif"), network="none")
    assert argv == [
        *("timeout", "--signal=TERM", "--kill-after=10", "91"),
        *("apptainer", "--silent", "exec"),
        *("--containall", "--cleanenv", "--no-home", "--no-eval", "--no-mount", "home,cwd,hostfs,bind-paths"),
        *("--net", "--network", "none", "--no-privs"),
        *("--bind", "/r/lineage-0/iterations/0001/recipe:/r/lineage-0/iterations/0001/recipe:ro"),
        *("--bind", "/r/data/train:/r/data/train:ro"),
        *("--bind", f"{ATTEMPT}/output:{ATTEMPT}/output"),
        *("--pwd", "/r/lineage-0/iterations/0001/recipe"),
        *("--env-file", f"{ATTEMPT}/exec.env"),
        "/images/m.sif",
        *("/opt/mlipilot/bin/python", "-s", "train.py", "--seed", "1"),
    ]


def test_a_gpu_and_a_network_that_cannot_be_cut_off_change_nothing_else() -> None:
    plain = _argv(an_order(), ATTEMPT, Path("/m.sif"), network="none")
    other = _argv(an_order(uses_gpu=True), ATTEMPT, Path("/m.sif"), network="host")
    assert [word for word in plain if word not in ("--net", "--network", "none")] == [
        word for word in other if word != "--nv"
    ]
    assert "--nv" in other and "--nv" not in plain


def test_no_bind_reaches_beyond_what_the_order_names() -> None:
    argv = _argv(an_order(), ATTEMPT, Path("/m.sif"), network="none")
    sources = [argv[i + 1].split(":")[0] for i, word in enumerate(argv) if word == "--bind"]
    assert set(sources) == {*an_order().reads, str(ATTEMPT / "output")}
    assert not any(source in ("/r", "/r/data", "/r/data/test", "/r/lineage-0") for source in sources)


def test_what_is_covered_is_shown_from_the_run() -> None:
    order = an_order(covered=without_toolkit(Path("/r/modules")))
    argv = _argv(order, ATTEMPT, Path("/m.sif"), network="none")
    binds = [argv[i + 1] for i, word in enumerate(argv) if word == "--bind"]
    packages = "/opt/mlipilot/lib/python3.11/site-packages"
    assert binds[3:] == [
        f"/r/modules/mlipilot:{packages}/mlipilot:ro",
        f"/r/modules/nothing:{packages}/mlipilot_labels:ro",
        "/r/modules/nothing:/opt/mlipilot/share:ro",
    ]
    assert {binds_of(order, ATTEMPT)[place] for place in order.covered} == {False}


def test_every_package_of_the_toolkit_is_covered() -> None:
    packages = {path.parent.name for path in REPOSITORY.glob("mlipilot*/__init__.py")}
    assert packages == {Path(place).name for place in without_toolkit(Path("/m"))} - {"share"}


def test_without_a_namespace_a_filter_lets_no_socket_be_made(tmp_path: Path) -> None:
    plain = _argv(an_order(), tmp_path, Path("/m.sif"), network="host")
    argv = _argv(an_order(), tmp_path, Path("/m.sif"), network="seccomp")
    assert [word for word in argv if word not in plain] == ["--security", f"seccomp:{tmp_path}/exec.seccomp"]
    write_container_files(tmp_path, {})
    profile = json.loads((tmp_path / "exec.seccomp").read_text())
    (rule,) = profile["syscalls"]
    assert "socket" in rule["names"] and "io_uring_setup" in rule["names"]
    assert len(profile["architectures"]) == 1  # calls of another kind of processor's end the process


def test_apptainer_is_started_without_what_it_would_bind_or_hand_on() -> None:
    harmless = {"PATH": "/bin", "APPTAINER_CACHEDIR": "/c", "SINGULARITY_TMPDIR": "/t", "SLURM_CONF": "/s"}
    names = ("BIND", "BINDPATH", "MOUNT", "OVERLAY", "CONTAINLIBS", "NV", "CONFIG_FILE", "NETWORK", "WORKDIR")
    harmful = [f"{brand}_{name}" for brand in ("APPTAINER", "SINGULARITY") for name in names]
    harmful += ["APPTAINERENV_FOO", "SINGULARITYENV_FOO", "TERM", "http_proxy", "ALL_PROXY", "no_proxy"]
    assert container_environment(harmless | dict.fromkeys(harmful, "x")) == harmless


@pytest.mark.parametrize("path", ["/r:rw", "/r,/etc", "/r\n/etc", "/r\\"])
def test_a_path_that_would_become_another_bind_is_refused(path: str) -> None:
    with pytest.raises(InputError, match="cannot be bound"):
        _argv(an_order(reads=[path]), ATTEMPT, Path("/m.sif"), network="none")


def test_the_environment_file_is_read_back_by_a_shell_as_it_was_meant() -> None:
    text = environment_file({"PATH": "/host/bin", "HOME": "/home/u", "A": "two words; $(rm -rf /) 'quoted'"})
    assert "/host/bin" not in text and "/home/u" not in text
    read = subprocess.run(
        ["env", "-i", "/bin/sh", "-c", f'{text}\nprintf "%s|%s|%s" "$A" "$HOME" "$TMPDIR"'],
        capture_output=True,
        text=True,
        check=True,
    )
    assert read.stdout == "two words; $(rm -rf /) 'quoted'|/tmp|/tmp"
