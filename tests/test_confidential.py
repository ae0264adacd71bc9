"""No form of a key stays in a text; what is no key stays; what looks like one is told from what does not."""

from __future__ import annotations

import json
import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlipilot import confidential
from mlipilot.confidential import HIDDEN, hidden, hidden_in, holds_key, keep, looks_like_key, suspicion
from tests.echoes import FORMS, reveals

ROOT = Path(__file__).resolve().parents[1]
KEY = "sk-Zb/81Lw+0Tf~Xe3/7Yk+d9R~mUc2"
"""With a mark at every few characters, so that who leaves the marks out or mistakes them finds no part."""
RANDOM = st.text(string.ascii_letters + string.digits + "+/_.~-", min_size=confidential.LEAST, max_size=80)
AROUND = st.text(max_size=40)


@pytest.fixture(autouse=True)
def _no_key_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confidential, "_wanted", {})


def _keep_only(key: str) -> None:
    confidential._wanted.clear()
    assert keep(key)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_read_by_who_knows_it_and_gone_from_what_is_shown(form: str) -> None:
    parts = [KEY[at : at + confidential.LEAST] for at in range(len(KEY) - confidential.LEAST + 1)]
    echo = FORMS[form](KEY)
    assert reveals(echo, parts[0]) and hidden(echo) == echo and not holds_key(echo)
    keep(KEY)
    shown = hidden(f"before {echo} after")
    assert not any(reveals(shown, part) for part in parts) and holds_key(echo)
    assert shown.startswith("before ") and shown.endswith(" after") and HIDDEN in shown


@pytest.mark.parametrize("form", ["base64", "base64 for URLs", "base64 in lines"])
def test_the_two_letters_in_which_alphabets_of_base64_differ_are_known_in_both(form: str) -> None:
    key = "~~~~~~~~~~~~"
    assert {"+", "-"} & set(FORMS[form](key))
    keep(key)
    assert not reveals(hidden(FORMS[form](key)), key[: confidential.LEAST])


@given(key=RANDOM, form=st.sampled_from(sorted(FORMS)), before=AROUND, after=AROUND)
def test_no_key_in_any_form_at_any_place_is_read_again(key: str, form: str, before: str, after: str) -> None:
    _keep_only(key)
    shown = hidden(f"{before}{FORMS[form](key)}{after}")
    whole = key[: confidential.LEAST] if form in ("beginning", "halves") else key
    assert HIDDEN in shown and not reveals(shown, whole)


@given(key=RANDOM, data=st.data())
def test_a_key_in_pieces_is_not_put_together_again(key: str, data: st.DataObject) -> None:
    _keep_only(key)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(key)), max_size=6)))
    pieces = [key[a:b] for a, b in zip([0, *cuts], [*cuts, len(key)], strict=True)]
    parts: list[Any] = [{"type": "text", "text": piece} for piece in pieces]
    deltas = [{"choices": [{"index": n, "delta": {"content": piece}}]} for n, piece in enumerate(pieces)]
    clean = hidden_in({"content": parts, "events": deltas, "list": pieces, key: 1})
    joined = [
        "".join(part["text"] for part in clean["content"]),
        "".join(event["choices"][0]["delta"]["content"] for event in clean["events"]),
        "".join(clean["list"]),
        "".join(clean),
    ]
    assert not [text for text in joined if reveals(text, key)]
    assert [event["choices"][0]["index"] for event in clean["events"]] == list(range(len(pieces)))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_what_holds_no_key_stays_as_it_is(value: Any) -> None:
    _keep_only(KEY)
    assert hidden_in(value) == value


def test_no_page_of_the_documentation_holds_a_random_key() -> None:
    for key in (KEY, "0f8e1d2c3b4a59687786a5b4c3d2e1f0", "t0ken-of-12"):
        keep(key)
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "mlipilot").rglob("*.py")]:
        text = page.read_text(encoding="utf-8")
        assert not holds_key(text) and (hidden(text) == text or "://" in text), page


def test_a_number_that_is_the_key_goes_too() -> None:
    keep("8123456712345")
    assert hidden_in([8123456712345, 812345671, 17, True, 0.5]) == [HIDDEN, HIDDEN, 17, True, 0.5]


