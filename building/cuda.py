"""Compiles the CUDA kernels, where there is an nvcc, into one image for all architectures.

The core carries the image as data, and the driver loads what fits its GPU: nothing of CUDA is
linked. Compiled kernels stay in build/cuda, for all cores that are built in this checkout, until
their sources, nvcc or the settings change.

Read from the environment: CUDA_HOME and CUDA_PATH, where a toolkit lies; PYCOLL_CUDA=0, build
without kernels, or =1, fail rather than do that; PYCOLL_CUDA_ARCHS="90 100", for these only, and
fail if that cannot be.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
OUTPUT = ROOT / "build" / "cuda"
IMAGE, REPORT, SETTINGS = "folds.fatbin", "report.txt", "settings.json"

#: From Turing to Blackwell: those that NVIDIA sells or supports, as far as the toolkit has them.
ARCHITECTURES = ("75", "80", "86", "89", "90", "100", "120")

#: The first three make results the host's, to the bit: no fused multiply-add, divisions rounded to
#: nearest, denormals kept. Compression makes a tenth of the image. A host compiler newer than the
#: toolkit knows is no matter: the kernels include but three standard headers.
FLAGS = (
    *("-fmad=false", "-prec-div=true", "-ftz=false"),
    *("-std=c++17", "-O3", "-Werror", "all-warnings", "-allow-unsupported-compiler"),
    *("-Xfatbin", "-compress-all", "-Xptxas", "-v"),
)


class CudaBuildError(RuntimeError):
    """There is no toolkit, it cannot do what was asked for, or compiling failed."""


@dataclass(frozen=True)
class Toolkit:
    """An nvcc: where it is, what it calls itself, and the architectures it compiles for."""

    nvcc: Path
    version: str
    architectures: tuple[str, ...]


@dataclass(frozen=True)
class Image:
    """Kernels as the driver loads them, the architectures in them, and what ptxas said."""

    data: bytes
    architectures: tuple[str, ...]
    report: Path


def output_of(nvcc: Path, option: str) -> str:
    """Return what an nvcc prints about itself."""
    result = subprocess.run([nvcc, option], capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise CudaBuildError(f"'{nvcc} {option}' failed: {result.stderr.strip()}")
    return result.stdout


def candidates(environment: Mapping[str, str]) -> list[Path]:
    """Return where an nvcc may be, the most explicit place first."""
    homes = [Path(home) for key in ("CUDA_HOME", "CUDA_PATH") if (home := environment.get(key))]
    on_path = shutil.which("nvcc", path=environment.get("PATH"))
    places = [home / "bin" / "nvcc" for home in homes]
    places += [Path(on_path)] if on_path else []
    places.append(Path("/usr/local/cuda/bin/nvcc"))
    # The wheel nvidia-cuda-nvcc, of CUDA 13; those for CUDA 12 have no nvcc.
    # An isolated build has packages of its own, but runs the interpreter of the environment that
    # pycoll is installed into.
    for packages in dict.fromkeys(map(sysconfig.get_path, ("purelib", "platlib"))):
        places += sorted(Path(packages).glob("nvidia/*/bin/nvcc"), reverse=True)
    return places


def find_toolkit(environment: Mapping[str, str]) -> Toolkit:
    """Return the first toolkit that runs."""
    tried = []
    for nvcc in candidates(environment):
        if not os.access(nvcc, os.X_OK):
            continue
        try:
            version = output_of(nvcc, "--version").strip().splitlines()[-1]
            codes = output_of(nvcc, "--list-gpu-code").split()
        except (CudaBuildError, IndexError, OSError) as error:
            tried.append(str(error))
            continue
        return Toolkit(nvcc, version, tuple(code.removeprefix("sm_") for code in codes))
    raise CudaBuildError(
        "no CUDA toolkit: nvcc is not in CUDA_HOME, on PATH, in /usr/local/cuda, or in this "
        "environment ('pip install nvidia-cuda-nvcc' puts it there)"
        + "".join(f"\n{t}" for t in tried)
    )


def age(architecture: str) -> tuple[int, bool]:
    """Return what puts architectures in order: 90a before 90, whose code newer GPUs run, too."""
    number = architecture.rstrip("abcdefghijklmnopqrstuvwxyz")
    return int(number), number == architecture


def wanted_architectures(toolkit: Toolkit, environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return the architectures to compile for, the oldest first."""
    wished = environment.get("PYCOLL_CUDA_ARCHS", "").replace(",", " ").split()
    unknown = [name for name in wished if name not in toolkit.architectures]
    if unknown:
        raise CudaBuildError(
            f"PYCOLL_CUDA_ARCHS has {' '.join(unknown)}; {toolkit.nvcc} compiles for "
            f"{' '.join(toolkit.architectures)}"
        )
    chosen = wished or [name for name in ARCHITECTURES if name in toolkit.architectures]
    if not chosen:
        raise CudaBuildError(f"{toolkit.nvcc} compiles for none of {' '.join(ARCHITECTURES)}")
    return tuple(sorted(set(chosen), key=age))


