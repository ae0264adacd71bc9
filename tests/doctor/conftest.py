"""A site to ask about, and its image."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mlipilot.doctor.site import Site

SiteOf = Callable[..., Site]


@pytest.fixture
def site_of() -> SiteOf:
    """A site by its variables: `site_of(GPU_PARTITION="gpu")`."""
    return lambda **settings: Site.from_environment({f"MLIPILOT_{k}": v for k, v in settings.items()})


@pytest.fixture
def image(shell_image: Path) -> Path:
    """The image to ask about."""
    return shell_image
