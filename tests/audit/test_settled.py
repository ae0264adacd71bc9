"""The one file of what is settled, as it grows, is torn, and comes again."""

from __future__ import annotations

from pathlib import Path

from mlipilot.audit.settled import SettledRequests

FIRST, SECOND = (f"mlp-0123456789abcdef-l0.000{number}.s7.t.a1" for number in (1, 2))


def line(name: str) -> str:
    return f"{name}\tstatus=submitted\tjob_id=4\twhy=a=b\tend\n"


def test_it_is_read_on_as_it_grows(tmp_path: Path) -> None:
    settled = SettledRequests(tmp_path)
    assert settled.names() == set() and settled.get(FIRST) is None
    with (tmp_path / "settled").open("w") as stream:
        for name, known in ((FIRST, {FIRST}), (SECOND, {FIRST, SECOND})):
            stream.write(line(name)[:-5])
            stream.flush()
            assert settled.names() == known - {name}, "what is torn is no line yet"
            stream.write(line(name)[-5:])
            stream.flush()
            assert settled.names() == known
    assert settled.get(SECOND) == {"status": "submitted", "job_id": "4", "why": "a=b"}


def test_what_is_no_line_spoils_no_other(tmp_path: Path) -> None:
    strange = [
        "",
        "end",
        f"{FIRST}",
        f"{FIRST}\tend of",
        "mlp-x\tend",
        f"{FIRST}\t\u00e9\tend",
        f"{FIRST}\t\0\tend",
    ]
    (tmp_path / "settled").write_text("\n".join(strange) + "\n" + line(SECOND))
    assert SettledRequests(tmp_path).names() == {SECOND}


def test_of_two_lines_of_a_name_the_first_counts(tmp_path: Path) -> None:
    (tmp_path / "settled").write_text(line(FIRST) + line(FIRST).replace("job_id=4", "job_id=5"))
    assert (SettledRequests(tmp_path).get(FIRST) or {})["job_id"] == "4"


def test_a_file_that_came_again_is_read_from_its_beginning_and_what_was_read_stands(tmp_path: Path) -> None:
    settled, file = SettledRequests(tmp_path), tmp_path / "settled"
    file.write_text(line(FIRST))
    assert settled.names() == {FIRST}
    file.write_text("")
    assert settled.names() == {FIRST}
    (other := tmp_path / "other").write_text(line(SECOND) + line(SECOND))
    other.replace(file)
    assert settled.names() == {FIRST, SECOND}
    file.unlink()
    assert settled.names() == {FIRST, SECOND} and SettledRequests(tmp_path).names() == set()
