"""What a job ran in and on, as the ledger says it: each field, and what of the host a job could see."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from mlipilot.audit.surroundings import Isolation, Machine
from tests.shapes import TEXT, Shape, check, listed, optional, word


def test_the_fields_hold_this_and_nothing_else() -> None:
    check(Machine, {"processor": "EPYC"}, {"processor": TEXT, "gpu": optional(TEXT)})
    check(
        Isolation,
        {},
        {
            "backend": word("local", "slurm"),
            "filesystem": word("host", "container", "sandbox"),
            "network": word("host", "none"),
            "environment": word("scrubbed"),
            "network_by": optional(word("namespace", "seccomp")),
            "measured": Shape((False, True), (None, 0, "true")),
            "mounts": listed(TEXT),
            "variables": listed(TEXT),
        },
    )


def test_what_an_older_result_does_not_say_is_the_weakest_isolation() -> None:
    assert Machine(processor="EPYC").gpu is None
    assert Isolation().model_dump() == {
        "backend": "local",
        "filesystem": "host",
        "network": "host",
        "environment": "scrubbed",
        "network_by": None,
        "measured": False,
        "mounts": [],
        "variables": [],
    }


def test_they_do_not_change_and_have_no_other_field() -> None:
    for model in (Machine(processor="EPYC"), Isolation()):
        for name in type(model).model_fields:
            with pytest.raises(ValidationError, match="frozen"):
                setattr(model, name, getattr(model, name))
        with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
            type(model).model_validate({**model.model_dump(), "stranger": 1})


def test_a_machine_in_words() -> None:
    assert str(Machine(processor="EPYC")) == "EPYC"
    assert str(Machine(processor="EPYC", gpu="H100")) == "EPYC with H100"


def test_a_leak_is_a_mount_or_a_variable_that_nobody_gave() -> None:
    assert Isolation().leaks == []
    seen = Isolation(mounts=["/home", "/scratch"], variables=["TOKEN"])
    assert seen.leaks == ["mount /home", "mount /scratch", "variable TOKEN"]
