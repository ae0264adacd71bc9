"""The image's check, and golden command lines: what a reproduction can see is decided here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mlipilot.audit.files import sha256_bytes
from mlipilot.errors import InputError
from mlipilot.reproduce.image import check_image, image_argv, is_inside
from tests.reproduce.conftest import IMAGE

DIGEST = sha256_bytes(IMAGE)


def _argv(**changes: Any) -> list[str]:
    given: dict[str, Any] = {
        "run": Path("/runs/cu_emt"),
        "output": Path("/fresh/out"),
        "image": Path("/images/m.sif"),
        "digest": DIGEST,
        "arguments": ["reproduce", "/runs/cu_emt", "--iteration", "3"],
    }
    return image_argv(**(given | changes))


def test_the_run_is_read_only_the_output_writable_and_there_is_no_network() -> None:
    assert _argv() == [
        *("apptainer", "--silent", "exec"),
        *("--containall", "--cleanenv", "--no-home", "--no-eval", "--no-mount", "home,cwd,bind-paths"),
        *("--net", "--network", "none"),
        *("--env", f"MLIPILOT_IMAGE_SHA256={DIGEST}"),
        *("--env", "MPLCONFIGDIR=/tmp"),
        *("--bind", "/runs/cu_emt:/runs/cu_emt:ro"),
        *("--bind", "/fresh/out:/fresh/out"),
        *("--pwd", "/fresh/out"),
        "/images/m.sif",
        *("python", "-m", "mlipilot", "reproduce", "/runs/cu_emt", "--iteration", "3"),
    ]


def test_a_gpu_and_a_network_that_cannot_be_cut_off_change_nothing_else() -> None:
    other = _argv(network="host", gpu=True)
    assert "--nv" in other and "--nv" not in _argv()
    assert [word for word in _argv() if word not in ("--net", "--network", "none")] == [
        word for word in other if word != "--nv"
    ]


@pytest.mark.parametrize("path", ["/r:rw", "/r,/etc", "/r\n/etc", "/r\\"])
@pytest.mark.parametrize("which", ["run", "output"])
def test_a_path_that_would_become_another_bind_is_refused(which: str, path: str) -> None:
    with pytest.raises(InputError, match="cannot be bound"):
        _argv(**{which: Path(path)})


def test_only_the_recorded_image_is_taken(image: Path) -> None:
    assert check_image(image, DIGEST) == DIGEST
    with pytest.raises(InputError, match=f"{DIGEST}(.|\n)*{'0' * 64}"):
        check_image(image, "0" * 64)
    with pytest.raises(InputError, match="made without an image"):
        check_image(image, None)
    with pytest.raises(InputError, match="there is no image here"):
        check_image(image.with_name("none.sif"), DIGEST)


def test_inside_is_told_by_the_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLIPILOT_IMAGE_SHA256", raising=False)
    assert not is_inside(DIGEST) and not is_inside(None)
    monkeypatch.setenv("MLIPILOT_IMAGE_SHA256", DIGEST)
    assert is_inside(DIGEST) and not is_inside("0" * 64) and not is_inside(None)
