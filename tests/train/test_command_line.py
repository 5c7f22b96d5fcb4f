"""Help and errors come from rank 0, and every rank ends with the same exit code."""

from __future__ import annotations

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
