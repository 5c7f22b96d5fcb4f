"""Collectives of arrays on GPUs: what comes out, in which order to other work, and what is refused.

Started by `test_on_gpus.py`, on several numbers of ranks.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from hardware import is_fake, memory_of, require_gpu
from stream_work import CupyWork, TorchWork, Work

import pycoll
from pycoll import _core
from pycoll.bench.contestants import Choice, pycoll_call
from pycoll.bench.operands import Operands, Operation
from pycoll.bench.option_error import OptionError
from pycoll.bench.options import COLLECTIVES, ONLY_IN_PLACE, ONLY_OUT_OF_PLACE, REDUCING, ROOTED
from pycoll.bench.values import numpy_type

comm = pycoll.world()
COUNTS = (1, 1003, 300_001)
on_hardware = pytest.mark.skipif(is_fake(), reason="what stands in for CuPy has no streams")


@pytest.fixture(autouse=True)
def gpu() -> None:
    require_gpu()


@pytest.fixture(params=["cupy", "torch"])
def memory(request: pytest.FixtureRequest) -> Any:
    return memory_of(request.param, comm.local_rank)


@pytest.fixture(params=["cupy", "torch"])
def work(request: pytest.FixtureRequest) -> Work:
    memory_of(request.param, comm.local_rank)
    return CupyWork() if request.param == "cupy" else TorchWork()


def algorithms(collective: str) -> list[str]:
    if collective in ("barrier", "send_recv"):
        return [""]
    return ["auto", *(a.name for a in _core.algorithms() if a.collective == collective)]


@pytest.mark.parametrize("collective", [name for name in COLLECTIVES if name != "barrier"])
def test_results(memory: Any, collective: str) -> None:
    """Every algorithm that these ranks can use, in plain and in registered memory."""
    if collective == "send_recv" and comm.size == 1:
        pytest.skip("needs two ranks")
    places = [False, True]
    places = [True] if collective in ONLY_IN_PLACE else places
    places = [False] if collective in ONLY_OUT_OF_PLACE else places
    op = "sum" if collective in REDUCING else None
    root = comm.size - 1 if collective in ROOTED else None
    for kind, in_place, count in product(("plain", "registered"), places, COUNTS):
        operation = Operation(collective, "float32", op, root, kind, count, in_place)

        def empty(count: int, dtype: Any, kind: str = kind) -> Any:
            if kind == "plain":
                return memory.private(count, dtype)
            return memory.registered(comm, count, dtype)

        operands = Operands(operation, comm.rank, comm.size, memory, empty)
        for algorithm in algorithms(collective):
            call = pycoll_call(
                comm, operation, operands, Choice(algorithm, 0) if algorithm else None
            )
            operands.fill()
            try:
                call.run()
            except ValueError:  # one for other numbers of ranks or nodes
                assert algorithm != "auto"
                continue
            wrong = operands.count_wrong(call.result)
            assert wrong == 0, (operation, algorithm)


@pytest.mark.parametrize("op", _core.REDUCE_OPS)
def test_folds_have_the_bits_of_the_host(memory: Any, op: str) -> None:
    """Any bit pattern, NaNs and denormal numbers among them, of every type."""
    for dtype in _core.DTYPE_SIZES:
        if not _core.supports(op, dtype):
            continue
        if dtype == "bfloat16":
            pytest.importorskip("ml_dtypes")
        kind = numpy_type(dtype)
        random = np.random.default_rng((comm.rank, 1))
        host = random.integers(0, 2 if dtype == "bool" else 256, 10_007 * kind.itemsize, np.uint8)
        values = host.view(kind)
        try:
            array = memory.private(values.size, kind)
        except (OptionError, TypeError):  # a type that this library, or this version, lacks
            continue
        for algorithm in ("ring", "recursive_doubling"):
            memory.write(array, values)
            expected = values.copy()
            try:
                comm.all_reduce(expected, op=op, algorithm=algorithm)
            except ValueError:
                continue
            comm.all_reduce(array, op=op, algorithm=algorithm)
            np.testing.assert_array_equal(
                memory.read(array, kind).view(np.uint8), expected.view(np.uint8), f"{op} {dtype}"
            )


@on_hardware
def test_a_call_comes_after_what_is_on_its_stream(work: Work) -> None:
    """Long products of matrices keep the array from being ready when the call is made."""
    stream, array = work.stream(), work.zeros(1 << 20)
    work.synchronize()
    expected = sum(range(1, comm.size + 1))
    for named in (False, True):
        with work.on(stream):
            work.fill(array, 0)
            work.keep_busy()
            work.fill(array, comm.rank + 1)
            if not named:
                comm.all_reduce(array)
        if named:
            comm.all_reduce(array, stream=stream)
        assert (work.to_host(array) == expected).all(), f"stream named: {named}"


@on_hardware
def test_a_call_comes_after_what_is_on_the_default_stream(work: Work) -> None:
    array = work.zeros(1 << 20)
    work.keep_busy()
    work.fill(array, comm.rank + 1)
    comm.all_reduce(array)
    assert (work.to_host(array) == sum(range(1, comm.size + 1))).all()


@on_hardware
def test_another_stream_waits_for_the_result(work: Work) -> None:
    """`Work.wait(stream=...)` orders a stream after the collective; the host goes on."""
    first, then = work.stream(), work.stream()
    array, copy = work.zeros(1 << 20), work.zeros(1 << 20)
    work.synchronize()
    for _ in range(5):
        with work.on(first):
            work.keep_busy()
            work.fill(array, comm.rank + 1)
            pending = comm.all_reduce(array, async_op=True)
        pending.wait(stream=then)
        with work.on(then):
            work.copy(copy, array)
        then.synchronize()
        pending.wait()
        assert (work.to_host(copy) == sum(range(1, comm.size + 1))).all()


@on_hardware
def test_a_call_while_a_graph_is_captured_is_refused(work: Work) -> None:
    """And the capture goes on: the graph can be made of what else is on the stream."""
    array = work.zeros(100)
    work.fill(array, 1)
    work.synchronize()
    with work.capture(), pytest.raises(pycoll.CudaError, match="captur"):
        comm.all_reduce(array)
    comm.all_reduce(array)
    assert (work.to_host(array) == comm.size).all()


def test_bad_calls_are_refused_and_leave_the_communicator_usable(memory: Any) -> None:
    float32, float64 = np.dtype(np.float32), np.dtype(np.float64)
    array = memory.private(100, float32)
    bad: list[tuple[type[Exception], Any, Any]] = [
        (TypeError, array, np.zeros(100, np.float32)),  # one on the host
        (ValueError, array, memory.private(99, float32)),
        ((TypeError, ValueError), array, memory.private(100, float64)),
        (ValueError, array[::2], memory.private(50, float32)),  # type: ignore[list-item]
    ]
    for error, source, target in bad:
        with pytest.raises(error):
            comm.all_reduce(source, target)
    memory.write(array, np.full(100, comm.rank, np.float32))
    comm.all_reduce(array)
    assert (memory.read(array, float32) == sum(range(comm.size))).all()
