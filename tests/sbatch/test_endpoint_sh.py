"""What `sbatch/endpoint.sh` starts, publishes and leaves; no model is loaded: its servers are stand-ins."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.sbatch.conftest import REPOSITORY, read_fields
from tests.waiting import wait_until

JOB = "mlp-0123456789abcdef-endpoint.a1"
CONTAINED = ["--silent", "exec", "--containall", "--cleanenv"]
# Publishes itself, as `mlipilot endpoint --gguf` does, and like it tidies up when asked to end.
_SERVER = """\
token=$APPTAINERENV_MLIPILOT_ENDPOINT_TOKEN
trap 'kill $!; ! grep -qF "$token" "$run/endpoint.json" || rm "$run/endpoint.json"; exit 0' TERM
printf '{\n  "token": "%s"\n}\n' "$token" >"$run/endpoint.json"
sleep 60 & wait"""


class Node:
    """A node on which RUN's model is to be served; it has no address but loopback."""

    def __init__(self, root: Path) -> None:
        self.root, self.run, self.bin = root, root / "run", root / "bin"
        self.bin.mkdir()
        (self.run / "spool" / "started").mkdir(parents=True)
        self.scratch = root / "tmp"
        self.scratch.mkdir()
        (self.bin / "apptainer").symlink_to(REPOSITORY / "tests" / "sbatch" / "standin_apptainer")
        self.program("getent", "echo '127.0.0.1       STREAM n1'")
        self.program("hostname", "echo '127.0.0.1 ::1'")
        self.program("vllm", f'exec {sys.executable} {REPOSITORY}/tests/sbatch/standin_vllm "$@"')
        self.program("mlipilot", f"run={shlex.quote(str(self.run))}\n{_SERVER}")
        self.gguf, self.model = root / "tiny.gguf", root / "Tiny-7B"
        self.gguf.write_bytes(b"GGUF")
        self.model.mkdir()
        self.image, self.vllm = root / "mlipilot-cpu.sif", root / "vllm.sif"
        self.image.write_bytes(b"an image")
        self.vllm.touch()
        self.started: list[subprocess.Popen[str]] = []

    def program(self, name: str, script: str) -> None:
        path = self.bin / name
        path.write_text(f"#!/bin/bash\n{script}\n")
        path.chmod(0o755)

    @property
    def published(self) -> Path:
        return self.run / "endpoint.json"

    def begin(self, serve: Path, **environment: str) -> subprocess.Popen[str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM_", "MLIPILOT_", "CUDA_"))}
        told = {
            "PATH": f"{self.bin}:{os.environ['PATH']}",
            "STANDIN_APPTAINER": str(self.root),
            "TMPDIR": str(self.scratch),
            "MLIPILOT_ENDPOINT": str(serve),
            "MLIPILOT_IMAGE": str(self.image),
            "MLIPILOT_ENDPOINT_IMAGE": str(self.vllm),
        }
        process = subprocess.Popen(
            ["bash", str(REPOSITORY / "sbatch" / "endpoint.sh"), str(self.run)],
            env=kept | told | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.started.append(process)
        return process

    def begin_job(self, serve: Path, **site: str) -> subprocess.Popen[str]:
        """As the run's submitter has it start, which knows no environment."""
        digest = hashlib.sha256(self.image.read_bytes()).hexdigest()
        told = {"image": str(self.image), "image_sha256": digest, "endpoint": str(serve)} | site
        lines = "".join(f"{key}={value}\n" for key, value in told.items())
        (self.run / "spool" / "site.env").write_text(lines)
        slurm = {"SLURM_JOB_NAME": JOB, "SLURM_JOB_ID": "42", "SLURMD_NODENAME": "n1"}
        return self.begin(serve, **slurm, MLIPILOT_ENDPOINT="", MLIPILOT_IMAGE="")

    def call(self) -> list[str]:
        """The command line that apptainer was given."""
        (line,) = (self.root / "calls").read_text().splitlines()
        return line.split("\x1f")[:-1]

    def end(self, process: subprocess.Popen[str]) -> str:
        process.send_signal(signal.SIGTERM)
        return self.said(process)

    def said(self, process: subprocess.Popen[str]) -> str:
        said, _ = process.communicate(timeout=60)
        assert not self.published.exists() and list(self.scratch.iterdir()) == [], said
        return said


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = Node(tmp_path)
    yield node
    for process in node.started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _words(option: str, call: list[str]) -> str:
    return call[call.index(option) + 1]


def test_a_directory_is_served_by_vllm_whose_token_is_on_no_command_line(node: Node) -> None:
    options = "--max-model-len 32768 --enable-auto-tool-choice --tool-call-parser hermes"
    job = node.begin(node.model, MLIPILOT_ENDPOINT_OPTIONS=options, CUDA_VISIBLE_DEVICES="1,2")
    wait_until(node.published.exists)
    assert node.published.stat().st_mode & 0o777 == 0o600
    published = json.loads(node.published.read_text())
    call = node.call()
    port = _words("--port", call)
    assert call == [
        *(*CONTAINED, "--no-eval", "--no-mount", "cwd,hostfs,bind-paths"),
        *("--nv", "--env", "CUDA_VISIBLE_DEVICES=1,2", "--workdir", _words("--workdir", call)),
        *("--bind", f"{node.model}:{node.model}:ro", str(node.vllm)),
        *("vllm", "serve", str(node.model), "--served-model-name", "Tiny-7B", "--host", "127.0.0.1"),
        *("--port", port, *options.split()),
    ]
    assert published["base_url"] == f"http://127.0.0.1:{port}/v1" and len(published["token"]) == 44
    token = {"Authorization": f"Bearer {published['token']}"}
    request = urllib.request.Request(f"{published['base_url']}/models", headers=token)
    with urllib.request.urlopen(request, timeout=5) as answer:
        assert answer.status == 200
    said = node.end(job)
    assert published["token"] not in said and "serving" in said


@pytest.mark.parametrize(
    ("names", "interfaces", "host"),
    [
        ("10.0.0.7       STREAM n1", "192.168.1.7", "10.0.0.7"),
        ("127.0.1.1       STREAM n1", "127.0.0.1 fd00::2 192.168.1.7", "192.168.1.7"),
        ("", "", "127.0.0.1"),
    ],
)
def test_a_node_is_named_by_the_address_at_which_others_reach_it(
    node: Node, names: str, interfaces: str, host: str
) -> None:
    node.program("getent", f"echo '{names}'")
    node.program("hostname", f"echo '{interfaces}'")
    job = node.begin(node.gguf)
    wait_until(node.published.exists)
    assert _words("--host", node.call()) == host
    node.end(job)


def test_each_start_has_a_token_of_its_own(node: Node) -> None:
    tokens = set()
    for _ in range(2):
        job = node.begin(node.model)
        wait_until(node.published.exists)
        tokens.add(json.loads(node.published.read_text())["token"])
        node.end(job)
        (node.root / "calls").unlink()
    assert len(tokens) == 2


def test_a_gguf_file_is_served_by_the_image_of_the_run(node: Node) -> None:
    job = node.begin(node.gguf, MLIPILOT_ENDPOINT_OPTIONS="--context-tokens 32768", SLURM_CPUS_PER_TASK="6")
    wait_until(node.published.exists)
    assert node.call() == [
        *(*CONTAINED, "--no-home", "--no-eval", "--no-mount", "home,cwd,hostfs,bind-paths"),
        *("--bind", f"{node.gguf}:{node.gguf}:ro", "--bind", f"{node.run}:{node.run}", str(node.image)),
        *("mlipilot", "endpoint", "--gguf", str(node.gguf), "--run", str(node.run), "--host", "127.0.0.1"),
        *("--port", "0", "--threads", "6", "--context-tokens", "32768"),
    ]
    node.end(job)


def test_a_server_that_dies_early_ends_the_job_below_its_last_words(node: Node) -> None:
    job = node.begin(node.model, STANDIN_VLLM="dies")
    said = node.said(job)
    assert job.returncode == 2
    assert re.search(r"(?s)No available memory.*the server ended before it answered", said), said


def test_a_model_that_is_not_loaded_in_time_is_given_up(node: Node) -> None:
    job = node.begin(node.model, STANDIN_VLLM="never_up", MLIPILOT_ENDPOINT_WAIT_S="1")
    assert "the model was not loaded within" in node.said(job)
    assert job.returncode == 2


def test_a_server_that_asks_for_no_token_is_not_published(node: Node) -> None:
    job = node.begin(node.model, STANDIN_VLLM="open")
    assert "asks for no token: not published" in node.said(job)
    assert job.returncode == 2


def test_a_port_that_somebody_listens_on_is_not_taken(node: Node) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        script = (REPOSITORY / "sbatch" / "endpoint.sh").read_text()
        function = script[script.index("free_port() {") : script.index("serve_gguf() {")]
        # RANDOM loses its special meaning: the same port is drawn again and again.
        drawn = f'host=127.0.0.1; unset RANDOM; RANDOM={port - 20000}; fail() {{ echo "$*"; exit 2; }}'
        command = f"{drawn}\n{function.replace('% 12000', '% 65536')}\nfree_port"
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stdout) == (2, "") and "no free port" in done.stderr


def test_what_a_lost_node_has_left_is_gone_before_the_model_is_loaded(node: Node) -> None:
    node.published.write_text('{"base_url": "http://n9:1/v1", "token": "old"}')
    job = node.begin(node.model, STANDIN_VLLM="never_up")
    wait_until((node.root / "calls").exists)
    assert not node.published.exists()
    node.end(job)


@pytest.mark.parametrize("serve", ["gguf", "model"])
def test_what_a_successor_has_published_outlives_a_job_whose_node_came_back(node: Node, serve: str) -> None:
    job = node.begin(getattr(node, serve))
    wait_until(node.published.exists)
    own = json.loads(node.published.read_text())["token"]
    theirs = '{"base_url": "http://n9:1/v1", "token": "of the successor"}\n'
    node.published.write_text(theirs)
    job.send_signal(signal.SIGTERM)
    said, _ = job.communicate(timeout=60)
    assert node.published.read_text() == theirs
    assert own not in said and not [word for word in node.call() if own in word]


def test_what_a_server_that_was_killed_has_published_is_removed(node: Node) -> None:
    node.program(
        "mlipilot", f"run={shlex.quote(str(node.run))}\n{_SERVER}".replace("sleep 60 & wait", "sleep 1")
    )
    job = node.begin(node.gguf)
    wait_until(node.published.exists)
    node.said(job)


def test_a_job_of_a_campaign_has_its_settings_from_the_run(node: Node) -> None:
    job = node.begin_job(node.gguf, endpoint_options="--parallel 2")
    wait_until(node.published.exists)
    assert node.call()[-2:] == ["--parallel", "2"]
    assert read_fields(node.run / "spool" / "started" / f"{JOB}.0")["job_id"] == "42"
    node.end(job)


def test_a_job_of_a_campaign_refuses_another_image(node: Node) -> None:
    job = node.begin_job(node.gguf, image_sha256="ab" * 32)
    assert "the image is not the run's" in node.said(job)
    assert job.returncode == 1 and not (node.root / "calls").exists()


def test_a_model_that_no_controller_asks_any_more_ends_by_itself(node: Node) -> None:
    job = node.begin_job(node.gguf, endpoint_idle_s="2")
    assert "no controller of" in node.said(job)


def test_a_model_that_is_not_there_is_named(node: Node) -> None:
    job = node.begin(node.root / "no-such.gguf")
    said, _ = job.communicate(timeout=60)
    assert job.returncode == 2 and f"there is no model at {node.root}/no-such.gguf" in said


def test_a_module_that_cannot_be_loaded_ends_it_with_its_words(node: Node) -> None:
    node.program("module", "echo 'no such module' >&2; exit 1")
    job = node.begin_job(node.gguf, modules="apptainer/9")
    said = node.said(job)
    assert job.returncode == 2 and not (node.root / "calls").exists()
    assert re.search("module apptainer/9 of MLIPILOT_MODULES was not loaded on .*: no such module", said)


@pytest.mark.parametrize("kind", ["gguf", "model"])
def test_the_program_of_singularityce_does_instead(
    node: Node, path_without: Callable[..., str], kind: str
) -> None:
    (node.bin / "apptainer").rename(node.bin / "singularity")
    node.program(
        "mlipilot", f"run={shlex.quote(str(node.run))}\n{_SERVER}".replace("APPTAINER", "SINGULARITY")
    )
    standin = f"export APPTAINERENV_VLLM_API_KEY=$SINGULARITYENV_VLLM_API_KEY\nexec {sys.executable}"
    node.program("vllm", f'{standin} {REPOSITORY}/tests/sbatch/standin_vllm "$@"')
    path = f"{node.bin}:{path_without('apptainer', 'singularity')}"
    job = node.begin(getattr(node, kind), PATH=path)
    wait_until(node.published.exists)
    node.end(job)
