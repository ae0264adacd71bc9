"""The mutants of a toy: which are made, which its test notices, and which are known to be equivalent."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.waiting import wait_until

CI = Path(__file__).parents[2] / "ci"
TOY = '''"""A toy."""
def is_between(low: float, value: float, high: float = 2) -> bool:
    """Whether it is."""
    return low <= value and value < high
'''
TESTS = """from toy import is_between

def test_is_between() -> None:
    assert is_between(0, 1) and not is_between(0, -1)
    assert not is_between(0, 2) and not is_between(0, 9)
"""
CONDITION = "return low <= value and value < high"
SURVIVOR = {"line": 4, "where": "is_between", "before": CONDITION, "after": CONDITION.replace("<=", "<", 1)}
KNOWN = f"""
[[equivalent]]
file = "toy.py"
where = "is_between"
before = "{CONDITION}"
after = "{SURVIVOR["after"]}"
reason = "nobody asks at the lower end"
"""


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    (tmp_path / "ci").mkdir()
    (tmp_path / "toy.py").write_text(TOY)
    (tmp_path / "test_toy.py").write_text(TESTS)
    _table(tmp_path)
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    return tmp_path


def _table(toy: Path, more: str = "") -> None:
    (toy / "ci" / "mutation.toml").write_text(f'[near]\n"toy.py" = ["test_toy.py"]\n{more}')


def _mutate(toy: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(CI / "mutate.py"), *words]
    return subprocess.run(command, cwd=toy, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("seed", ["1", "2", "random"])
def test_what_is_noticed_does_not_depend_on_the_hashes_of_the_day(
    seed: str, toy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONHASHSEED", seed)
    (toy / "test_toy.py").write_text(f"{TESTS}    assert hash('toy') == {_hash_of_a_fixed_seed()}\n")
    done = _mutate(toy)
    assert "the near tests" not in done.stderr and "toy.py" in done.stdout


def _hash_of_a_fixed_seed() -> str:
    said = subprocess.run(
        [sys.executable, "-c", "print(hash('toy'))"],
        env={"PYTHONHASHSEED": "0"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return said.stdout.strip()


def test_a_survivor_is_told_and_the_tree_is_left_alone(toy: Path) -> None:
    before = {path: path.read_bytes() for path in toy.glob("**/*") if path.is_file()}
    done = _mutate(toy)
    assert done.returncode == 1, done.stderr
    assert done.stdout == (
        f"toy.py:4 is_between\n  - {CONDITION}\n  + {SURVIVOR['after']}\n"
        "| `toy.py` | 7 | 6 | 0 | 1 | 85.7 % |\n"
    )
    assert {path: path.read_bytes() for path in toy.glob("**/*") if path.is_file()} == before


def test_an_equivalent_mutant_does_not_count(toy: Path) -> None:
    _table(toy, KNOWN)
    done = _mutate(toy, "--json", "toy.py")
    assert done.returncode == 0, done.stderr
    outcome = {"file": "toy.py", "mutants": 7, "equivalent": 1, "survivors": [], "score": 1.0}
    assert json.loads(done.stdout) == [outcome]


@pytest.mark.parametrize(
    ("table", "words", "said"),
    [
        (
            KNOWN.replace("and value", "or value"),
            (),
            "lists 1, there are 0: toy.py is_between\n  - return low",
        ),
        (KNOWN + "times = 2\n", (), "lists 2, there are 1: toy.py is_between\n  - return low"),
        ("", ("other.py",), "names no near tests of other.py; it does of toy.py"),
        (KNOWN.replace("toy.py", "gone.py"), (), "names no near tests of gone.py"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(
    toy: Path, table: str, words: tuple[str, ...], said: str
) -> None:
    _table(toy, table)
    done = _mutate(toy, *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"ci/mutation.toml {said}" in done.stderr


def test_near_tests_must_pass_without_any_mutant(toy: Path) -> None:
    (toy / "test_toy.py").write_text(TESTS.replace("not ", ""))
    done = _mutate(toy)
    assert done.returncode == 2 and "the near tests of toy.py do not pass as it is:" in done.stderr


FORKING = """import os, time
from toy import is_between

def test_is_between() -> None:
    if os.fork() == 0:
        os.setsid()
        os.chdir("/")
        if orphan := os.fork():
            with open("{told}/orphans", "a") as stream:
                stream.write(f"{{orphan}}\\n")
            os._exit(0)
        time.sleep(120)
    os.wait()
    if is_between(0, 1) is None:
        open("{told}/hangs", "a").close()
        time.sleep(120)
"""


def test_what_a_mutant_started_ends_with_it(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whatever session and folder that is in, and though the mutant is cut off."""
    told = tmp_path_factory.mktemp("told")
    (toy / "test_toy.py").write_text(FORKING.format(told=told))
    with subprocess.Popen([sys.executable, str(CI / "mutate.py")], cwd=toy) as mutating:
        wait_until((told / "hangs").exists)
        mutating.terminate()
    orphans = [int(line) for line in (told / "orphans").read_text().splitlines()]
    assert len(orphans) > 2  # the first two are of the tests as they must pass
    assert [pid for pid in orphans if Path(f"/proc/{pid}").exists()] == []


