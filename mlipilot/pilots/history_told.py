"""What of a lineage a model is told, and how much: the rule by which a conversation fits its context.

The room of a conversation is the context size less the longest reply. Of it the task may fill five eighths:
the gates always, the recipe's files as far as they fit a quarter (recipe.yaml first, others by name), the
newest experiments, the newest lessons and the end of why a draft came back an eighth each, and never more
than 3000 characters, however large the context is; what is older is counted in one line, and show_history has
it. So the 30th iteration costs at most 1.4 times what the 3rd did, and the 300th what the 30th did. When
the turn itself outgrows the room, the oldest answers of tools are left out, then the oldest calls, then the
middle of the newest answers; the task and both ends of the newest answers always stay.

Tokens are counted as characters over a ratio that starts pessimistic and follows the endpoint's own counts.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from mlipilot.untrusted import clip, one_line

Message = dict[str, Any]
ASSUMED_TOKENS = 16384
"""The context size of an endpoint that does not tell it."""
BOUNDLESS_TOKENS = 10**9
"""The context size of a pilot that is no language model: it reads the whole history, however long."""
_CHARACTERS_PER_TOKEN = 3.0  # code and numbers; prose has more than 4
_RECIPE_SHARE, _HISTORY_SHARE, _LESSONS_SHARE, _FEEDBACK_SHARE = 1 / 4, 1 / 8, 1 / 8, 1 / 8
_LONGEST_SHARE = 3000  # characters of experiments, and of lessons: the past must not grow dearer for ever
_LEFT_OUT = "(left out to save space; call the tool again if you need it)"
_CUT = "\n… (the middle is left out: it does not fit) …\n"
_KEPT_ARGUMENT = 300  # characters of an old call's argument that stay
_LEAST_ANSWER = 600  # characters of the newest answer of a tool that stay


@dataclass
class Room:
    """How much fits, in tokens, as well as it is known."""

    context_tokens: int | None = None
    """None: not known; ASSUMED_TOKENS then."""
    reply_tokens: int = 1024
    _ratio: float = field(default=_CHARACTERS_PER_TOKEN, init=False)

    @property
    def tokens(self) -> int:
        """For the messages and the tools together; at least a quarter of the context."""
        context = self.context_tokens or ASSUMED_TOKENS
        return max(context // 4, context - self.reply_tokens)

    def characters(self, share: float) -> int:
        """A share of the room in characters, by the pessimistic ratio: it must not vary within a turn."""
        return int(self.tokens * share * _CHARACTERS_PER_TOKEN)

    def estimate(self, request: Any) -> int:
        """Tokens of anything that is sent as JSON."""
        return int(len(json.dumps(request, ensure_ascii=False)) / self._ratio)

    def length(self, tokens: int) -> int:
        """Characters that come to so many tokens."""
        return math.ceil(tokens * self._ratio)

    def learn(self, request: Any, prompt_tokens: int) -> None:
        """Correct the ratio by the endpoint's own count of a request (0: it did not count)."""
        if prompt_tokens > 0:
            characters = len(json.dumps(request, ensure_ascii=False))
            self._ratio = min(max(characters / prompt_tokens, 1.0), 6.0)

    def shrink(self, context_tokens: int | None, request: Any) -> None:
        """After an overflow: the size that the endpoint names, else three quarters of what was too much."""
        limit = context_tokens or self.estimate(request) * 3 // 4 + self.reply_tokens
        if self.context_tokens is None or limit < self.context_tokens:
            self.context_tokens = limit
        else:  # it said the size that was known: the estimate was too low
            self._ratio = max(1.0, self._ratio * 0.75)


def fitted(messages: Sequence[Message], tools: Any, room: Room) -> list[Message]:
    """The conversation as it is sent: whole if it fits, else shortened by the module's rule."""
    kept = list(messages)
    excess = room.estimate([kept, tools]) - room.tokens
    for index in range(2, _newest_exchange(kept)):
        if excess <= 0:
            return kept
        before = room.estimate(kept[index])
        kept[index] = _shortened(kept[index])
        excess -= before - room.estimate(kept[index])
    while excess > 0 and (end := _end_of_exchange(kept, 2)) < len(kept):
        excess -= room.estimate(kept[2:end])
        del kept[2:end]
    if excess > 0:
        _shorten_newest(kept, tools, room)
    return kept


