"""The programs in examples/ run, and learn what they are to learn."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

import pycoll

EXAMPLES = Path(__file__).parents[3] / "examples"
EXPECTED = {
    "all_reduce.py": "6.0 [0.5 1.5 2.5 3.5]",
    "data_parallel.py": "step 200: loss 0.0",
    "digits.py --steps 20 --mode local-sgd": "of the unseen digits are right",
    "hybrid_gpt.py": "step 200: loss 0.",
    "parameter_server.py": "step 400: loss 0.0",
    "pipeline.py": "step 200: loss 0.0",
    "tensor_parallel.py": "goes on with 2; 2 is right",
    "torch_module.py": "of the unseen digits are right",
}

comm = pycoll.world()
if comm.size != 4:
    pytest.skip("runs on 4 ranks", allow_module_level=True)


@pytest.mark.parametrize("command", EXPECTED)
def test_an_example(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program, *arguments = command.split()
    if program == "torch_module.py":
        pytest.importorskip("torch")
    monkeypatch.setattr(sys, "argv", [program, *arguments])
    runpy.run_path(str(EXAMPLES / program), run_name="__main__")
    if comm.rank == 0:
        assert EXPECTED[command] in capsys.readouterr().out


def test_all_examples_are_tested() -> None:
    assert {command.split()[0] for command in EXPECTED} == {p.name for p in EXAMPLES.glob("*.py")}
