"""What keeps a container apart is spelled in two places, one for Python and one for scripts, which agree."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from mlipilot.jobs.container_commands import APART, container_environment

REPOSITORY = Path(__file__).resolve().parents[1]
OWNERS = {"mlipilot/jobs/container_commands.py", "sbatch/container.sh"}
_WORDS = (
    "contain|containall|cleanenv|no-home|no-eval|no-mount|no-privs|keep-privs|add-caps|drop-caps|allow-setuid"
    "|net|security|userns|ipc|writable|writable-tmpfs"
)
_FLAG = re.compile(rf"(?<![\w-])--({_WORDS})(?![\w-])|--network\W+none\b")


def _tracked() -> list[str]:
    """The files by which something is run: no tests, and nothing that is only read."""
    argv = [
        "git",
        "ls-files",
        "-co",
        "--exclude-standard",
        "mlipilot",
        "sbatch",
        "containers",
        "campaigns",
        "ci",
    ]
    listed = subprocess.run(argv, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    return [name for name in listed.splitlines() if not name.endswith(".md")]


def _of_script(said: str, **environment: str) -> list[str]:
    script = f'source "{REPOSITORY}/sbatch/common.sh" && {said}'
    done = subprocess.run(
        ["bash", "-c", script], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.splitlines()


def test_nobody_else_spells_them() -> None:
    found = set()
    for name in _tracked():
        path = REPOSITORY / name
        if path.is_file() and _FLAG.search(path.read_text(encoding="utf-8", errors="replace")):
            found.add(name)
    assert found == OWNERS


@pytest.mark.parametrize(
    ("line", "is_one"),
    [
        ('  "$container" exec --containall --bind "$run"', True),
        ('argv = [program, "exec", "--no-home"]', True),
        ("exec --writable-tmpfs image", True),
        ('["--net", "--network", "none"]', True),
        ("unshare --net=x", True),
        ("--network none", True),
        ('parser.add_argument("--network", choices=NETWORKS)', False),  # the worker's own
        ("cp --no-preserve=mode", False),
        ("pip --no-home-dir", False),
    ],
)
def test_another_spelling_would_be_found(line: str, is_one: bool) -> None:
    assert (_FLAG.search(line) is not None) is is_one


def test_scripts_keep_a_container_apart_as_python_does() -> None:
    assert _of_script('printf "%s\\n" "${apart[@]}"') == list(APART)


def test_a_home_of_its_own_is_all_that_the_containers_of_caches_have_besides() -> None:
    given = _of_script('printf "%s\\n" "${apart_but_home[@]}"')
    wanted = [word.replace("home,", "") for word in APART if word != "--no-home"]
    assert given == wanted and len(given) == len(APART) - 1


def test_who_sees_the_host_is_given_no_variable_of_it() -> None:
    given = _of_script('printf "%s\\n" "${apart_by_environment[@]}"')
    assert given == ["--cleanenv", "--no-eval"] and set(given) < set(APART)


def test_scripts_start_containers_in_the_environment_that_python_does() -> None:
    brands = ("APPTAINER", "SINGULARITY", "apptainer")
    whats = ("_BIND", "_CACHEDIR", "_TMPDIR", "_CONFIGDIR", "_BINDPATH", "ENV_PYTHONPATH", "_X", "")
    names = {f"{brand}{what}" for brand in brands for what in whats}
    names |= {
        "TERM",
        "term",
        "HTTPS_PROXY",
        "http_proxy",
        "NO_PROXY",
        "PROXY",
        "TERMINAL",
        "MY_APPTAINER",
        "LANG",
    }
    given = dict.fromkeys(names, "x") | {"PATH": os.environ["PATH"], "LANG": "C"}
    kept = set(_of_script("only_own_containers >/dev/null; no_proxies; compgen -e", **given)) & set(given)
    assert kept == set(container_environment(given))
    assert {"APPTAINER_CACHEDIR", "PATH", "PROXY", "MY_APPTAINER"} < kept < set(given)
