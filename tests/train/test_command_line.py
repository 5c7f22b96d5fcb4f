"""Help and errors come from rank 0, and every rank ends with the same exit code."""

from __future__ import annotations

from pathlib import Path

import pytest
from recorded import RecordedCommunicator

from pycoll.train import RankedParser


def parser_of(rank: int) -> tuple[RankedParser, RecordedCommunicator]:
    comm = RecordedCommunicator(rank)
    parser = RankedParser(comm, prog="program", description="Do.\n  as written")  # type: ignore[arg-type]
    parser.add_argument("--number", type=int, default=0, help="how many")
    parser.add_argument("--name", help="of what")
    parser.add_argument("--flag", action="store_true", help="whether")
    return parser, comm


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--number", "x"], "program: error: argument --number: invalid int value: 'x'"),
        (["--nothing"], "program: error: unrecognized arguments: --nothing"),
        (["--name"], "program: error: argument --name: expected one argument"),
    ],
)
def test_errors(
    rank: int, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    parser, comm = parser_of(rank)
    with pytest.raises(SystemExit) as caught:
        parser.parse_args(arguments)
    assert caught.value.code == 2
    assert comm.barriers == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    expected = f"{message}\nprogram --help lists the options\n" if rank == 0 else ""
    assert shown.err == expected


@pytest.mark.parametrize("rank", [0, 1])
def test_help(rank: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Each option's default is shown where it has one, also if that is 0."""
    parser, comm = parser_of(rank)
    with pytest.raises(SystemExit) as caught:
        parser.parse_args(["--help"])
    assert caught.value.code == 0
    assert comm.barriers == 1
    shown = capsys.readouterr()
    assert shown.err == ""
    if rank == 0:
        assert "Do.\n  as written\n" in shown.out
        assert "how many (default: 0)\n" in shown.out
        assert "of what\n" in shown.out
        assert "whether\n" in shown.out
    else:
        assert shown.out == ""


@pytest.mark.parametrize("rank", [0, 1])
def test_later_failures(rank: int, capsys: pytest.CaptureFixture[str]) -> None:
    parser, comm = parser_of(rank)
    with pytest.raises(SystemExit) as caught:
        parser.fail(ValueError("no such text"))
    assert caught.value.code == 1
    assert comm.barriers == 1
    assert capsys.readouterr().err == ("program: error: no such text\n" if rank == 0 else "")


def test_right_arguments_pass() -> None:
    parser, comm = parser_of(0)
    options = parser.parse_args(["--number", "7"])
    assert (options.number, options.name, options.flag) == (7, None, False)
    assert comm.barriers == 0


def test_a_file_gives_options_and_the_command_line_wins(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text('number = 3\n[names]\nname = "a b"\nflag = true\n')
    parser, _ = parser_of(0)
    options = parser.parse(["--config", str(file)])
    assert (options.number, options.name, options.flag) == (3, "a b", True)
    options = parser.parse(["--number=4", "--config", str(file)])
    assert (options.number, options.name) == (4, "a b")
    file.write_text("flag = false\n")
    assert parser.parse(["--config", str(file)]).flag is False


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("numbr = 3", "in {file}: unrecognized arguments: --numbr=3"),
        ("number = 3.5", "in {file}: argument --number: invalid int value: '3.5'"),
        ("number = ", "--config {file}: Invalid value"),
        ("number = [1]", "--config {file}: number is [1]; it must be a number"),
        ("name = true", "in {file}: argument --name: expected one argument"),
        ("flag = 1", "in {file}: argument --flag: ignored explicit argument '1'"),
        (None, "--config {file}: {file}: No such file or directory"),
    ],
)
def test_errors_in_a_file(
    tmp_path: Path, text: str | None, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "run.toml"
    if text is not None:
        file.write_text(text)
    parser, comm = parser_of(0)
    with pytest.raises(SystemExit) as caught:
        parser.parse(["--config", str(file)])
    assert caught.value.code == 2
    assert comm.barriers == 1
    assert capsys.readouterr().err.startswith(f"program: error: {message.format(file=file)}")
