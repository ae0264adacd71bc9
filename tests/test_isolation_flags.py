"""What keeps a container apart is spelled in two places, one for Python and one for scripts, which agree.

Nobody else spells an option of a container's, long or short, but the few that take nothing away; and a script
starts one by its whole list of what keeps apart. A host has no Python, and a container not the scripts.
"""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from mlipilot.jobs.container_commands import (
    APART,
    NETWORKS,
    OFF_NETWORK,
    Network,
    bare_argv,
    container_argv,
    container_environment,
    trusted_argv,
)
from tests.doors import ROOT, python_files, shipped_files
from tests.jobs.test_container_commands import ATTEMPT, an_order

OWNERS = {"mlipilot/jobs/container_commands.py", "sbatch/container.sh"}
_OPTIONS = """
    add-caps allow-setuid app apply-cgroups blkio-weight cleanenv compat contain containall cwd dns drop-caps
    fakeroot fusemount home hostname ipc keep-privs mount net network-args no-compat no-eval no-home no-https
    no-init no-mount no-nv no-oci no-pid no-privs no-rocm no-setgroups no-tmp-sandbox no-umask nvccli oci
    overlay passphrase pid rocm scratch security sharens underlay unsquash userns uts writable writable-tmpfs
    """
_FLAG = re.compile(rf"(?<![\w-])--({'|'.join(_OPTIONS.split())})(?![\w-])|--network\W+none\b")
HARMLESS = {"--bind", "--env", "--nv", "--pwd", "--silent", "--workdir"}
"""What any start of a container may say: no short options, several of which can be one word."""
_WITH_VALUE = HARMLESS - {"--nv", "--silent"}
SPELLED_ELSEWHERE = {
    "ci/cluster/install.sh": {"fakeroot"},  # of building an image
    "containers/build.sh": {"fakeroot"},
    "mlipilot/jobs/mounts.py": {"rocm"},  # a comment
}
VARIABLES = {
    "containers/build.sh": {
        *("APPTAINER", "SINGULARITY", "SINGULARITYCE", "APPTAINER_TMPDIR", "SINGULARITY_TMPDIR"),
        *("APPTAINER_IGNORE_SUBUID", "APPTAINER_IGNORE_FAKEROOT_COMMAND"),
    },
    "containers/mlipilot.def": {"APPTAINER_LABELS", "SINGULARITY_LABELS"},
    "mlipilot/jobs/container_commands.py": {"APPTAINER", "SINGULARITY", "APPTAINER_BIND", "APPTAINERENV_"},
    "mlipilot/jobs/measured.py": {"APPTAINER", "SINGULARITY"},
    "mlipilot/jobs/mounts.py": {"APPTAINER_BIND"},
    "sbatch/common.sh": {"APPTAINER", "SINGULARITY"}
    | {f"{brand}_{what}DIR" for brand in ("APPTAINER", "SINGULARITY") for what in ("CACHE", "TMP", "CONFIG")},
}
"""Where variables are named by which a container is given what its options take away; `_BIND` in texts."""
_VARIABLE = re.compile(r"(?<![A-Za-z0-9_])(?:APPTAINER|SINGULARITY)\w*")
_START = re.compile(
    r"""(?:"?\$\{?container\}?"?|\b(?:apptainer|singularity))(?:[ ]-\S+)*"""
    r"""[ ](?:exec|run|shell|instance|test)\b[^\n]*"""
)
_SUBCOMMANDS = r"--version|build|inspect|sif|sign|verify"


def _texts() -> dict[str, str]:
    """What every file says by which something is run, a command in one line."""
    texts = {str(path.relative_to(ROOT)): path.read_text(errors="replace") for path in shipped_files()}
    return {name: re.sub(r"\s*\\\n\s*", " ", text) for name, text in texts.items()}


