"""Building the CUDA part: which toolkit compiles what, and when it does so again."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from building import cuda
from building.cuda_report import kernels_in, table_of
from building.objects import alone, digest_of, kept_objects
from building.units import MOST, ROOT, joined

#: Stands for nvcc: notes its arguments, and writes an image of 10 bytes.
NVCC = """#!/bin/sh
case "$1" in
--version) echo "an nvcc"; echo "of release 99" ;;
--list-gpu-code) echo "sm_75 sm_90 sm_91" ;;
*)
    echo "$*" >> {calls}
    [ -e {broken} ] && {{ echo "folds.cu(1): error: no"; exit 1; }}
    while [ "$1" != -o ]; do shift; done
    printf 0123456789 > "$2"
    echo "ptxas info    : nothing to say" ;;
esac
"""


class FakeToolkit:
    """An nvcc of a few lines, in CUDA_HOME."""

    def __init__(self, folder: Path) -> None:
        nvcc = folder / "toolkit" / "bin" / "nvcc"
        nvcc.parent.mkdir(parents=True)
        self.calls_path = folder / "calls"
        self.broken = folder / "broken"
        self.output = folder / "output"
        nvcc.write_text(NVCC.format(calls=self.calls_path, broken=self.broken))
        nvcc.chmod(0o755)
        self.environment = {"CUDA_HOME": str(folder / "toolkit"), "PATH": os.environ["PATH"]}

    def prepare(self, **settings: str) -> str:
        """The source of the image that is built with."""
        return cuda.prepare_image(self.environment | settings, self.output).read_text()

    @property
    def calls(self) -> list[str]:
        return self.calls_path.read_text().splitlines() if self.calls_path.exists() else []


@pytest.fixture
def toolkit(tmp_path: Path) -> FakeToolkit:
    return FakeToolkit(tmp_path)


def no_toolkit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "candidates", lambda environment: [])


def test_kernels_are_compiled_for_what_the_toolkit_has(toolkit: FakeToolkit) -> None:
    source = toolkit.prepare()
    assert [f'"{name}",' in source for name in ("sm_75", "sm_80", "sm_90", "sm_91")] == [
        *(True, False, True, False)
    ]
    assert '"compute_90",' in source
    assert f"{int.from_bytes(b'01234567', 'little'):#x}," in source
    (call,) = toolkit.calls
    assert "arch=compute_75,code=sm_75" in call
    assert "arch=compute_90,code=[sm_90,compute_90]" in call
    assert "-fmad=false -prec-div=true -ftz=false" in call


def test_kernels_are_compiled_again_only_when_something_changed(
    toolkit: FakeToolkit, monkeypatch: pytest.MonkeyPatch
) -> None:
    toolkit.prepare()
    written = (toolkit.output / "image.cpp").stat().st_mtime_ns
    toolkit.prepare()
    assert len(toolkit.calls) == 1
    assert (toolkit.output / "image.cpp").stat().st_mtime_ns == written

    assert '"sm_75"' not in toolkit.prepare(PYCOLL_CUDA_ARCHS="90")
    assert len(toolkit.calls) == 2
    monkeypatch.setattr(cuda, "digest_of_sources", lambda: "others")
    toolkit.prepare(PYCOLL_CUDA_ARCHS="90")
    assert len(toolkit.calls) == 3

    toolkit.broken.touch()
    with pytest.raises(cuda.CudaBuildError):
        toolkit.prepare(PYCOLL_CUDA="1")
    toolkit.broken.unlink()
    toolkit.prepare(PYCOLL_CUDA_ARCHS="90")
    assert len(toolkit.calls) == 5, "what a failure left is not taken for good"


def test_what_another_revision_left_is_not_taken(toolkit: FakeToolkit) -> None:
    source = toolkit.prepare()
    settings = toolkit.output / cuda.SETTINGS
    made = json.loads(settings.read_text())
    del made["compiler"]
    settings.write_text(json.dumps(made))
    assert toolkit.prepare() == source
    assert len(toolkit.calls) == 2


def test_architectures_with_a_letter(tmp_path: Path) -> None:
    """Theirs is no code that newer GPUs run; where there is other code of the age, that is last."""
    toolkit = cuda.Toolkit(tmp_path, "", ("80", "90", "90a", "100"))
    wanted = cuda.wanted_architectures(toolkit, {"PYCOLL_CUDA_ARCHS": "90 90a 80"})
    assert wanted == ("80", "90a", "90")


def test_without_a_toolkit_there_are_no_kernels_unless_they_are_asked_for(
    toolkit: FakeToolkit, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = toolkit.prepare(PYCOLL_CUDA="0")
    assert "sm_" not in empty
    assert toolkit.calls == []
    no_toolkit(monkeypatch)
    assert toolkit.prepare() == empty
    assert "building without CUDA kernels: no CUDA toolkit" in capsys.readouterr().err
    with pytest.raises(cuda.CudaBuildError, match="pip install nvidia-cuda-nvcc"):
        toolkit.prepare(PYCOLL_CUDA="1")


def test_kernels_that_lie_there_need_no_toolkit_while_their_sources_are_the_same(
    toolkit: FakeToolkit, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = toolkit.prepare()
    no_toolkit(monkeypatch)
    assert toolkit.prepare() == source
    monkeypatch.setattr(cuda, "digest_of_sources", lambda: "others")
    assert "sm_" not in toolkit.prepare()


def test_kernels_that_do_not_compile_fail_the_build_if_they_are_asked_for(
    toolkit: FakeToolkit, capsys: pytest.CaptureFixture[str]
) -> None:
    toolkit.broken.touch()
    assert "sm_" not in toolkit.prepare()
    assert re.search("failed:.folds.cu.1.: error: no", capsys.readouterr().err, re.DOTALL)
    with pytest.raises(cuda.CudaBuildError, match="error: no"):
        toolkit.prepare(PYCOLL_CUDA="1")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"PYCOLL_CUDA": "yes"}, "PYCOLL_CUDA is 'yes'; it must be 0, 1 or unset"),
        ({"PYCOLL_CUDA_ARCHS": "90 100"}, "has 100; .* compiles for 75 90 91"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    toolkit: FakeToolkit, settings: dict[str, str], words: str
) -> None:
    with pytest.raises(cuda.CudaBuildError, match=words):
        toolkit.prepare(**settings)


def test_toolkits_are_sought_where_they_are_set_on_path_and_among_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("home", "path", "packages/nvidia/cu13/bin", "packages/nvidia/cuda_nvcc/bin")
    places = [tmp_path / name / "nvcc" for name in names]
    for nvcc in places:
        nvcc.parent.mkdir(parents=True)
        nvcc.touch(mode=0o755)
    monkeypatch.setattr(cuda.sysconfig, "get_path", lambda name: str(tmp_path / "packages"))
    found = cuda.candidates({"CUDA_PATH": str(tmp_path), "PATH": str(tmp_path / "path")})
    assert found == [
        tmp_path / "bin" / "nvcc",
        places[1],
        Path("/usr/local/cuda/bin/nvcc"),
        places[3],
        places[2],
    ]


def test_report_counts_registers_and_what_is_spilled() -> None:
    report = """ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'fold_a' for 'sm_90'