def compile_kernels(environment: Mapping[str, str], output: Path = OUTPUT) -> Image:
    """Return the image, compiled anew if anything has changed since it was."""
    sources = digest_of_sources()
    kept = kept_image(sources, output)
    try:
        toolkit = find_toolkit(environment)
    except CudaBuildError:
        # Another environment of this checkout had one.
        if kept is None or environment.get("PYCOLL_CUDA_ARCHS"):
            raise
        return kept[0]
    architectures = wanted_architectures(toolkit, environment)
    names = (*(f"sm_{name}" for name in architectures), f"compute_{architectures[-1]}")
    compiler = f"{toolkit.nvcc}: {toolkit.version}"
    if kept is not None and kept[0].architectures == names and kept[1] == compiler:
        return kept[0]

    print(f"pycoll: compiling CUDA kernels for {' '.join(names)} with {toolkit.nvcc}", flush=True)
    output.mkdir(parents=True, exist_ok=True)
    (output / SETTINGS).unlink(missing_ok=True)
    run_nvcc(toolkit, architectures, output)
    made = {"sources": sources, "flags": FLAGS, "compiler": compiler, "architectures": names}
    (output / SETTINGS).write_text(json.dumps(made, indent=2))
    return Image((output / IMAGE).read_bytes(), names, output / REPORT)


def kept_image(sources: str, output: Path) -> tuple[Image, str] | None:
    """Return what was compiled before from these sources, if anything was, and by what."""
    try:
        made = json.loads((output / SETTINGS).read_text())
        data = (output / IMAGE).read_bytes()
    except FileNotFoundError:
        return None
    # Other revisions may have recorded other things.
    if made.keys() != {"sources", "flags", "compiler", "architectures"}:
        return None
    if made["sources"] != sources or made["flags"] != list(FLAGS):
        return None
    return Image(data, tuple(made["architectures"]), output / REPORT), made["compiler"]


def run_nvcc(toolkit: Toolkit, architectures: Sequence[str], output: Path) -> None:
    """Compile for all architectures, and for GPUs newer than the last one."""
    targets = [f"arch=compute_{name},code=sm_{name}" for name in architectures]
    # The intermediate code of the newest is what GPUs that come later are served with.
    targets[-1] = (
        f"arch=compute_{architectures[-1]},code=[sm_{architectures[-1]},compute_{architectures[-1]}]"
    )
    command = [str(toolkit.nvcc), "--fatbin", f"--threads={os.cpu_count() or 1}", *FLAGS]
    command += [word for target in targets for word in ("-gencode", target)]
    command += ["-I", str(ROOT / "csrc"), "-o", str(output / IMAGE)]
    command.append(str(ROOT / "csrc" / "device" / "cuda" / "kernels" / "folds.cu"))
    result = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    (output / REPORT).write_text(result.stdout)
    if result.returncode != 0:
        said = [line for line in result.stdout.splitlines() if "ptxas info" not in line]
        raise CudaBuildError("\n".join([f"'{' '.join(command)}' failed:", *said]))


def digest_of_sources() -> str:
    """Return a digest of all that the kernels are made of."""
    folder = ROOT / "csrc" / "device" / "cuda"
    sources = [folder / "fold_arguments.hpp", *sorted((folder / "kernels").iterdir())]
    digest = hashlib.sha256()
    for source in sources:
        digest.update(source.name.encode() + b"\0" + source.read_bytes() + b"\0")
    return digest.hexdigest()


def write_source(image: Image | None, output: Path = OUTPUT) -> Path:
    """Write the C++ source that has the image, or none, as data; an equal one stays."""
    data = image.data if image else b""
    data += bytes(-len(data) % 8)
    words = [int.from_bytes(data[at : at + 8], sys.byteorder) for at in range(0, len(data), 8)]
    names = image.architectures if image else ()
    # An array has at least one element: there is always one more than the image takes.
    lines = [
        "// Generated by building/cuda.py.",
        '#include "device/cuda/kernels.hpp"',
        "namespace pycoll::cuda {",
        f"static constexpr std::uint64_t words[{len(words) + 1}] = {{",
        *(f"{word:#x}," for word in words),
        "};",
        f"static constexpr std::string_view names[{len(names) + 1}] = {{",
        *(f'"{name}",' for name in names),
        "};",
        "std::span<const std::byte> kernel_image() {",
        f"    return std::as_bytes(std::span(words).first({len(words)}));",
        "}",
        f"std::span<const std::string_view> architectures() {{ return {{names, {len(names)}}}; }}",
        "}",
        "",
    ]
    text = "\n".join(lines)
    source = output / "image.cpp"
    if not (source.exists() and source.read_text() == text):
        output.mkdir(parents=True, exist_ok=True)
        source.write_text(text)
    return source


def prepare_image(environment: Mapping[str, str], output: Path = OUTPUT) -> Path:
    """Return the source of the image that the core is to be built with.

    Raises
    ------
    CudaBuildError
        When kernels were asked for and cannot be had, or what was asked for makes no sense.
    """
    wish = environment.get("PYCOLL_CUDA", "")
    if wish not in ("", "0", "1"):
        raise CudaBuildError(f"PYCOLL_CUDA is '{wish}'; it must be 0, 1 or unset")
    if wish == "0":
        return write_source(None, output)
    try:
        return write_source(compile_kernels(environment, output), output)
    except CudaBuildError as error:
        if wish == "1" or environment.get("PYCOLL_CUDA_ARCHS"):
            raise
        print(f"pycoll: building without CUDA kernels: {error}", file=sys.stderr)
        return write_source(None, output)
