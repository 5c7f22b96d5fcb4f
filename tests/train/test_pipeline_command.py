"""``python -m pycoll pipeline``: what it prints and draws."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from launching import ROOT

from pycoll.__main__ import main
from pycoll.train.pipeline_parallel.picture import BACKWARD, FORWARD

SVG = "{http://www.w3.org/2000/svg}"


def output_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["pipeline", *arguments]) == 0
    return capsys.readouterr().out


def test_a_time_line_is_printed_to_scale(capsys: pytest.CaptureFixture[str]) -> None:
    text = output_of(capsys, "--stages", "2", "--micro-batches", "3")
    assert "1f1b over 2 stage(s), 3 micro-batch(es)" in text
    assert "proven: every forward and backward pass runs once" in text
    assert "time 12, bubble 25.0 % of it" in text
    assert "6 in all, at most 3 sent by a stage" in text
    assert "at most 2, 1 micro-batches kept" in text
    assert "stage 0   F0-F1-......B0====F2-B1====...B2====\n" in text
    assert "stage 1   ...F0-B0====F1-B1====F2-B2====......\n" in text


def test_a_long_time_line_is_an_order(capsys: pytest.CaptureFixture[str]) -> None:
    text = output_of(capsys, "--schedule", "interleaved", "--stages", "4", "--micro-batches", "12")
    assert "interleaved over 4 stage(s) of 2 chunks" in text
    assert "F3 is the forward pass of micro-batch 3 on a stage's first chunk, F3b on its s" in text
    line = next(line for line in text.splitlines() if line.startswith("stage 3"))
    assert line.split()[2:10] == ["F0", "F1", "F2", "F3", "F0b", "B0b", "F1b", "B1b"]


def test_the_steps_of_a_stage_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    text = output_of(
        capsys, "--stages", "2", "--micro-batches", "1", "--stage", "1", "--message", "0.5"
    )
    rows = [re.split(r"\s{1,}", line.strip(), maxsplit=3) for line in text.splitlines()[-6:]]
    assert [row for row in rows if row[0].isdigit()] == [
        ["0", "0", "1.5", "recv activation 0 from stage 0"],
        ["1", "1.5", "2.5", "forward 0"],
        ["2", "2.5", "4.5", "backward 0"],
        ["3", "4.5", "4.5", "send gradient 0 to stage 0"],
    ]


@pytest.mark.parametrize(
    ("schedule", "chunks", "lines"),
    # Lines: those of the time axis, and a message each; those round the end are not drawn.
    [("gpipe", 1, 2 * 8 * 3), ("1f1b", 1, 2 * 8 * 3), ("interleaved", 2, 2 * 8 * 6)],
)
def test_the_picture_shows_every_pass_and_message(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, schedule: str, chunks: int, lines: int
) -> None:
    path = tmp_path / "pipeline.svg"
    output_of(capsys, "--schedule", schedule, "--svg", str(path))
    root = ElementTree.fromstring(path.read_text(encoding="utf-8"))
    title = root.find(f"{SVG}title")
    assert title is not None
    assert re.fullmatch(rf"{schedule}: 4 stages.*, bubble (27.3|15.8) %", title.text or "")
    numbers = [text.text for text in root.iter(f"{SVG}text") if text.get("text-anchor") == "middle"]
    boxes = [n for n in numbers if n is not None and n.isdigit()]
    axis = len([line for line in root.iter(f"{SVG}line") if line.get("stroke-width") == "1"])
    assert len(boxes) - axis == 2 * 8 * 4 * chunks
    assert len(list(root.iter(f"{SVG}line"))) - axis == lines
    width, height = (float(root.get(name, "0")) for name in ("width", "height"))
    for rect in root.iter(f"{SVG}rect"):
        if rect.get("x") is not None:
            assert 0 <= float(rect.get("x", "")) <= width - float(rect.get("width", ""))
            assert 0 <= float(rect.get("y", "")) <= height - float(rect.get("height", ""))
    fills = [rect.get("fill") for rect in root.iter(f"{SVG}rect")]
    # One more in the legend.
    assert fills.count(FORWARD) == fills.count(BACKWARD) == 8 * 4 + 1


@pytest.mark.parametrize("schedule", ["1f1b", "interleaved"])
def test_the_pictures_of_the_docs_are_what_the_command_draws(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, schedule: str
) -> None:
    output_of(capsys, "--schedule", schedule, "--svg", str(tmp_path / "drawn.svg"))
    shown = ROOT / "docs" / "figures" / f"pipeline_{schedule}.svg"
    assert shown.read_text(encoding="utf-8") == (tmp_path / "drawn.svg").read_text(encoding="utf-8")


def test_the_picture_as_png(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "pipeline.png"
    output_of(capsys, "--stages", "2", "--micro-batches", "2", "--png", str(path))
    from matplotlib.image import imread

    pixels = imread(path)
    for colour in (FORWARD, BACKWARD):
        wanted = np.array(list(bytes.fromhex(colour[1:]))) / 255
        share = (np.abs(pixels[..., :3] - wanted).max(axis=-1) < 0.002).mean()
        assert share > 0.02, colour


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--schedule", "zigzag"], "unknown schedule 'zigzag'"),
        (["--schedule", "interleaved", "--micro-batches", "6"], "such as 4 or 8, not 6"),
        (["--stage", "4"], "'stage' is 4; it must be from 0 to 3"),
        (["--forward", "-1"], "'forward' is -1.0"),
        (["--svg", "/no/such/folder/x.svg"], "No such file or directory"),
    ],
)
def test_wrong_arguments_are_said_in_one_line(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    with pytest.raises(SystemExit) as left:
        main(["pipeline", *arguments])
    assert left.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
