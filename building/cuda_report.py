"""Compiles the CUDA kernels and says what ptxas made of them: ``python -m building.cuda_report``.

Fails if there is no toolkit, or if a kernel keeps values in memory rather than in registers.
"""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass

from building.cuda import ROOT, CudaBuildError, compile_kernels

KERNEL = re.compile(
    r"Compiling entry function '(?P<name>\w+)' for '(?P<architecture>\w+)'\n"
    r".*Function properties for .*\n"
    r"\s*(?P<stack>\d+) bytes stack frame, (?P<stores>\d+) bytes spill stores, "
    r"(?P<loads>\d+) bytes spill loads\n"
    r".*Used (?P<registers>\d+) registers"
)


@dataclass(frozen=True)
class Kernel:
    """What ptxas says of one kernel on one architecture."""

    name: str
    architecture: str
    registers: int
    #: Bytes of memory that it takes for what does not fit, or cannot be, in registers.
    spilled: int


def kernels_in(report: str) -> list[Kernel]:
    """Return the kernels of a report of ``ptxas -v``."""
    return [
        Kernel(
            found["name"],
            found["architecture"],
            int(found["registers"]),
            int(found["stack"]) + int(found["stores"]) + int(found["loads"]),
        )
        for found in KERNEL.finditer(report)
    ]


def table_of(kernels: list[Kernel]) -> str:
    """Return the table, one line an architecture."""
    lines = [f"{'architecture':<14}{'kernels':>8}{'most registers':>16}{'spilled bytes':>15}"]
    for architecture in dict.fromkeys(kernel.architecture for kernel in kernels):
        own = [kernel for kernel in kernels if kernel.architecture == architecture]
        most = max(kernel.registers for kernel in own)
        spilled = sum(kernel.spilled for kernel in own)
        lines.append(f"{architecture:<14}{len(own):>8}{most:>16}{spilled:>15}")
    return "\n".join(lines)


def main() -> int:
    """Print the table; return the exit code."""
    try:
        image = compile_kernels(os.environ)
    except CudaBuildError as error:
        print(f"pycoll: {error}", file=sys.stderr)
        return 1
    kernels = sorted(
        kernels_in(image.report.read_text()),
        key=lambda kernel: int(kernel.architecture.removeprefix("sm_")),
    )
    print(table_of(kernels))
    print(f"all of ptxas' report: {image.report.relative_to(ROOT)}")
    silent = {n for n in image.architectures if n.startswith("sm_")} - {
        k.architecture for k in kernels
    }
    spilling = [f"{k.name} on {k.architecture}" for k in kernels if k.spilled]
    if silent:
        print(f"ptxas says nothing of {' '.join(sorted(silent))}", file=sys.stderr)
    if spilling:
        print(f"not all in registers: {', '.join(spilling)}", file=sys.stderr)
    return 1 if silent or spilling else 0


if __name__ == "__main__":
    sys.exit(main())
