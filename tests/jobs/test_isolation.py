"""What real containers show of this host, whatever a site or a user has set; here candidates attack."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from mlipilot.audit.files import write_json
from mlipilot.audit.manifest import check_manifest
from mlipilot.jobs.container_commands import Network
from mlipilot.jobs.job_files import JobOrder, JobResult, read_result
from tests.conftest import StandIn

# It reads what it can, tells the names of its variables, and calls a server of the host's.
HOSTILE = """
[ ! -e {secret} ] || echo "read $(cat {secret})"
compgen -e
exec 3<>/dev/tcp/127.0.0.1/{port} && echo called
exit 0
"""
# A user namespace in which no network namespace can be made, as on sites that allow none.
NO_NAMESPACES = (
    *("unshare", "--user", "--map-root-user", "bash", "-c"),
    'echo 0 >/proc/sys/user/max_net_namespaces && exec "$@"',
    "bash",
)
no_namespaces = pytest.mark.skipif(
    subprocess.run([*NO_NAMESPACES, "true"], capture_output=True, check=False).returncode != 0,
    reason="this user may not make a user namespace",
)


class Attack:
    """A job whose code is hostile, on a host with a secret and a server."""

    def __init__(self, run: Path, order: JobOrder, image: Path, folder: Path) -> None:
        self.attempt, self.order, self.image = run / "attempt", order, image
        self.secret = folder / "srv" / "secret"
        self.secret.parent.mkdir()
        self.secret.write_text("swordfish")

    def run(
        self,
        network: Network = "none",
        prefix: Sequence[str] = (),
        env: dict[str, str] | None = None,
        **order: object,
    ) -> JobResult:
        """Have a worker run it, by `prefix` and with `env` in its environment."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            script = HOSTILE.format(secret=self.secret, port=listener.getsockname()[1])
            told = self.order.model_copy(update={"argv": ["/bin/bash", "-c", script]} | order)
            self.attempt.mkdir()
            write_json(self.attempt / "job.json", told.model_dump())
            worker = [sys.executable, "-m", "mlipilot.jobs.worker", str(self.attempt)]
            worker += ["--image", str(self.image), "--network", network]
            subprocess.run([*prefix, *worker], check=True, env=os.environ | (env or {}))
        assert check_manifest(self.attempt) == []
        return read_result(self.attempt)

    @property
    def said(self) -> list[str]:
        """What the hostile code found; nothing where it did not run."""
        log = self.attempt / "stdout.log"
        return log.read_text().splitlines() if log.exists() else []


@pytest.fixture
def attack(run: Path, make_order: Callable[..., JobOrder], shell_image: Path, tmp_path: Path) -> Attack:
    order = make_order("").model_copy(update={"reads": [str(run / "recipe")]})
    return Attack(run, order, shell_image, tmp_path)


def _wrap(stand_in: StandIn, script: str) -> None:
    """A site's wrapper around Apptainer; `$@` begins with `--silent exec`."""
    stand_in("apptainer", f"real={shutil.which('apptainer')}\n{script}")


def test_what_the_environment_would_bind_or_hand_on_does_not_get_in(attack: Attack) -> None:
    binds, secret = str(attack.secret.parent), attack.secret
    result = attack.run(
        env={
            "APPTAINER_BIND": binds,
            "SINGULARITY_BIND": binds,
            "APPTAINER_BINDPATH": binds,
            "APPTAINER_MOUNT": f"type=bind,source={binds},destination={binds}",
            "APPTAINER_CONTAINLIBS": str(secret),
            "APPTAINER_NV": "1",
            "APPTAINER_HOME": binds,
            "APPTAINERENV_TOKEN": "x",
            "SINGULARITYENV_TOKEN": "x",
            "APPTAINERENV_APPEND_PATH": "/x",
            "https_proxy": "http://user:password@proxy",
            "TERM": "xterm",
            "OPENAI_API_KEY": "x",
        }
    )
    assert result.outcome == "ok", (attack.attempt / "stderr.log").read_text()
    seen = set(attack.said)
    assert not seen & {"read swordfish", "called", "TOKEN", "https_proxy", "TERM", "OPENAI_API_KEY"}, seen
    assert result.isolation.measured and result.isolation.leaks == []
    assert (result.isolation.network, result.isolation.network_by) == ("none", "namespace")
    kept = (attack.attempt / "measured").read_text()
    assert "password" not in kept and "swordfish" not in kept