def _faults(script: str) -> list[str]:
    """What a script says to containers that it starts, but the list of what keeps apart and `HARMLESS`."""
    found = []
    for start in _START.findall(script):
        said, image, _ = re.split(r'("\$image"|\bIMAGE\b|$)', start, maxsplit=1)
        words, options = iter(shlex.split(said)[1:]), list[str]()
        for word in words:
            if word in _WITH_VALUE:
                next(words, None)
            elif word not in HARMLESS:
                options.append(word)
        if not image:
            found.append(f"no image: {start}")
        elif image != "IMAGE" and not re.match(r"exec \$\{apart\w*\[@\]\}", " ".join(options)):
            found.append(f"not kept apart: {start}")
        arrays = [re.fullmatch(r"\$\{(\w+)\[@\]\}", word) for word in options[1:]]
        found += [word for word, array in zip(options[1:], arrays, strict=True) if array is None]
        for array in filter(None, arrays[1:]):
            held = re.findall(rf"\b{array[1]}\+?=\(([^)]*)\)", script) or [f"-{array[1]}"]
            options = [word for words in held for word in shlex.split(words) if word.startswith("-")]
            found += [word for word in options if word not in HARMLESS]
    return found


def _of_script(said: str, **environment: str) -> list[str]:
    script = f'source "{ROOT}/sbatch/common.sh" && {said}'
    done = subprocess.run(
        ["bash", "-c", script], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.splitlines()


def test_nobody_else_spells_them() -> None:
    found = {name: set(_FLAG.findall(text)) for name, text in _texts().items() if _FLAG.search(text)}
    assert found.keys() - SPELLED_ELSEWHERE.keys() == OWNERS
    assert {name: found[name] for name in SPELLED_ELSEWHERE} == SPELLED_ELSEWHERE


def test_scripts_start_containers_with_all_that_keeps_apart_and_say_nothing_else_to_them() -> None:
    scripts = {name: text for name, text in _texts().items() if not name.endswith(".py")}
    starts = {name: found for name, text in scripts.items() if (found := _START.findall(text))}
    lists = {name: [re.findall(r"\{(apart\w*)", start) for start in each] for name, each in starts.items()}
    assert lists == {
        "containers/mlipilot.def": [[], [], []],  # a help text
        "sbatch/campaign.sh": [["apart"]],
        "sbatch/endpoint.sh": [["apart"], ["apart_but_home"]],
        "sbatch/job.sh": [["apart"]],
        "sbatch/mlipilot": [["apart_by_environment"]],
    }
    assert {name for name, text in scripts.items() if re.search(r"\bapart\w*\+?=", text)} == {
        "sbatch/container.sh"
    }
    assert [fault for text in scripts.values() for fault in _faults(text)] == []


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        ('exec "${apart[@]}" -e', "-e"),
        ('exec "${apart[@]}" -cC', "-cC"),
        ('exec "${apart[@]}" -B /:/host', "-B"),
        ('exec "${apart[@]}" --no-init', "--no-init"),
        ('exec "${apart[@]}" --keep-privs', "--keep-privs"),
        ('exec "${apart[@]}" --env A=b -w', "-w"),
        ('exec "${apart[@]}" $more', "$more"),
        ('exec "${apart[@]}" "${gpu[@]}"', "-f"),
        ('exec "${apart[@]}" "${from_elsewhere[@]}"', "-from_elsewhere"),
        ('exec "${apart[@]}" --containall=false', "--containall=false"),
        ('-d exec "${apart[@]}"', "not kept apart"),
        ('exec "${gpu[@]}" "${apart[@]}"', "not kept apart"),
        ("exec -cC", "not kept apart"),
        ('run "${apart[@]}"', "not kept apart"),
        ('shell "${apart[@]}"', "not kept apart"),
        ("exec --bind /a:/a", "not kept apart"),
    ],
)
def test_what_a_script_said_besides_would_be_found(said: str, fault: str) -> None:
    faults = _faults(f'gpu=(--nv)\ngpu+=(-f)\n"$container" --silent {said} "$image" program -e\n')
    assert any(found.startswith(fault) for found in faults)


