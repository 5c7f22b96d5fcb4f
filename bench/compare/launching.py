"""Starts the ranks of a run and waits for them."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from .contestants import Contestant
from .job import Job, Report

ROOT = Path(__file__).resolve().parents[2]
#: For starting and connecting the ranks of a run: less than 5 s on 2 cores.
STARTING_SECONDS = 60
#: For one size beside its timing: Gloo's calls on 64 MiB at 8 ranks take 0.3 s, and 15 are made.
SIZE_SECONDS = 20
#: For a launcher to end its ranks when it is asked to: less than 1 s.
ENDING_SECONDS = 10

# The defaults of each library, except that all may run as root, more ranks than cores, and unbound:
# bound, ranks that share cores might share one of them. Open MPI 5 reads the PRTE names, 4 the
# OMPI ones.
SETTINGS = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
    "PRTE_MCA_hwloc_default_binding_policy": "none",
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "OMPI_MCA_hwloc_base_binding_policy": "none",
    "I_MPI_PIN": "off",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}


@dataclass(frozen=True)
class Outcome:
    """What came of a run.

    Attributes
    ----------
    report : Report or None
        What rank 0 wrote, which after a failure may be about some of the sizes.
    failure : str or None
        Why not all sizes were measured.
    """

    report: Report | None
    failure: str | None


def run_ranks(
    contestant: Contestant,
    interpreter: Path,
    ranks: int,
    collective: str,
    counts: tuple[int, ...],
    seconds: float,
) -> Outcome:
    """Measure one collective with one contestant on some ranks of this machine."""
    with tempfile.TemporaryDirectory(prefix="compare-") as name:
        folder = Path(name)
        results, log = folder / "results.json", folder / "log"
        job = Job(
            contestant.library,
            contestant.memory,
            ranks,
            collective,
            counts,
            seconds,
            str(results),
        )
        try:
            failure = run_programs(_programs(job, interpreter, folder), log, _limit(job))
        except FileNotFoundError as error:
            return Outcome(None, str(error))
        if failure is not None:
            failure = f"{failure}: {last_words(log)}"
        return Outcome(Report.read(results) if results.exists() else None, failure)


@dataclass(frozen=True)
class Program:
    """What is started: a launcher with its ranks, or a rank by itself."""

    command: list[str]
    environment: dict[str, str]


def _programs(job: Job, interpreter: Path, folder: Path) -> list[Program]:
    """Return what must be started: a launcher, or each rank by itself."""
    worker = [str(interpreter), "-m", "bench.compare.worker", job.to_text()]
    # Intel MPI's mpirun looks for its parts on PATH.
    path = os.pathsep.join([str(interpreter.parent), os.environ.get("PATH", os.defpath)])
    environment = {**os.environ, **SETTINGS, "PATH": path}
    if job.library == "gloo":
        meeting = {"GLOO_MEETING_FILE": str(folder / "meeting"), "WORLD_SIZE": str(job.ranks)}
        return [
            Program(worker, environment | meeting | {"RANK": str(rank)})
            for rank in range(job.ranks)
        ]
    mpirun = shutil.which("mpirun", path=path)
    if mpirun is None:
        raise FileNotFoundError(f"there is no mpirun beside {interpreter} or on PATH")
    return [Program([mpirun, "-n", str(job.ranks), *worker], environment)]


def _limit(job: Job) -> float:
    return STARTING_SECONDS + len(job.counts) * (SIZE_SECONDS + 4 * job.seconds)


def run_programs(programs: list[Program], log: Path, limit: float) -> str | None:
    """Return what went wrong, once nothing runs any more."""
    end = time.monotonic() + limit
    processes: list[subprocess.Popen[bytes]] = []
    try:
        with log.open("wb") as output:
            for program in programs:
                process = subprocess.Popen(
                    program.command,
                    env=program.environment,
                    cwd=ROOT,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
                processes.append(process)
        for process in processes:
            status = process.wait(max(0.0, end - time.monotonic()))
            if status:
                return f"exit status {status}"
    except subprocess.TimeoutExpired:
        return f"not done after {limit:g} s"
    finally:
        _end(processes)
    return None


def _end(processes: list[subprocess.Popen[bytes]]) -> None:
    """End what still runs. A launcher that is asked to end takes its ranks with it."""
    for sent in (signal.SIGTERM, signal.SIGKILL):
        running = [process for process in processes if process.poll() is None]
        for process in running:
            os.killpg(process.pid, sent)
        for process in running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(ENDING_SECONDS)


def last_words(log: Path) -> str:
    """Return the line that says most of a failure: the exception, not the launcher's banner."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if "Error" in line or "error" in line]
    return (errors or lines or ["nothing was printed"])[0 if errors else -1]