@pytest.mark.parametrize(
    "where", ["$secret", "$secret:/mnt:ro", "$secret:/dev/shm", "$secret:/tmp", "$output"]
)
def test_a_mount_that_a_wrapper_adds_is_found_and_nothing_runs(
    attack: Attack, stand_in: StandIn, where: str
) -> None:
    given = f"secret='{attack.secret.parent}' output='{attack.secret.parent}:{attack.attempt}/output'"
    _wrap(stand_in, f'{given}\nexec "$real" "$1" exec --bind "{where}" "${{@:3}}"')
    result = attack.run()
    assert (result.outcome, attack.said) == ("not_isolated", [])
    point = (
        str(attack.secret.parent) if where == "$secret" else where.split(":")[-1 if ":ro" not in where else 1]
    )
    point = f"{attack.attempt}/output" if where == "$output" else point
    assert f"mount {point}" in str(result.reason) and "apptainer.conf" in str(result.reason)


def test_a_variable_that_a_wrapper_adds_is_found_and_nothing_runs(attack: Attack, stand_in: StandIn) -> None:
    _wrap(stand_in, 'exec "$real" "$1" exec --env SITE_TOKEN=swordfish "${@:3}"')
    result = attack.run()
    assert (result.outcome, attack.said, result.isolation.variables) == ("not_isolated", [], ["SITE_TOKEN"])
    assert "swordfish" not in (attack.attempt / "measured").read_text()


def test_an_overlay_that_a_wrapper_adds_is_found(attack: Attack, stand_in: StandIn, tmp_path: Path) -> None:
    (tmp_path / "overlay").mkdir()
    _wrap(stand_in, f'exec "$real" "$1" exec --overlay {tmp_path}/overlay "${{@:3}}"')
    result = attack.run()
    assert result.outcome == "not_isolated" and "mount / (overlay" in str(result.reason)


def test_a_leak_can_be_recorded_alone(attack: Attack, stand_in: StandIn) -> None:
    _wrap(stand_in, f'exec "$real" "$1" exec --bind {attack.secret.parent} "${{@:3}}"')
    result = attack.run(on_leak="record")
    assert result.outcome == "ok" and "read swordfish" in attack.said
    (mount,) = result.isolation.mounts
    assert mount.startswith(f"{attack.secret.parent} (") and mount.endswith(", writable)")


def test_what_a_site_binds_for_everybody_does_not_get_in(
    attack: Attack, stand_in: StandIn, tmp_path: Path
) -> None:
    usual = Path("/etc/apptainer/apptainer.conf")
    if not usual.is_file():
        pytest.skip(f"{usual} is elsewhere here")
    config = tmp_path / "apptainer.conf"
    config.write_text(f"{usual.read_text()}\nbind path = {attack.secret.parent}\nmount hostfs = yes\n")
    config.chmod(0o644)
    _wrap(stand_in, f'exec "$real" --config {config} "$@"')
    result = attack.run()
    assert result.outcome == "ok" and "read swordfish" not in attack.said, result.reason
    assert result.isolation.measured and result.isolation.leaks == []


@no_namespaces
def test_without_network_namespaces_no_socket_can_be_made(attack: Attack, shell_image: Path) -> None:
    best = (
        "import sys, pathlib, mlipilot.jobs.measured as m; print(m.best_network(pathlib.Path(sys.argv[1])))"
    )
    ask = [*NO_NAMESPACES, sys.executable, "-c", best, str(shell_image)]
    assert subprocess.run(ask, capture_output=True, text=True, check=True).stdout == "seccomp\n"
    result = attack.run("seccomp", NO_NAMESPACES, require_no_network=True)
    assert result.outcome == "ok" and "called" not in attack.said, result.reason
    assert (result.isolation.network, result.isolation.network_by) == ("none", "seccomp")
    assert "socket: " in (attack.attempt / "stderr.log").read_text()


def test_an_open_network_is_measured_and_refused_where_it_must_not_be(attack: Attack) -> None:
    result = attack.run("host", require_no_network=True)
    assert (result.outcome, result.isolation.network, attack.said) == ("not_isolated", "host", [])


def test_an_open_network_is_recorded_as_such(attack: Attack) -> None:
    result = attack.run("host")
    assert (result.outcome, result.isolation.network, result.isolation.network_by) == ("ok", "host", None)
    assert "called" in attack.said


def test_a_flag_that_has_no_effect_is_not_believed(attack: Attack, stand_in: StandIn) -> None:
    _wrap(
        stand_in,
        'for word; do case $word in --net | --network | none) ;; *) words+=("$word") ;; esac; done\n'
        'exec "$real" "${words[@]}"',
    )
    result = attack.run("none", require_no_network=True)
    assert (result.outcome, result.isolation.network, attack.said) == ("not_isolated", "host", [])


def test_an_image_in_which_nothing_can_be_measured_runs_nothing(attack: Attack, stand_in: StandIn) -> None:
    _wrap(
        stand_in,
        'case "$*" in *"/bin/bash -p -s"*) echo "FATAL: no loop devices" >&2; exit 255 ;; esac\n'
        'exec "$real" "$@"',
    )
    result = attack.run()
    assert (result.outcome, attack.said) == ("not_isolated", []) and "no loop devices" in str(result.reason)