def _after(source: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.syspath_prepend(str(CI))
    made: Any = __import__("mutants").mutants(source)
    assert all(compile(mutant.source, "x", "exec") for mutant in made)
    return [mutant.after for mutant in made]


@pytest.mark.parametrize(
    ("source", "after"),
    [
        ("x = a == b", ["x = a != b"]),
        ("x = a is b in c", ["x = a is not b in c", "x = a is b not in c"]),
        ("x = not a", ["x = a"]),
        ("x = a + b", ["x = a - b"]),
        ("x = a and b", ["x = a or b", "x = b", "x = a"]),
        ("x = [a, b]", ["x = [b]", "x = [a]"]),
        ("x = {a: b, **c}", ["x = {**c}", "x = {a: b}"]),
        ("a, b = c", []),
        ("x = sorted(a)", ["x = list(a)"]),
        ("x = math.log(a)", ["x = math.log2(a)"]),
        ("x = min(a, key=b)", ["x = max(a, key=b)", "x = min(a)"]),
        ("x = 'a'", ["x = 'XXa'"]),
        ("x = 1", ["x = 2"]),
        ("x = b'a'", ["x = b'XXa'"]),
        ("x = True", ["x = False"]),
        ("x = [a for a in b if c]", ["x = [a for a in b if True]", "x = [a for a in b if False]"]),
        ("if a: b()", ["if True: ...", "if False: ..."]),
        ("def f(): b()", ["pass"]),
        ("def f(): return a", ["return None"]),
        ("def f(): return None", []),
        ("def f(): raise KeyError(a)", ["raise Exception(a)", "pass"]),
        ("try: a\nexcept KeyError: b", ["except ZeroDivisionError: ..."]),
        ("with suppress(OSError): a", ["with suppress(ZeroDivisionError): ..."]),
        ("for a in b: break", ["continue"]),
        ("class A(B, c=True): ...", ["class A(B): ...", "class A(B, c=False): ..."]),
        ("'''words'''\nimport a\n@b(1)\ndef f(c: d = None) -> Literal['e']: '''words'''", []),
        ("assert a == b", []),
        ("X = Callable[[A], B]", []),
        ("x: Literal['a'] = f(description='b')", []),
    ],
)
def test_each_kind_of_fault_is_made_and_what_is_no_logic_left_alone(
    source: str, after: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _after(source, monkeypatch) == after


@pytest.mark.parametrize(
    ("field", "after"),
    [
        ("x: int", ["x: object"]),
        ("x: Count", ["x: object", "x: Count.__origin__"]),
        ("x: Any", []),
        ("x: a | None", ["x: a", "x: None", "x: object | None"]),
        ("x: list[a]", ["x: object", "x: list[object]"]),
        ("x: dict[a, Any]", ["x: object", "x: dict[object, Any]"]),
        ("x: Literal['a', 'b']", ["x: Literal['b']", "x: Literal['a']", "x: str"]),
        ("x: Literal[1]", ["x: int"]),
        (
            "x: Annotated[a, b, C(d=e)]",
            [
                *("x: Annotated[a, C(d=e)]", "x: Annotated[a, b]"),
                *("x: Annotated[object, b, C(d=e)]", "x: Annotated[a, b, C()]"),
            ],
        ),
        ("x: Annotated[a, b]", ["x: a", "x: Annotated[object, b]"]),
        ("x: ClassVar[a]", []),
        ("@a_validator('b')\n def f(x: c) -> d: ...", ["pass"]),
        ("def f(x: a) -> b: ...", []),
    ],
)
def test_the_type_of_a_model_s_field_is_loosened(
    field: str, after: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever its base is called; but for the field itself, which is left out as any statement is."""
    found = _after(f"class A(B):\n {field}", monkeypatch)
    assert [text for text in found if text != "pass" or "validator" in field] == after


@pytest.mark.parametrize(
    "head", ["class A:", "@dataclass\nclass A(B):", "class A(NamedTuple):", "class A(B):\n def f():"]
)
def test_a_type_that_nothing_checks_is_left_alone(head: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _after(f"{head}\n  x: int", monkeypatch) == ["pass"]


def test_what_a_model_s_types_are_made_of_is_loosened_too(monkeypatch: pytest.MonkeyPatch) -> None:
    alias, model = "C = Literal['a', 'b']", "class A(RootModel[list[D]]): ..."
    assert _after(alias, monkeypatch) == []
    assert _after(f"{alias}\n{model}", monkeypatch) == [
        *("C = Literal['b']", "C = Literal['a']", "C = str"),
        *(model.replace("list[D]", other) for other in ("object", "list[object]", "list[D.__origin__]")),
    ]


def test_of_a_long_statement_only_what_is_about_the_fault_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ", ".join(f"a{number:02}" for number in range(40))
    (after,) = _after(f"x = f({names}, b < c, {names})", monkeypatch)
    assert after.startswith("…") and after.endswith("…")
    assert "b <= c" in after and len(after) < 120