def test_a_placeholder_is_no_key() -> None:
    for short in ("", None, "EMPTY", "none", "ollama", "1234567"):
        assert not keep(short)
    assert hidden("EMPTY 1234567 b2xsYW1h") == "EMPTY 1234567 b2xsYW1h"
    assert keep("12345678") and hidden("12345678") == HIDDEN


def test_logins_of_proxies_go_in_the_address_and_as_basic_sends_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://researcher:p%40ss-w0rd-77@proxy:3128")
    monkeypatch.setenv("all_proxy", "me:hunter2@proxy:3128")
    monkeypatch.setenv("http_proxy", "http://[oops")
    confidential.keep_proxies()
    basic = FORMS["base64"]("researcher:p@ss-w0rd-77"), FORMS["base64"]("me:hunter2")
    shown = hidden(f"Basic {basic[0]}, Basic {basic[1]}, p@ss-w0rd-77, http://me:hunter2@proxy:3128")
    assert not reveals(shown, "p@ss-w0rd-77") and not reveals(shown, "hunter2")
    assert hidden("the researcher sees http://proxy:3128/v1") == "the researcher sees http://proxy:3128/v1"


MODELS = (
    "Qwen2.5-Coder-32B-Instruct-GPTQ-Int4",
    "Qwen25Coder15BInstruct",
    "Mistral7BInstructv03",
    "gpt-4o-mini-2024-07-18",
    "meta-llama/Meta-Llama-3.1-70B-Instruct",
    "qwen2.5-coder-7b-q4_k_m.gguf",
    "mixtral8x22binstructv01",
    "ft:gpt-4o-mini-2024-07-18:site:mace:9AbCdEf1",
    "DeepSeekR1DistillQwen7B",
    "llama31instruct8bq4km",
)


@pytest.mark.parametrize(
    "name", [*MODELS, "OPENAI_API_KEY", "cu_emt_20260101T120000Z", "12345678901234567890"]
)
def test_the_name_of_a_model_is_no_key(name: str) -> None:
    assert not looks_like_key(name) and suspicion("model", name) is None


@pytest.mark.parametrize(
    "key",
    [
        "sk-proj-Zb81qLw0_TfXe37Ykd9RmUc2",
        "sk-ant-api03-R2d2C3poBb8",
        "0f8e1d2c3b4a59687786a5b4c3d2e1f0",
        "gsk_9QmTz4LrW1xKc7VbN2sD8fGh",
        "4f9c2d1e-7b3a-4c5d-9e8f-0a1b2c3d4e5f",
        "q8w2e7r1t5y9u3i6o4p0a8s2",
        "https://host/v1/9QmTz4LrW1xKc7VbN2sD8fGh",
    ],
)
def test_what_is_random_is_taken_for_a_key(key: str) -> None:
    assert looks_like_key(key) and looks_like_key(f"it is {key}.") and suspicion("description", key)


def test_a_digest_a_path_and_a_host_are_no_keys() -> None:
    digest = "0f8e1d2c3b4a59687786a5b4c3d2e1f0" * 2
    assert suspicion("manifest_sha256", digest) is None and suspicion("model", digest)
    assert suspicion("ca_bundle", f"/nix/store/{digest}-ca/bundle.crt") is None
    assert suspicion("base_url", "https://x9dbb8ngvcvcbhpd.us-east-1.aws.example.com/v1") is None


NAMES = ("api_key", "API-KEY", "token", "password", "key", "client_secret", "authorization")
ADDRESSES = ("http://h/v1?key=x", "http://me@h/v1", "http://h/v1;key=x", "http://h/v1#x")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, "x") for name in NAMES),
        *(("base_url", address) for address in ADDRESSES),
        ("api_key_env", "sk-123"),
        ("description", "see http://me:x@h/"),
    ],
)
def test_a_key_is_known_by_its_name_whatever_it_is(name: str, value: str) -> None:
    assert suspicion(name, value)
    assert not suspicion("description", "x") and not suspicion("max_tokens", "4096")


def test_json_stays_json() -> None:
    keep(KEY)
    reply = {"choices": [{"message": {"content": f'{{"key": "{KEY}"}}'}}]}
    assert json.loads(hidden_in(reply)["choices"][0]["message"]["content"]) == {"key": HIDDEN}
