"""``python -m pycoll tune``: measures this machine, and keeps what it found."""

from __future__ import annotations

import argparse
import datetime
import os
import sys
from collections.abc import Callable
from typing import Any

from mpi4py import MPI

import pycoll
from pycoll._core._loading import brief
from pycoll.bench.environment import processor_name
from pycoll.bench.progress import Progress
from pycoll.communicator import Communicator
from pycoll.cost import Costs, costs_from
from pycoll.planning.quantities import format_bytes, format_seconds
from pycoll.topology import Topology, find_topology, split_by_node, usable_cores
from pycoll.tuning import file, grid, wishes
from pycoll.tuning.measure import (
    measure_barrier,
    measure_cached,
    measure_cma,
    measure_fetch,
    measure_kernels,
    measure_link,
    measure_signal,
)
from pycoll.tuning.situation import Situation

#: A choice this much slower than the best one is worth a line.
NOTABLE = 1.15

ALONE = (
    "A rank alone has neither messages nor signals. To measure them, too, start as many as you "
    "use:\n  mpirun -n N python -m pycoll tune"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "--quick",
        action="store_true",
        help="measure what messages, folds and signals cost, but no collectives",
    )


def run(options: argparse.Namespace) -> int:
    """Measure, print and write. Collective over all ranks of the program.

    Returns
    -------
    int
        1 when the file cannot be written, else 0.
    """
    path = file.path_in_use()
    # What was measured before must not decide how it is measured now.
    os.environ[file.SWITCH] = "off"
    os.environ.pop(wishes.SWITCH, None)
    busy = _is_busy()
    with Communicator() as comm:
        with split_by_node(comm._mpi) as local:
            topology = find_topology(comm._mpi, local)
        tuning = _measure(comm, topology, with_grid=not options.quick and comm.size > 1)
        code = 0
        if comm.rank == 0:
            if busy:
                print("The machine was busy when this began: measure again when it is idle.")
            code = _keep(path, tuning)
        return int(comm._mpi.bcast(code))


def _is_busy() -> bool:
    """Return whether others use the cores: half of them on average over the last minute."""
    return os.getloadavg()[0] > len(usable_cores()) / 2


def _measure(comm: Communicator, topology: Topology, *, with_grid: bool) -> file.Tuning:
    node_of: list[int] = comm._mpi.allgather(comm.node)
    shares = _share_memory(comm)
    situation = Situation(comm.size, topology.nodes, topology.cores_per_node)
    tasks = _cost_tasks(comm, situation, node_of, shares=shares)
    points = list(grid.points(topology.nodes, comm.size)) if with_grid else []
    reach = ("stages" if topology.nodes else "mapped") if shares else "messages"
    costs: dict[str, float] = {}
    measured = grid.Grid(situation, grid.kinds(comm, reach))
    assumed: list[str] = []
    steps = len(tasks) + len(points) + bool(points)
    with Progress(steps, shown=comm.rank == 0, unit="step") as progress:
        for what, task in tasks:
            progress.doing(what)
            costs |= task()
            progress.step()
        model = costs_from(costs).model(situation.nodes, situation.cores_per_node)
        for point in points:
            progress.doing(f"{point.collective} {format_bytes(point.size)}")
            measured.calls.append((point, grid.measure_point(comm, point, model, reach)))
            progress.step()
        if points and comm.rank == 0:
            progress.doing("choices by these costs")
            assumed = measured.misleading_costs(costs)
            progress.step()
        comm.barrier()  # in which the others sleep
    if comm.rank == 0:
        _print_costs(costs, assumed)
        if points:
            used = {name: cost for name, cost in costs.items() if name not in assumed}
            _print_verdicts(measured.judge(used))
        if comm.size == 1:
            print(ALONE)
    return file.Tuning(
        _machine(comm, topology),
        [file.MeasuredCosts(**vars(situation), costs=costs, assumed=assumed)],
        [one for _, calls in measured.calls for one in calls],
    )


def _share_memory(comm: Communicator) -> bool:
    """Return whether ranks do, wherever several are on a node. A lone rank cannot tell."""
    here = comm.transport.startswith("shared memory")
    somewhere: bool = comm._mpi.allreduce(here, op=MPI.LOR)
    everywhere: bool = comm._mpi.allreduce(here or comm.local_size == 1, op=MPI.LAND)
    return somewhere and everywhere


Task = Callable[[], dict[str, float]]


