"""The analyst: one lesson on one line, or none."""

from __future__ import annotations

from mlipilot.pilots.history_told import Room
from mlipilot.pilots.roles.analyst import MAX_LESSON, LessonInput, draw_lesson
from tests.pilots.conftest import history_entry
from tests.pilots.roles.conftest import Speaker, calling, saying


def _judged(**changes: object) -> LessonInput:
    effect = {"metric": "force_mae_mev_per_a", "direction": "decrease", "grade": "held"}
    entry = history_entry(3, "EMA", reason="gain 1.2", effects=[effect], diff="+  decay: 0.99\n")
    return LessonInput(entry | changes, {"force_mae_mev_per_a": 80.0}, ["stress helps"], Room())


def test_the_numbers_before_and_after_are_told() -> None:
    speaker = Speaker(calling("write_lesson", lesson="EMA 0.99 took the force MAE\nfrom 80 to 63 meV/Å"))
    assert draw_lesson(speaker, _judged(), lambda _: None) == (
        "EMA 0.99 took the force MAE from 80 to 63 meV/Å"
    )
    task = speaker.heard[0][1]["content"]
    for part in ("force_mae_mev_per_a | 80 | 63 meV/Å", "gain 1.2", "- stress helps", "+  decay: 0.99"):
        assert part in task


def test_prose_is_a_lesson_too_and_silence_is_none() -> None:
    assert draw_lesson(Speaker(saying("EMA helps.")), _judged(), lambda _: None) == "EMA helps."
    assert draw_lesson(Speaker(saying("")), _judged(), lambda _: None) is None
    assert draw_lesson(Speaker(saying("EMA he"), finish_reason="length"), _judged(), lambda _: None) is None


def test_a_lesson_is_short_and_holds_no_escapes() -> None:
    speaker = Speaker(calling("write_lesson", lesson="\x1b[31mred\u202e " + "x" * 10**5))
    lesson = draw_lesson(speaker, _judged(), lambda _: None)
    assert lesson is not None and len(lesson) <= MAX_LESSON and lesson.startswith("red")


def test_an_experiment_without_metrics_is_told_as_it_is() -> None:
    speaker = Speaker(calling("write_lesson", lesson="train.py needs its options"))
    draw_lesson(speaker, _judged(verdict="invalid", metrics={}, effects=[]), lambda _: None)
    assert "Verdict: invalid" in speaker.heard[0][1]["content"]
