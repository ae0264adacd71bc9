"""A campaign and its `--set`s hold no key: whatever may be one is refused at its line, and not shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlipilot import confidential
from mlipilot.campaign.overrides import parse_override
from mlipilot.campaign.spec import load_campaign
from mlipilot.errors import InputError
from tests.campaign.test_spec import MINIMAL
from tests.echoes import FORMS, reveals

KEY = "sk-Zb81qLw0TfXe37Ykd9RmUc2"
WORDS = "correct-horse"
ASKS = "pilot: {kind: openai, model: m, base_url: http://node7/v1}"


@pytest.fixture(autouse=True)
def _no_key_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confidential, "_wanted", {})
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


@pytest.mark.parametrize(
    ("override", "shown"),
    [
        (f"pilot.api_key={WORDS}", "--set pilot.api_key: by its name it is a key, and not shown here"),
        (f"pilot.api_key: {WORDS}", "KEY=VALUE is expected"),
        (KEY, "KEY=VALUE is expected"),
        (f"={KEY}", "KEY=VALUE is expected"),
        (f"{KEY}=1", "--set: KEY=VALUE is expected"),
        (f"{KEY}=[1", "--set: KEY=VALUE is expected"),
        (f"pilot={{kind: openai, api_key: {WORDS}}}", "--set pilot.api_key: by its name"),
        (f"pilot.reviewer={{base_url: 'http://h/v1', token: {WORDS}}}", "--set pilot.reviewer.token: by its"),
        (f"pilot.api_key_env={KEY}", "--set pilot.api_key_env: the name of a variable is expected"),
        (
            "pilot.api_key_env=a1b2c3d4e5f60718293a4b5c6d7e8f90",
            "--set pilot.api_key_env: it looks like a key",
        ),
        (f"pilot.base_url=http://me:{WORDS}@h/v1", "--set pilot.base_url: it is an address with a login"),
        (f"pilot.base_url=http://{WORDS}@h/v1", "--set pilot.base_url: it is an address with a login"),
        (f"pilot.base_url=http://h/v1?api-key={WORDS}", "with more behind its path"),
        (f"pilot.base_url=http://h/v1#{WORDS}", "with more behind its path"),
        (f"pilot.base_url=http://h/{KEY}/v1", "--set pilot.base_url: it looks like a key"),
        (f"pilot.model={KEY}", "--set pilot.model: it looks like a key"),
        (f"pilot={KEY}", "--set pilot: it looks like a key"),
        (f"description=use {KEY} for this", "--set description: it looks like a key"),
        (f"dataset.options.password={WORDS}", "--set dataset.options.password: by its name"),
        (f"pilot.api_key=[{WORDS}", "--set pilot.api_key: the value is not YAML"),
        (f"pilot.api_key=*{WORDS}", "--set pilot.api_key: the value is not YAML"),
        (f"pilot.api_key=!!int {WORDS}", "--set pilot.api_key: the value is not YAML"),
        (f"seeds=[1, 2, {KEY}]", "--set seeds.2: it looks like a key"),
    ],
)
def test_no_error_of_a_set_shows_a_key(tmp_path: Path, override: str, shown: str) -> None:
    path = tmp_path / "campaign.yaml"
    path.write_text(MINIMAL)
    with pytest.raises(InputError) as refused:
        load_campaign(path, None, [override])
    said = str(refused.value)
    assert shown in said and not reveals(said, KEY[:8])
    assert WORDS not in said or "KEY=VALUE" in said  # by nothing can it be told that these words are a key


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (f"  api_key: {WORDS}", ":11: pilot.api_key: by its name it is a key"),
        (f"  api_key: {WORDS}\n  api_key: {WORDS}-battery", 'found duplicate key "api_key"'),
        (f"  model: *{KEY}", "not YAML: a word that looks like a key"),
        (f"  model: !{KEY} x", ":11: "),
        (f"  {KEY}: 1", ":11: "),
        (f"  model: {KEY}", ":11: pilot.model: it looks like a key"),
        (f"  base_url: http://h/v1/{KEY}", ":11: pilot.base_url: it looks like a key"),
        (f"  reviewer: {{base_url: 'http://h/{KEY}'}}", ":11: pilot.reviewer.base_url: it looks like a key"),
        (f"  reviewer: {{api_key: {WORDS}}}", ":11: pilot.reviewer.api_key: by its name"),
        (f"  model: m\nprofiles: {{full: {{pilot: {{token: {WORDS}}}}}}}", ":12: profiles.full.pilot.token"),
    ],
)
def test_no_error_of_a_campaign_shows_a_key(tmp_path: Path, line: str, shown: str) -> None:
    path = tmp_path / "campaign.yaml"
    path.write_text(MINIMAL.replace("pilot:\n  kind: scripted\n", "") + f"pilot:\n{line}\n")
    with pytest.raises(InputError) as refused:
        load_campaign(path)
    assert shown in str(refused.value) and not reveals(str(refused.value), KEY[:8])
    assert WORDS not in str(refused.value)


@pytest.mark.parametrize(
    "form", ["plain", "upper", "base64", "URL, all", "hexadecimal", "spaces", "zero width"]
)
@pytest.mark.parametrize("variable", ["OPENAI_API_KEY", "QWEN3_32B_API_KEY", "OWN"])
def test_the_key_of_the_environment_is_refused_wherever_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, form: str
) -> None:
    monkeypatch.setenv(variable, WORDS)
    path = tmp_path / "campaign.yaml"
    pilot = ASKS.replace("}", ", api_key_env: OWN}") if variable == "OWN" else "pilot: qwen3-32b"
    written = MINIMAL.replace("pilot:\n  kind: scripted", pilot)
    path.write_text(written)
    assert load_campaign(path).spec.pilot.kind == "openai"
    path.write_text(f'{written}description: "{FORMS[form](WORDS)} is it"\n')
    with pytest.raises(InputError, match="description: it is the key that the environment holds") as refused:
        load_campaign(path)
    assert not reveals(str(refused.value), WORDS)


def test_what_is_no_key_is_read_and_shown(tmp_path: Path) -> None:
    assert parse_override(" pilot.max_tokens = 4096") == ("pilot.max_tokens", 4096)
    assert parse_override("dataset.options.energy_key=REF_energy")[1] == "REF_energy"
    digest = "0f8e1d2c3b4a59687786a5b4c3d2e1f0" * 2
    assert parse_override(f"dataset.options.manifest_sha256={digest}")[1] == digest
    path = tmp_path / "campaign.yaml"
    path.write_text(MINIMAL)
    with pytest.raises(InputError, match=r"'pilot.modell' \(value: 'gpt-4o'\)"):
        load_campaign(path, None, ["pilot.modell=gpt-4o"])
    with pytest.raises(InputError, match=r"--set .budget\.iterations.: KEY=VALUE"):
        load_campaign(path, None, ["budget.iterations"])