def _cost_tasks(
    comm: Communicator, situation: Situation, node_of: list[int], *, shares: bool
) -> list[tuple[str, Task]]:
    """Return what can be measured with these ranks, the same on all."""
    largest = max(node_of, key=node_of.count)
    neighbours = [rank for rank, node in enumerate(node_of) if node == largest]
    cores, crowding = situation.cores_per_node, situation.crowding
    is_crowded = crowding > 1
    pair = tuple(neighbours[:2])
    # Messages of ranks that share cores cost more than those of a pair that is left alone.
    links = {}
    if len(neighbours) > 1:
        links["intra"] = tuple(neighbours) if is_crowded else pair
    if comm.node_count > 1:
        links["inter"] = (0, node_of.index(1))

    def kernels() -> dict[str, float]:
        found = measure_kernels() if comm.rank == 0 else None
        comm.barrier()  # in which the others sleep
        return dict(comm._mpi.bcast(found))

    def link(which: str) -> Task:
        def task() -> dict[str, float]:
            turns = crowding if which == "intra" else 1.0
            alpha, beta = measure_link(comm, links[which], turns)
            return {f"{which}_alpha": alpha, f"{which}_beta": beta}

        return task

    def fetch() -> dict[str, float]:
        return {"fetch": measure_fetch(comm, pair)}

    def signal() -> dict[str, float]:
        return {"signal": measure_signal(comm, pair)}

    def cma() -> dict[str, float]:
        alpha, beta = measure_cma(comm, pair)
        return {"cma_alpha": alpha, "cma_beta": beta}

    def cached() -> dict[str, float]:
        return {"cached": measure_cached(comm, tuple(neighbours[:cores]))}

    def wake() -> dict[str, float]:
        # As many as have a core each, against all.
        roomy = measure_barrier(comm, tuple(neighbours[:cores]))
        crowded = measure_barrier(comm, tuple(neighbours))
        return {"wake": max(crowded / crowding - roomy, 0.0)}

    where = {"intra": "inside a node", "inter": "between nodes"}
    tasks: list[tuple[str, Task]] = [("folding and copying", kernels), ("caches", cached)]
    tasks += [(f"messages {where[which]}", link(which)) for which in links]
    if shares and len(neighbours) > 1:
        if cores == 1:
            tasks.append(("bytes from core to core", lambda: {"fetch": 0.0}))
        else:
            tasks += [("signals", signal), ("bytes from core to core", fetch)]
            if comm.node_count == 1 and comm._copies_across:
                tasks.append(("copies by the kernel", cma))
        if is_crowded:
            tasks.append(("signals of crowded ranks", wake))
    return tasks


def _machine(comm: Communicator, topology: Topology) -> dict[str, Any]:
    return {
        "pycoll": pycoll.__version__,
        "mpi": brief(MPI.Get_library_version()),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "processor": processor_name(),
        "cores": topology.cores_per_node,
        "ranks": comm.size,
        "nodes": comm.node_count,
    }


def _keep(path: Any, tuning: file.Tuning) -> int:
    if path is None:
        print(f"Not kept: {file.SWITCH} is off.")
        return 0
    try:
        known = file.read(path)
    except (OSError, ValueError):  # none yet, or of no use
        known = file.Tuning()
    try:
        file.write(path, known.updated(tuning))
    except OSError as error:
        print(f"python -m pycoll tune: cannot write {path}: {error.strerror}", file=sys.stderr)
        return 1
    print(f"Kept in {path}; communicators made from now on choose by it.")
    return 0


def _print_costs(costs: dict[str, float], assumed: list[str]) -> None:
    names = {
        "intra_alpha": "message inside a node",
        "intra_beta": "bytes of it",
        "inter_alpha": "message between nodes",
        "inter_beta": "bytes of it",
        "gamma": "folding",
        "copy": "copying",
        "fetch": "from core to core",
        "signal": "signal",
        "wake": "signal among crowded ranks",
        "cma_alpha": "copy by the kernel, more",
        "cma_beta": "bytes of it",
        "cached": "copied past the caches from",
    }
    without = Costs()
    print(f"{'':<28} {'measured':>12} {'else assumed':>14}")
    for name, what in names.items():
        if name in costs:
            print(
                f"{what:<28} {_in_words(name, costs[name]):>12} "
                f"{_in_words(name, getattr(without, name)):>14}"
                f"{'  *' if name in assumed else ''}"
            )
    if assumed:
        print("* With what is assumed, auto chooses better here: that is used.")
    if "wake" in costs:
        print("(among crowded ranks: so much more for each rank of a core)")
    print()


def _in_words(name: str, value: float) -> str:
    if name == "cached":
        return format_bytes(round(value))
    if name in ("intra_beta", "inter_beta", "gamma", "copy", "fetch", "cma_beta"):
        return f"{1e-9 / value:.3g} GB/s" if value > 0 else "no time"
    return format_seconds(value)


def _print_verdicts(verdicts: list[grid.Verdict]) -> None:
    mean = grid.mean_ratio(verdicts)
    print(
        f"What auto chooses takes {mean:.2f} times as long as the best of all algorithms "
        f"(geometric mean of {len(verdicts)} calls)."
    )
    notable = [verdict for verdict in verdicts if verdict.ratio > NOTABLE]
    if notable:
        print(f"More than {NOTABLE} times:")
    for verdict in notable:
        point, auto, best = verdict.point, verdict.auto, verdict.best
        print(
            f"  {point.collective:<14} {format_bytes(point.size):>8} {verdict.memory:<10}  "
            f"{auto.algorithm} {format_seconds(auto.seconds)}, "
            f"best {best.algorithm} {format_seconds(best.seconds)}"
        )
    print()
