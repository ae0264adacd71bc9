"""The image's check, and what it is asked to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlipilot.audit.files import sha256_bytes
from mlipilot.errors import CheckFailedError, InputError
from mlipilot.jobs.container_commands import Container
from mlipilot.paths import RunPaths
from mlipilot.reproduce.image import check_image, is_inside, network_of_containers, rebuild_data
from tests.conftest import StandIn
from tests.reproduce.conftest import IMAGE

DIGEST = sha256_bytes(IMAGE)


def test_only_the_recorded_image_is_taken(image: Path) -> None:
    check_image(image, DIGEST)
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


def test_the_data_set_is_rebuilt_by_the_image_with_nothing_but_the_output(
    stand_in: StandIn, tmp_path: Path, image: Path
) -> None:
    stand_in("apptainer", f'printf "%s\\n" "$@" >"{tmp_path}/asked"')
    rebuild_data(RunPaths(tmp_path), Container(image, "none"))
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked[-4:] == ["/opt/mlipilot/bin/python", "-m", "mlipilot.reproduce", str(tmp_path)]
    assert [asked[i + 1] for i, word in enumerate(asked) if word == "--bind"] == [f"{tmp_path}:{tmp_path}"]
    assert asked[asked.index("--network") + 1] == "none"


def test_a_data_set_that_cannot_be_rebuilt_is_one_clean_line(
    stand_in: StandIn, tmp_path: Path, image: Path
) -> None:
    stand_in("apptainer", "printf 'no space\\e[2J left\\n' >&2; exit 1")
    with pytest.raises(CheckFailedError, match="did not rebuild the data set: no space left"):
        rebuild_data(RunPaths(tmp_path), Container(image, "none"))


def test_where_containers_cannot_be_cut_off_is_found_out(stand_in: StandIn, image: Path) -> None:
    seen = "mount 1 0 0:1 / / ro - squashfs /dev/loop0 ro"

    def apptainer(refused: str, network: str) -> None:
        refuse = f"for word; do case $word in {refused}) exit 1 ;; esac; done"
        stand_in("apptainer", f"{refuse}\nprintf '%s\\n' '{seen}' 'network {network}' measured")

    apptainer("never", "namespace")
    assert network_of_containers(image) == "none"
    apptainer("--net", "seccomp")
    assert network_of_containers(image) == "seccomp"
    apptainer("--net", "host")
    assert network_of_containers(image) == "host"
    stand_in("apptainer", "true")  # that it ends well says nothing
    assert network_of_containers(image) == "host"


def test_without_apptainer_there_are_no_containers(no_programs: None, image: Path) -> None:
    with pytest.raises(InputError, match="neither apptainer nor singularity is on the PATH"):
        network_of_containers(image)
