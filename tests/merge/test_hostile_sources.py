"""Runs that another machine wrote, and may have written to harm who merges them."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from mlipilot.audit.claims import LOCK
from mlipilot.errors import InputError
from mlipilot.merge.merging import merge_runs
from mlipilot.paths import RunPaths
from tests.cli.verbs import outcome
from tests.merge.conftest import Clusters

SECRET = "a secret of whoever merges"


def replace_by_link(path: Path, target: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.symlink_to(target)


def link_for_a_lineage(run: RunPaths, secret: Path) -> None:
    replace_by_link(run.lineage(5).root, secret.parent)


def link_for_a_folder(run: RunPaths, secret: Path) -> None:
    replace_by_link(run.lineage(5).iteration(0), secret.parent)


def link_for_a_file(run: RunPaths, secret: Path) -> None:
    replace_by_link(run.lineage(5).iteration(0) / "verdict.json", secret)


def link_for_the_data(run: RunPaths, secret: Path) -> None:
    replace_by_link(run.data, secret.parent)


def link_for_the_spec(run: RunPaths, secret: Path) -> None:
    shutil.copy(run.spec, secret.with_name("spec"))
    replace_by_link(run.spec, secret.with_name("spec"))


def incumbent_that_leaves(run: RunPaths, secret: Path) -> None:
    replace_by_link(run.lineage(5).incumbent, Path("iterations/../../../../etc"))


def lock_that_leaves(run: RunPaths, secret: Path) -> None:
    run.lineage(5).controller.mkdir(exist_ok=True)
    replace_by_link(run.lineage(5).controller / LOCK, secret)


def pipe(run: RunPaths, secret: Path) -> None:
    os.mkfifo(run.lineage(5).root / "pipe")


def pipe_for_the_ledger(run: RunPaths, secret: Path) -> None:
    run.lineage(5).ledger.unlink()
    os.mkfifo(run.lineage(5).ledger)


def pipe_for_the_protected(run: RunPaths, secret: Path) -> None:
    run.protected.unlink()
    os.mkfifo(run.protected)


def a_socket(run: RunPaths, secret: Path) -> None:
    here = Path.cwd()
    os.chdir(run.lineage(5).root)  # its name may be 108 bytes long
    try:
        socket.socket(socket.AF_UNIX).bind("socket")
    finally:
        os.chdir(here)


def name_with_escapes(run: RunPaths, secret: Path) -> None:
    (run.lineage(5).root / "a\x1b[2J\nFAILED").write_text("x")


def folder_with_escapes(run: RunPaths, secret: Path) -> None:
    (run.lineage(5).iteration(0) / "b\x1b]0;x\x07").mkdir()


def name_with_bytes(run: RunPaths, secret: Path) -> None:
    (Path(os.fsdecode(os.fsencode(run.lineage(5).root) + b"/\xff\xfe"))).write_text("x")


def link_for_the_image(run: RunPaths, secret: Path) -> None:
    run.image_digest.symlink_to("/nowhere")


def pipe_for_the_image(run: RunPaths, secret: Path) -> None:
    os.mkfifo(run.image_digest)


def number_with_zeros(run: RunPaths, secret: Path) -> None:
    run.lineage(5).root.rename(run.root / "lineage-005")


def spec_of_bombs(run: RunPaths, secret: Path) -> None:
    bomb = ["a: &a [x, x]"] + [
        f"{b}: &{b} [*{a}, *{a}]" for a, b in zip("abcdefghij", "bcdefghijk", strict=True)
    ]
    run.spec.write_text("\n".join(bomb) + "\n")


HOSTILE = [
    *(link_for_a_lineage, link_for_a_folder, link_for_a_file, link_for_the_data, link_for_the_spec),
    *(incumbent_that_leaves, lock_that_leaves, pipe, pipe_for_the_ledger, pipe_for_the_protected, a_socket),
    *(name_with_escapes, folder_with_escapes, name_with_bytes, number_with_zeros, spec_of_bombs),
    *(link_for_the_image, pipe_for_the_image),
]


@pytest.mark.parametrize("spoil", HOSTILE)
@pytest.mark.parametrize("there", [False, True])
def test_nothing_is_followed_waited_for_or_written(
    clusters: Clusters, tmp_path: Path, spoil: Callable[[RunPaths, Path], None], there: bool
) -> None:
    (tmp_path / "private").mkdir()
    secret = tmp_path / "private" / "key"
    secret.write_text(SECRET)
    into = clusters.alpha if there else clusters.into
    before = sorted(into.root.rglob("*"))
    spoil(clusters.beta, secret)
    status, out, err = outcome(["merge", str(into.root), str(clusters.beta.root)])
    assert status == 2 and err.startswith("mlipilot: ") and "Traceback" not in err
    assert "\x1b" not in out + err and "\nFAILED" not in out + err and SECRET not in out + err
    assert secret.read_text() == SECRET
    assert [path for path in sorted(into.root.rglob("*")) if path.name != LOCK] == before


def test_evidence_that_is_no_file_is_passed_over(clusters: Clusters, tmp_path: Path) -> None:
    spool = clusters.beta.spool
    (spool / "requests").mkdir(parents=True)
    os.mkfifo(spool / "accounts")
    (spool / "settled").symlink_to("/etc/passwd")
    (spool / "requests" / "mlp-../../../x").parent.mkdir(parents=True, exist_ok=True)
    (clusters.beta.merged).mkdir()
    (clusters.beta.merged / "evil").symlink_to(tmp_path)
    merge_runs(clusters.into, [clusters.beta], lambda _: None)
    assert not clusters.into.merged.exists()


def test_evidence_of_elsewhere_is_none(clusters: Clusters, tmp_path: Path) -> None:
    request = tmp_path / "other" / "requests" / "mlp-0123456789abcdef-l0.0001.s7.t.a1"
    request.parent.mkdir(parents=True)
    request.touch()
    clusters.beta.spool.symlink_to(tmp_path / "other")
    clusters.beta.merged.symlink_to(tmp_path)
    merge_runs(clusters.into, [clusters.beta], lambda _: None)
    assert not clusters.into.merged.exists()


def test_a_link_to_a_run_that_a_person_names_is_that_run(clusters: Clusters, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(clusters.beta.root)
    status, out, err = outcome(["merge", str(clusters.into.root), str(tmp_path / "link")])
    assert status == 0, err
    assert "has lineages 4, 5" in out


def test_errors_name_what_stands_there(clusters: Clusters, tmp_path: Path) -> None:
    os.mkfifo(clusters.beta.lineage(5).root / "pipe")
    with pytest.raises(InputError, match="lineage-5/pipe: this is neither a file nor a folder\n  mend: "):
        merge_runs(clusters.into, [clusters.beta], lambda _: None)
