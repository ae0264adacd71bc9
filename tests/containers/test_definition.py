"""The definition file and build.sh's manners: what can be checked without a build."""

from __future__ import annotations

import hashlib
import re
import subprocess
from pathlib import Path

import pytest

from tests.containers.image import CONTAINERS, IMAGE, build_sh

DEFINITION = (CONTAINERS / "mlipilot.def").read_text(encoding="utf-8")
SHELL_SECTIONS = ("post", "environment", "runscript", "test")


def _sections() -> dict[str, str]:
    _, *pieces = re.split(r"^%(\w+)\n", DEFINITION, flags=re.MULTILINE)
    return dict(zip(pieces[::2], pieces[1::2], strict=True))


def _defaults() -> dict[str, str]:
    lines = _sections()["arguments"].split()
    return dict(line.split("=", 1) for line in lines)


def _render(text: str) -> str:
    """What Apptainer makes of the template with the defaults."""
    return re.sub(r"\{\{ (\w+) \}\}", lambda name: _defaults()[name[1]], text)


def test_the_sections_are_there() -> None:
    assert {"arguments", "files", "labels", "help", *SHELL_SECTIONS} <= _sections().keys()


def test_every_argument_has_a_default_and_a_use() -> None:
    used = set(re.findall(r"\{\{ (\w+) \}\}", DEFINITION))
    assert used == _defaults().keys()
    assert DEFINITION.count("{{") == len(re.findall(r"\{\{ \w+ \}\}", DEFINITION)), "a placeholder misspelt"


def test_build_sh_passes_the_arguments_of_the_definition() -> None:
    here_document = re.search(
        r"<<ARGUMENTS\n(.*?)^ARGUMENTS$", (CONTAINERS / "build.sh").read_text(), re.DOTALL | re.MULTILINE
    )
    assert here_document is not None
    assert {line.split("=")[0] for line in here_document[1].splitlines()} == _defaults().keys()


@pytest.mark.parametrize("section", SHELL_SECTIONS)
def test_shell_sections_parse(section: str) -> None:
    checked = subprocess.run(
        ["sh", "-n"], input=_render(_sections()[section]), capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr


def test_spython_reads_the_rendered_definition(tmp_path: Path) -> None:
    parsers = pytest.importorskip("spython.main.parse.parsers", reason="spython is not installed")
    # It knows neither templates nor bases that are not Docker's, so it gets what is left without them.
    rendered = tmp_path / "rendered.def"
    without = DEFINITION.replace("%arguments\n" + _sections()["arguments"], "")
    rendered.write_text(_render(without).replace("Bootstrap: localimage", "Bootstrap: docker"))
    recipe = parsers.get_parser("singularity")(str(rendered)).recipe["spython-base"]
    assert recipe.cmd == 'exec /opt/mlipilot/bin/mlipilot "$@"'
    assert recipe.files == ["source /opt/source", "share /opt/mlipilot/share"]
    names = {label.split()[0] for label in recipe.labels}
    assert names == {
        f"mlipilot.{name}"
        for name in ("version", "variant", "base-digest", "lock-digest", "source-digest", "source-git-tree")
    }


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([], "build.sh image"),
        (["bake"], "bake"),
        (["image", "rocm"], "rocm"),
        (["image", "--output"], "--output"),
        (["lock", "cuda"], "made together"),
        (["sign"], "KEY.pem"),
    ],
)
def test_wrong_words_are_named(arguments: list[str], named: str) -> None:
    done = build_sh(*arguments)
    assert done.returncode == 2
    assert named in done.stderr


def test_a_wheelhouse_replaces_no_other_folder(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    done = build_sh("wheelhouse", "--wheelhouse", tmp_path)
    assert done.returncode == 2 and str(tmp_path) in done.stderr
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def _stand_in_image(folder: Path) -> Path:
    """Bytes that stand in for a SIF, and an images.lock with two entries."""
    sif = folder / IMAGE
    sif.write_bytes(b"stand-in for an image")
    digest = hashlib.sha256(sif.read_bytes()).hexdigest()
    entries = {"mlipilot-cuda": "0" * 64, "mlipilot-cpu": digest}
    (folder / "images.lock").write_text(
        "# comment\n"
        + "".join(f"{name}:\n  file: {name}.sif\n  sif_sha256: {each}\n" for name, each in entries.items())
    )
    return sif


def test_verify_refuses_a_changed_file(tmp_path: Path) -> None:
    sif = _stand_in_image(tmp_path)
    assert build_sh("verify", "--output", tmp_path).returncode == 0
    sif.write_bytes(b"stand-in for an imagE")
    changed = build_sh("verify", "--output", tmp_path)
    assert changed.returncode == 1 and str(sif) in changed.stderr
    sif.unlink()
    assert build_sh("verify", "--output", tmp_path).returncode == 1


def test_verify_asks_for_an_entry_of_that_variant(tmp_path: Path) -> None:
    _stand_in_image(tmp_path)
    assert build_sh("verify", "cuda", "--output", tmp_path).returncode == 1  # an entry, but no file
    (tmp_path / "images.lock").unlink()
    missing = build_sh("verify", "--output", tmp_path)
    assert missing.returncode == 2 and "images.lock" in missing.stderr


def test_verify_takes_no_missing_key_for_none(tmp_path: Path) -> None:
    _stand_in_image(tmp_path)
    assert build_sh("verify", tmp_path / "absent.pem", "--output", tmp_path).returncode == 2