ptxas info    : Function properties for fold_a
    16 bytes stack frame, 8 bytes spill stores, 12 bytes spill loads
ptxas info    : Used 44 registers, used 0 barriers
ptxas info    : Compiling entry function 'fold_b' for 'sm_90'
ptxas info    : Function properties for fold_b
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 47 registers, used 0 barriers
"""
    kernels = kernels_in(report)
    assert [kernel.spilled for kernel in kernels] == [36, 0]
    assert table_of(kernels).splitlines()[1].split() == ["sm_90", "2", "47", "36"]


def cuda_header() -> Path | None:
    """The folder of the toolkit's header."""
    for nvcc in cuda.candidates(os.environ):
        folder = nvcc.parent.parent / "include"
        if (folder / "cuda.h").exists():
            return folder
    return None


def test_declarations_of_the_driver_are_those_of_the_toolkit(tmp_path: Path) -> None:
    header, compiler = cuda_header(), shutil.which("c++")
    if header is None or compiler is None:
        pytest.skip("no CUDA toolkit, or no compiler")
    declared = (cuda.ROOT / "csrc" / "device" / "cuda" / "driver.hpp").read_text()
    functions = re.findall(r'X\((\w+), "(\w+)"', declared)
    assert len(functions) == len(re.findall(r"^ +X\(", declared, re.MULTILINE))
    listed = tmp_path / "functions.inc"

    def compiled(lines: list[str]) -> subprocess.CompletedProcess[str]:
        listed.write_text("\n".join(lines))
        command = [compiler, "-std=c++20", "-fsyntax-only", f'-DCUDA_FUNCTIONS="{listed}"']
        command += ["-I", str(cuda.ROOT / "csrc"), "-isystem", str(header)]
        command.append(str(cuda.ROOT / "tests" / "cuda" / "interface.cpp"))
        return subprocess.run(command, capture_output=True, text=True, check=False)

    result = compiled([f"SAME({member}, {symbol})" for member, symbol in functions])
    assert result.returncode == 0, result.stderr
    other = compiled(["SAME(free, cuMemAlloc_v2)"])
    assert "cuMemAlloc_v2 is declared differently in cuda.h" in other.stderr