def _shorten_newest(messages: list[Message], tools: Any, room: Room) -> None:
    """Cut the newest answers until all fits, the longest first, then the calls that they answer."""
    newest = _newest_exchange(messages)
    answers = {
        at
        for at in range(newest, len(messages))
        if messages[at]["role"] == "tool" and len(messages[at]["content"]) > _LEAST_ANSWER
    }
    while (excess := room.estimate([messages, tools]) - room.tokens) > 0 and answers:
        longest = max(answers, key=lambda at: len(messages[at]["content"]))
        content = messages[longest]["content"]
        escaped = len(json.dumps(content, ensure_ascii=False)) / len(content)
        too_much = math.ceil(room.length(excess + 1) / escaped)
        kept = max(_LEAST_ANSWER, len(content) - len(_CUT) - too_much)
        if kept >= len(content) - len(_CUT):
            answers.remove(longest)
        else:
            messages[longest] = {**messages[longest], "content": _both_ends(content, kept)}
    if excess > 0 and newest < len(messages):
        messages[newest] = _shortened(messages[newest])


def _both_ends(text: str, characters: int) -> str:
    head = characters // 3  # of a log the end matters most
    return text[:head] + _CUT + text[len(text) - (characters - head) :]


def _newest_exchange(messages: Sequence[Message]) -> int:
    """Where the last reply of the model begins."""
    replies = [at for at, message in enumerate(messages) if message["role"] == "assistant"]
    return replies[-1] if replies else len(messages)


def _end_of_exchange(messages: Sequence[Message], start: int) -> int:
    """Where the next reply of the model begins: calls and their answers stay together."""
    later = range(start + 1, len(messages))
    return next((at for at in later if messages[at]["role"] == "assistant"), len(messages))


def _shortened(message: Message) -> Message:
    if message["role"] == "tool" and len(message["content"]) > len(_LEFT_OUT):
        return {**message, "content": _LEFT_OUT}
    if message["role"] == "assistant":
        calls = [_shortened_call(call) for call in message.get("tool_calls", [])]
        short = {**message, "content": clip(message["content"] or "", _KEPT_ARGUMENT)}
        return {**short, "tool_calls": calls} if calls else short
    return message


def _shortened_call(call: dict[str, Any]) -> dict[str, Any]:
    arguments = json.loads(call["function"]["arguments"])
    short = {key: clip(v, _KEPT_ARGUMENT) if isinstance(v, str) else v for key, v in arguments.items()}
    return {**call, "function": {**call["function"], "arguments": json.dumps(short, ensure_ascii=False)}}


def recipe_texts(files: Iterable[tuple[str, str]], room: Room) -> dict[str, str]:
    """The files that are told in full: smallest YAML first, then others, within their share."""
    left = room.characters(_RECIPE_SHARE)
    told = {}
    for name, text in sorted(files, key=lambda file: (not file[0].endswith((".yaml", ".yml")), len(file[1]))):
        if len(text) <= left:
            told[name] = text
            left -= len(text)
    return told


def history_lines(history: Sequence[dict[str, Any]], room: Room) -> tuple[list[str], str]:
    """The newest experiments, a line each, oldest first; and what is to be said of those before."""
    limit = min(_LONGEST_SHARE, room.characters(_HISTORY_SHARE))
    lines, older = _newest([_history_line(entry) for entry in history], limit)
    counts = Counter(one_line(str(entry["verdict"]), 20) for entry in history[:older])
    told = ", ".join(f"{number} {verdict}" for verdict, number in sorted(counts.items()))
    return lines, f"{older} earlier: {told}" if older else ""


def lesson_lines(lessons: Sequence[str], room: Room) -> list[str]:
    """The newest lessons within their share, oldest first, each on one line."""
    limit = min(_LONGEST_SHARE, room.characters(_LESSONS_SHARE))
    return _newest([one_line(lesson, 400) for lesson in lessons], limit)[0]


def feedback_text(text: str, room: Room) -> str:
    """Why a draft came back; of a long text the end, where a program says what went wrong."""
    limit = room.characters(_FEEDBACK_SHARE)
    return text if len(text) <= limit else "… " + text[-limit:]


def _history_line(entry: dict[str, Any]) -> str:
    title, verdict = one_line(entry["title"], 100), one_line(str(entry["verdict"]), 20)
    written = one_line(_written(entry["diff"]), 160) or "nothing"
    return f"{entry['iteration']} | {title} | {written} | {verdict} | {one_line(entry['reason'] or '', 300)}"


def _written(diff: str) -> str:
    """The lines that a patch brings, comments and the names of files left out."""
    brought = (line[1:] for line in diff.splitlines() if line.startswith("+") and not line.startswith("+++"))
    return "; ".join(text for line in brought if (text := line.partition("#")[0].strip()))


def _newest(lines: Sequence[str], characters: int) -> tuple[list[str], int]:
    """As many of the last lines as fit, at least one if there is any; and how many were left out."""
    kept: list[str] = []
    for line in reversed(lines):
        characters -= len(line) + 1
        if characters < 0 and kept:
            break
        kept.append(line)
    return kept[::-1], len(lines) - len(kept)
