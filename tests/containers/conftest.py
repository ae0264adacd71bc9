"""What images.lock says of the image that tests run."""

from __future__ import annotations

from typing import Any

import pytest

from tests.containers.image import NAME, built_image, entries


@pytest.fixture
def entry() -> dict[str, Any]:
    """What images.lock says of the image."""
    if not (built_image().parent / "images.lock").is_file():
        pytest.skip("the image that MLIPILOT_TEST_IMAGE names has no images.lock beside it")
    return entries(built_image().parent)[NAME]