def test_objects_that_all_mpis_share_are_made_once(tmp_path: Path) -> None:
    made = []

    def compile_into(folder: Path) -> None:
        made.append(folder)
        (folder / "csrc").mkdir()
        (folder / "csrc" / "one.o").write_text("object")

    for digest in ("abc", "abc", "def", "abc"):
        with alone(tmp_path):
            objects = kept_objects(digest, compile_into, tmp_path)
        assert objects == [str(tmp_path / digest / "csrc" / "one.o")]
        assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == [digest]
    assert len(made) == 3


def test_objects_that_do_not_compile_are_not_kept(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "one.o").write_text("object")
        raise OSError("no space")

    for _ in range(2):
        with pytest.raises(OSError, match="no space"):
            kept_objects("abc", fail, tmp_path)
    assert kept_objects("abc", lambda folder: (folder / "two.o").touch(), tmp_path) == [
        str(tmp_path / "abc" / "two.o")
    ]


def test_objects_depend_on_settings_sources_and_their_names(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("text")
    two.write_text("other")
    digests = {
        digest_of(["-O3"], [one, two]),
        digest_of(["-O2"], [one, two]),
        digest_of(["-O3"], [one]),
        digest_of([], [one, two]),
    }
    assert digest_of(["-O3"], [two, one]) in digests
    two.write_text("another")
    digests.add(digest_of(["-O3"], [one, two]))
    assert len(digests) == 5


def test_one_build_at_a_time_has_the_objects(tmp_path: Path) -> None:
    builds = [
        subprocess.Popen(
            [sys.executable, "-c", ONE_BUILD, str(tmp_path), digest],
            cwd=Path(__file__).parents[1],
            stdout=subprocess.PIPE,
            text=True,
        )
        for digest in ("abc", "def", "abc", "def")
    ]
    assert [build.communicate(timeout=60)[0] for build in builds] == ["there\n"] * 4


ONE_BUILD = """
import sys, time
from pathlib import Path
from building.objects import alone, kept_objects

output, digest = Path(sys.argv[1]), sys.argv[2]
with alone(output):
    [made] = kept_objects(digest, lambda folder: (folder / "one.o").touch(), output)
    time.sleep(0.1)
    print("there" if Path(made).exists() else "gone")
"""


def test_files_of_a_folder_are_compiled_together(tmp_path: Path) -> None:
    """Each of them once, in folders that allow it."""
    own = [f"csrc/engine/{number}.cpp" for number in range(MOST + 1)]
    apart = ["csrc/algorithms/ring.cpp", "csrc/engines.cpp"]
    units = joined([*apart, *own], tmp_path)
    assert units[2:] == apart
    texts = [(ROOT / unit).read_text().splitlines() for unit in units[:2]]
    assert [len(text) for text in texts] == [MOST, 1]
    assert texts[0] + texts[1] == [f'#include "{ROOT / path}"' for path in own]