def test_a_start_without_a_fault_has_none() -> None:
    said = 'exec "${apart[@]}" --bind "$a:$a" "${gpu[@]}" --env X=-e "$image" program -e --fakeroot'
    assert _faults(f'gpu=(--nv --env "A=$B")\nexec "$container" --silent {said}\n') == []
    unended = "${container} --silent exec --nv"
    assert _faults(unended) == [f"no image: {unended}"]


def test_a_container_s_program_is_called_by_its_own_name_alone() -> None:
    """Else a start could hide behind another one; host.sh runs for `doctor` what Python has built."""
    for name, text in _texts().items():
        commands = re.findall(
            r'(?:^|[;&|({=]|\bexec|\bif|!)\s*"?\$\{?container\}?"?(?=\s|\)|$)[^\n]*', text, re.MULTILINE
        )
        odd = [
            c
            for c in commands
            if not _START.search(c) and not re.search(rf'container\}}?"? ({_SUBCOMMANDS})', c)
        ]
        assert odd == (["=$container"] if name == "sbatch/host.sh" else []), name


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


def test_a_variable_of_containers_is_named_nowhere_else() -> None:
    found = {name: set(_VARIABLE.findall(text)) for name, text in _texts().items() if _VARIABLE.search(text)}
    assert found == VARIABLES
    made = {name: text.count("container^^") for name, text in _texts().items() if "container^^" in text}
    assert made == {"sbatch/container.sh": 1}
    assert _VARIABLE.findall("export APPTAINER_NO_MOUNT= SINGULARITYENV_X=1") == [
        "APPTAINER_NO_MOUNT",
        "SINGULARITYENV_X",
    ]


@pytest.mark.parametrize("network", NETWORKS)
def test_python_says_nothing_else_to_a_container(network: Network) -> None:
    image = Path("/images/m.sif")
    cut_off = {"none": OFF_NETWORK, "seccomp": ("--security",), "host": ()}
    for argv, more in (
        (
            container_argv(an_order(uses_gpu=True), ATTEMPT, image, network=network),
            {"--no-privs", "--env-file"},
        ),
        (trusted_argv(Path("/r"), image, [], network=network), set[str]()),
        (bare_argv(image, Path("/f"), network), {"--no-privs"}),
    ):
        words = argv[argv.index("--silent") : argv.index(str(image))]
        assert tuple(words[1 : 2 + len(APART)]) == ("exec", *APART)
        is_cut_off = network != "seccomp" or "--no-privs" in more  # the toolkit's own code needs sockets
        wanted = {*APART, *(cut_off[network] if is_cut_off else ())} | more | HARMLESS
        assert {word for word in words if word.startswith("-")} <= wanted
        assert set(words) >= {*APART, *(cut_off[network] if is_cut_off else ())}


def test_python_builds_such_a_command_in_one_place() -> None:
    for path in python_files():
        name, tree = str(path.relative_to(ROOT)), ast.parse(path.read_text())
        shown = [node for node in ast.walk(tree) if isinstance(node, ast.List | ast.Tuple)]
        lists = [[ast.unparse(word) for word in node.elts] for node in shown]
        starts = [words for words in lists if {"'exec'", "'shell'", "'instance'"} & {*words}]
        assert len(starts) == (name in OWNERS), name
        programs = [words[1:2] for words in lists if words and words[0] in ("program", "find_program()")]
        assert all(word in (["'--silent'"], ["'--version'"], ["'inspect'"]) for word in programs), name
    owner = ast.parse((ROOT / "mlipilot/jobs/container_commands.py").read_text())
    constants = [node.value for node in ast.walk(owner) if isinstance(node, ast.Constant)]
    options = {word for word in constants if isinstance(word, str) and word.startswith("-")}
    listed = {word for word in (*APART, *OFF_NETWORK) if word.startswith("-")}
    of_containers = {"--bind", "--env-file", "--no-privs", "--nv", "--pwd", "--security", "--silent"}
    assert options == listed | of_containers | {"--kill-after=", "--signal=TERM"}


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
