"""Two requests are the same, or the first place that differs is told; the clock's numbers are left out."""

from __future__ import annotations

from typing import Any

import pytest

from mlipilot.pilots.likeness import first_difference

EFFECT = '{"metric": "%s",\n "direction": "unchanged",\n "before": %s,\n "after": %s,\n "grade": "%s"}'


@pytest.mark.parametrize(
    ("recorded", "asked"),
    [
        ('"peak_memory_mib": 26.5,\n', '"peak_memory_mib": 18.8203125,\n'),
        ('"throughput_atom_steps_per_s": 1e+2', '"throughput_atom_steps_per_s": null'),
        ("relative_cost | ≤ 4  | 0.9318 | yes | why", "relative_cost | ≤ 4  | 1.21e-05 | yes | why"),
        ("a\nrelative_cost | 0.93 | 0.88 \nb", "a\nrelative_cost | 1.93 | 1 \nb"),
        ("throughput_atom_steps_per_s | 166.3 | 68.24 atom", "throughput_atom_steps_per_s | 1 | 2 atom"),
        (EFFECT % ("relative_cost", 1, 2.5, "held"), EFFECT % ("relative_cost", 3, "null", "refuted")),
        ('{"event": "progress", "elapsed_s": 1.796}', '{"event": "progress", "elapsed_s": 12}'),
        ("<<< UNTRUSTED OUTPUT f666eb4063d46369: the", "<<< UNTRUSTED OUTPUT 0123456789abcdef: the"),
        ('File "/a/runs/x/lineage-0/drafts/t.py"', 'File "/b c"/lineage-0/drafts/t.py"'.replace(' c"', "")),
    ],
)
def test_what_is_measured_anew_may_differ(recorded: str, asked: str) -> None:
    assert first_difference({"messages": [recorded]}, {"messages": [asked]}) is None


@pytest.mark.parametrize(
    ("recorded", "asked"),
    [
        ('"force_mae_mev_per_a": 26.5', '"force_mae_mev_per_a": 26.6'),
        ("relative_cost | ≤ 4  | 0.9 | yes", "relative_cost | ≤ 5  | 0.9 | yes"),
        ("relative_cost | ≤ 4  | 0.9 | yes", "relative_cost | ≤ 4  | 4.9 | NO"),
        (EFFECT % ("relative_cost", 1, 2, "held"), EFFECT % ("force_mae_mev_per_a", 1, 2, "held")),
        (EFFECT % ("stress_mae_gpa", 1, 2, "held"), EFFECT % ("stress_mae_gpa", 1, 2, "refuted")),
        ('"step": 3, "elapsed_s": 1', '"step": 4, "elapsed_s": 1'),
        ("x relative_cost | 0.9 | 1", "x relative_cost | 0.9 | 2"),
        ("/a/lineage-0/train.py", "/a/lineage-1/train.py"),
        ("----- a (0123456789ab) -----", "----- a (0123456789ac) -----"),
        ("same", "same\n"),
    ],
)
def test_all_else_may_not(recorded: str, asked: str) -> None:
    assert first_difference(recorded, asked) is not None


@pytest.mark.parametrize(
    ("recorded", "asked", "said"),
    [
        ({"a": 1}, {"a": 2}, "a is 2, not 1"),
        ({"a": 1}, {"a": True}, "a is True, not 1"),
        ({"a": {"b": 1}}, {"a": {}}, "a.b is missing"),
        ({}, {"temperature": 0.1}, "temperature is new"),
        ({"m": [1, 2]}, {"m": [1]}, "m has 1 entries, not 2"),
        ({"m": ["x\nyes"]}, {"m": ["x\nyet"]}, "m[0], line 2, has 'x yet' where 'x yes' was sent"),
        ({"m": "a"}, {"m": None}, "m is None, not 'a'"),
        (
            "----- r (0123456789ab) -----\nrate: 1",
            "----- r (ba9876543210) -----\nrate: 2",
            "line 2, has '----- r (digest) ----- rate: 2' where '----- r (digest) ----- rate: 1' was sent",
        ),
    ],
)
def test_the_first_place_is_told(recorded: Any, asked: Any, said: str) -> None:
    assert said in str(first_difference(recorded, asked))


def test_hostile_text_is_shown_harmless_and_costs_no_time() -> None:
    said = first_difference({"m": "a\x1b[2J\u202eb"}, {"m": "\x1b]0;x\x07c" * 50_000})
    assert said is not None and len(said) < 300 and said.isprintable()
    assert first_difference("/" * 200_000, "/" * 200_000 + "\x9b2J" + "/" * 9) is not None
