"""Wrong arguments: one rank makes the call, and hears of it; the others never do."""

from __future__ import annotations

import array
from collections.abc import Callable
from dataclasses import dataclass

import ml_dtypes
import numpy as np
import pytest
from mpi4py import MPI

import pycoll

Comm = pycoll.Communicator


@dataclass(frozen=True)
class Bad:
    """A call, the error it must raise, and what the text must say after rank and function."""

    name: str
    function: str
    call: Callable[[Comm], object]
    error: type[Exception]
    says: str


class MaskedOnGpu:
    """Looks like an array on a GPU of which some elements do not count."""

    shape = (4,)

    @property
    def __cuda_array_interface__(self) -> dict[str, object]:
        return {"shape": (4,), "typestr": "<f4", "data": (0, False), "version": 3, "mask": self}


class OnDevice:
    """Looks like a tensor on a device that is none of CUDA's, to DLPack."""

    shape = (4,)

    def __dlpack_device__(self) -> tuple[int, int]:
        return (8, 0)  # Metal

    def __dlpack__(self, **_: object) -> object:
        raise AssertionError("must not be exported")


def read_only(count: int) -> np.ndarray:
    array = np.zeros(count)
    array.flags.writeable = False
    return array


def ones(*shape: int, dtype: object = "float32") -> np.ndarray:
    return np.ones(shape, dtype)


def another(comm: Comm) -> int:
    return (comm.rank + 1) % comm.size


def overlapping(comm: Comm) -> None:
    memory = ones(12)
    comm.all_reduce(memory[:8], memory[4:])


def own_part_of_another(comm: Comm) -> None:
    """In place, but at the place of the next rank."""
    memory = ones(comm.size)
    comm.all_gather(memory[another(comm) :][:1], memory)


DTYPES = {
    "complex": np.zeros(4, complex),
    "object": np.zeros(4, object),
    "str": np.zeros(4, "U3"),
    "bytes": np.zeros(4, "S3"),
    "datetime": np.zeros(4, "M8[s]"),
    "timedelta": np.zeros(4, "m8[s]"),
    "structured": np.zeros(4, [("a", "i4"), ("b", "f4")]),
    "void of two bytes": np.zeros(4, "V2"),
    "big-endian": np.zeros(4, ">f4"),
    "long double": np.zeros(4, np.longdouble),
    "float8": np.zeros(4, ml_dtypes.float8_e4m3fn),
    "int4": np.zeros(4, ml_dtypes.int4),
    "buffer of characters": array.array("u", "abcd"),
}

BAD_CALLS = [
    # What is no array, or one of the wrong kind.
    Bad(
        "list", "all_reduce", lambda c: c.all_reduce([1.0]), TypeError, "'array' is a list, not an"
    ),
    Bad("None", "all_reduce", lambda c: c.all_reduce(None), TypeError, "'array' is missing"),
    Bad("None to move", "broadcast", lambda c: c.broadcast(None), TypeError, "'array' is missing"),
    Bad(
        "None to gather", "all_gather", lambda c: c.all_gather(None), TypeError, "'array' is a None"
    ),
    Bad("number", "all_reduce", lambda c: c.all_reduce(3.0), TypeError, "'array' is a float, not"),
    Bad("string", "all_gather", lambda c: c.all_gather("text"), TypeError, "'array' is a str, not"),
    Bad(
        "masked on a GPU",
        "all_reduce",
        lambda c: c.all_reduce(MaskedOnGpu()),
        TypeError,
        "'array' is masked",
    ),
    Bad(
        "on a device",
        "all_reduce",
        lambda c: c.all_reduce(OnDevice()),
        TypeError,
        "'array' lies on a device",
    ),
    *(
        Bad(
            f"dtype: {name}",
            "all_reduce",
            lambda c, array=array: c.all_reduce(array),
            TypeError,
            r"'array' has dtype .* not supported; supported are",
        )
        for name, array in DTYPES.items()
    ),
    # How it lies in memory.
    Bad(
        "Fortran order",
        "all_reduce",
        lambda c: c.all_reduce(np.asfortranarray(ones(3, 4))),
        ValueError,
        "'array' is not C-contiguous; pass numpy.ascontiguousarray",
    ),
    Bad("strided", "reduce", lambda c: c.reduce(ones(9)[::2]), ValueError, "'array' is not C-cont"),
    Bad(
        "backwards", "broadcast", lambda c: c.broadcast(ones(4)[::-1]), ValueError, "is not C-cont"
    ),
    Bad(
        "stretched",
        "all_gather",
        lambda c: c.all_gather(np.broadcast_to(np.float32(1), 4)),
        ValueError,
        "'array' is not C-contiguous",
    ),
    Bad(
        "strided memoryview",
        "all_reduce",
        lambda c: c.all_reduce(memoryview(bytearray(9))[::2]),
        ValueError,
        "'array' is not C-contiguous",
    ),
    Bad(
        "strided out",
        "all_reduce",
        lambda c: c.all_reduce(ones(4), ones(8)[::2]),
        ValueError,
        "'out' is not C-contiguous",
    ),
    Bad(
        "overlap", "all_reduce", overlapping, ValueError, "'out' overlaps .* pass a separate array"
    ),
    Bad(
        "overlap of all_to_all",
        "all_to_all",
        lambda c: (lambda a: c.all_to_all(a, a))(ones(c.size)),
        ValueError,
        "'out' overlaps",
    ),
    Bad("another's part", "all_gather", own_part_of_another, ValueError, "'out' overlaps"),
    # Whether it may be written.
    Bad(
        "read-only",
        "all_reduce",
        lambda c: c.all_reduce(read_only(4)),
        ValueError,
        "'array' is read-only; pass a writable array",
    ),
    Bad("bytes", "all_reduce", lambda c: c.all_reduce(b"abc"), ValueError, "'array' is read-only"),
    Bad(
        "read-only out",
        "all_reduce",
        lambda c: c.all_reduce(np.ones(4), read_only(4)),
        ValueError,
        "'out' is read-only; pass a writable array",
    ),
    Bad(
        "read-only part",
        "scatter",
        lambda c: c.scatter(None, read_only(4), root=another(c)),
        ValueError,
        "'out' is read-only",
    ),
    Bad(
        "read-only at another rank than the root",
        "broadcast",
        lambda c: c.broadcast(read_only(4), root=another(c)),
        ValueError,
        "'array' is read-only",
    ),
    # Whether the arrays go together.
    Bad(
        "out of another dtype",
        "all_reduce",
        lambda c: c.all_reduce(ones(4), np.ones(4)),
        TypeError,
        "'out' is float64, but 'array' is float32",
    ),
    Bad(
        "out too small",
        "all_reduce",
        lambda c: c.all_reduce(ones(4), ones(3)),
        ValueError,
        "'out' has 3 elements; pass one of 4",
    ),
    Bad(
        "out too large",
        "all_gather",
        lambda c: c.all_gather(ones(4), ones(4 * c.size + 1)),
        ValueError,
        r"'out' has \d+ elements; pass one of \d+",
    ),
    Bad(
        "array too small",
        "reduce_scatter",
        lambda c: c.reduce_scatter(ones(c.size), ones(2)),
        ValueError,
        r"'array' has \d+ elements; pass one of \d+",
    ),
    Bad(
        "rows that cannot be shared",
        "reduce_scatter",
        lambda c: c.reduce_scatter(ones(c.size + 1)),
        ValueError,
        r"'array' has \d+ rows .* cannot share evenly; pad it",
    ),
    Bad(
        "rows that cannot be exchanged",
        "all_to_all",
        lambda c: c.all_to_all(ones(c.size + 1)),
        ValueError,
        r"'array' has \d+ rows .* cannot share evenly; pad it",
    ),
    Bad(
        "elements that cannot be exchanged",
        "all_to_all",
        lambda c: c.all_to_all(ones(c.size + 1), ones(c.size + 1)),
        ValueError,
        r"'array' has \d+ elements, .* cannot share evenly; pad it",
    ),
    Bad(
        "nothing to scatter",
        "scatter",
        lambda c: c.scatter(None, ones(1), root=c.rank),
        TypeError,
        "'array' is missing; the root must pass",
    ),
    Bad(
        "nowhere to scatter to",
        "scatter",
        lambda c: c.scatter(None, root=another(c)),
        TypeError,
        "'out' is missing; ranks other than the root must pass",
    ),
    # Operations, algorithms, roots.
    Bad(
        "unknown op",
        "all_reduce",
        lambda c: c.all_reduce(ones(4), op="mean"),
        ValueError,
        "'op' is 'mean'; pass sum, prod",
    ),
    Bad(
        "op that is no text",
        "all_reduce",
        lambda c: c.all_reduce(ones(4), op=np.add),
        TypeError,
        "'op' is <ufunc 'add'>; pass a string",
    ),
    Bad(
        "op not for floats",
        "all_reduce",
        lambda c: c.all_reduce(ones(4), op="band"),
        ValueError,
        "'op' is 'band', which is not defined for dtype float32; pass one of sum, prod, min, max",
    ),
    Bad(
        "op not for bool",
        "reduce",
        lambda c: c.reduce(np.ones(4, bool), op="avg"),
        ValueError,
        "'op' is 'avg', which is not defined for dtype bool; pass one of",
    ),
    Bad(
        "unknown algorithm",
        "all_reduce",
        lambda c: c.all_reduce(ones(4), algorithm="magic"),
        ValueError,
        "algorithm.*'magic'.*ring",
    ),
    Bad(
        "algorithm of another collective",
        "all_reduce",
        lambda c: c.all_reduce(ones(4), algorithm="pairwise"),
        ValueError,
        "algorithm.*'pairwise'.*ring",
    ),
    Bad(
        "algorithm that is no text",
        "broadcast",
        lambda c: c.broadcast(ones(4), algorithm=None),
        TypeError,
        "'algorithm' is None; pass a string",
    ),
    Bad(
        "negative chunk",
        "all_reduce",
        lambda c: c.all_reduce(ones(4), chunk_bytes=-1),
        ValueError,
        "'chunk_bytes' is -1; pass one from 0",
    ),
    Bad(
        "chunk that is no integer",
        "all_reduce",
        lambda c: c.all_reduce(ones(4), chunk_bytes=1.5),
        TypeError,
        "'chunk_bytes' is 1.5; pass an integer",
    ),
    *(
        Bad(
            f"root of {function}: {root!r}",
            function,
            lambda c, function=function, root=root: getattr(c, function)(ones(c.size), root=root),
            error,
            "'root' is .*; pass",
        )
        for function in ("reduce", "broadcast", "gather", "scatter")
        for root, error in ((-1, ValueError), (10**9, ValueError), (1.0, TypeError))
    ),
    Bad(
        "root of scatter_v",
        "scatter_v",
        lambda c: c.scatter_v(ones(4), [4], root="0"),
        TypeError,
        "'root' is '0'; pass an integer",
    ),
    # Counts.
    Bad(
        "too many counts",
        "all_gather_v",
        lambda c: c.all_gather_v(ones(4), [4] * (c.size + 1)),
        ValueError,
        r"'counts' has \d+ entries for \d+ ranks",
    ),
    Bad(
        "negative count",
        "gather_v",
        lambda c: c.gather_v(ones(4), [-4] * c.size),
        ValueError,
        "'counts' has a negative entry, -4",
    ),
    Bad(
        "counts that are no integers",
        "reduce_scatter_v",
        lambda c: c.reduce_scatter_v(ones(4), [4.0] * c.size),
        TypeError,
        r"'counts' must be a sequence of \d+ integers",
    ),
    Bad(
        "one count for all",
        "all_gather_v",
        lambda c: c.all_gather_v(ones(4), 4),
        TypeError,
        r"'counts' must be a sequence of \d+ integers",
    ),
    Bad(
        "counts that are not those of the array",
        "all_gather_v",
        lambda c: c.all_gather_v(ones(4), [5] * c.size),
        ValueError,
        "'array' has 4 elements; pass one of 5",
    ),
    Bad(
        "counts that do not sum up to the array",
        "reduce_scatter_v",
        lambda c: c.reduce_scatter_v(ones(2 * c.size), [3] * c.size),
        ValueError,
        r"'array' has \d+ elements; pass one of \d+",
    ),
    Bad(
        "counts that overflow",
        "reduce_scatter_v",
        lambda c: c.reduce_scatter_v(ones(0), [2**63, 2**63, *[0] * c.size][: c.size]),
        ValueError,
        "'counts' sums up to .* more than memory",
    ),
    Bad(
        "counts to receive that do not fit",
        "all_to_all_v",
        lambda c: c.all_to_all_v(ones(c.size), [1] * c.size, [1] * c.size, ones(c.size + 1)),
        ValueError,
        r"'out' has \d+ elements; pass one of \d+",
    ),
    Bad(
        "counts missing for a rank",
        "all_to_all_v",
        lambda c: c.all_to_all_v(ones(c.size), [1] * c.size, [1] * (c.size - 1)),
        ValueError,
        r"'recv_counts' has \d+ entries for \d+ ranks",
    ),
    Bad(
        "another count for itself than from itself",
        "all_to_all_v",
        lambda c: c.all_to_all_v(ones(c.size), [1] * c.size, [2] * c.size),
        ValueError,
        "this rank sends itself 1 elements, but expects 2 from itself",
    ),
    # Messages.
    Bad("to itself", "send", lambda c: c.send(ones(1), c.rank), ValueError, "'dst' is .*; pass"),
    Bad("to nobody", "send", lambda c: c.send(ones(1), c.size), ValueError, "'dst' is .*; pass"),
    Bad("from -1", "recv", lambda c: c.recv(ones(1), -1), ValueError, "'src' is -1; pass one from"),
    Bad("from None", "recv", lambda c: c.recv(ones(1), None), TypeError, "'src' is None; pass an"),
    Bad("tag -1", "send", lambda c: c.send(ones(1), another(c), -1), ValueError, "is -1; pass one"),
    Bad(
        "tag",
        "recv",
        lambda c: c.recv(ones(1), another(c), c.tags),
        ValueError,
        "'tag' is .*; pass",
    ),
    Bad(
        "tag 'a'",
        "send",
        lambda c: c.send(ones(1), another(c), "a"),
        TypeError,
        "'tag' is 'a'; pass",
    ),
    Bad(
        "receiving into what is read-only",
        "recv",
        lambda c: c.recv(read_only(1), another(c)),
        ValueError,
        "'array' is read-only",
    ),
    Bad(
        "sending a list",
        "send",
        lambda c: c.send([1], another(c)),
        TypeError,
        "'array' is a list, not",
    ),
    # Groups.
    Bad("color -1", "split", lambda c: c.split(-1), ValueError, "'color' is -1; pass one from 0"),
    Bad("color 1.5", "split", lambda c: c.split(1.5), TypeError, "'color' is 1.5; pass an integer"),
    Bad(
        "huge color",
        "split",
        lambda c: c.split(2**31),
        ValueError,
        "'color' is .*; pass one from 0",
    ),
    Bad("key", "split", lambda c: c.split(0, "a"), TypeError, "'key' is 'a'; pass an integer"),
]


def makes_sense_alone(bad: Bad) -> bool:
    """With one rank there is no other one, and everything can be shared evenly."""
    return not (
        bad.function in ("send", "recv")
        or "cannot" in bad.name
        or "another" in bad.name
        or bad.name in ("read-only part", "nowhere to scatter to")
    )


@pytest.mark.parametrize("bad", BAD_CALLS, ids=lambda bad: bad.name)
def test_raises_on_the_calling_rank_only(comm: Comm, bad: Bad) -> None:
    """The named error, with rank, function, argument and advice; the next collective works."""
    if comm.size == 1 and not makes_sense_alone(bad):
        pytest.skip("means something else on one rank")
    for caller in {0, comm.size - 1}:
        if comm.rank == caller:
            text = rf"^rank {comm.rank}: {bad.function}: .*{bad.says}"
            with pytest.raises(bad.error, match=text) as caught:
                bad.call(comm)
            assert type(caught.value) is bad.error
        np.testing.assert_array_equal(comm.all_reduce(np.ones(3)), np.full(3, comm.size))


def test_asynchronous_calls_raise_at_once(comm: Comm) -> None:
    """Wrong arguments do not wait for wait()."""
    if comm.rank == 0:
        with pytest.raises(ValueError, match=r"rank 0: all_reduce: 'op' is 'mean'"):
            comm.all_reduce(ones(4), op="mean", async_op=True)
        with pytest.raises(TypeError, match=r"rank 0: all_gather: 'array' is a list"):
            comm.all_gather([1], async_op=True)
    comm.barrier()


def test_algorithm_without_counts(comm: Comm) -> None:
    """Algorithms that need equal parts refuse counts, and say what to use instead."""
    from pycoll import _core

    calls = {
        "all_gather": lambda name: comm.all_gather_v(ones(1), [1] * comm.size, algorithm=name),
        "reduce_scatter": lambda name: comm.reduce_scatter_v(
            ones(comm.size), [1] * comm.size, algorithm=name
        ),
        "all_to_all": lambda name: comm.all_to_all_v(
            ones(comm.size), [1] * comm.size, [1] * comm.size, algorithm=name
        ),
    }
    refused = 0
    for algorithm in _core.algorithms():
        if algorithm.takes_counts or algorithm.collective not in calls or comm.rank > 0:
            continue
        with pytest.raises(
            ValueError,
            match=rf"^rank 0: {algorithm.collective}_v: .*'{algorithm.name}' does not take counts",
        ):
            calls[algorithm.collective](algorithm.name)
        refused += 1
    assert refused > 0 or comm.rank > 0
    comm.barrier()


@pytest.mark.parametrize(
    ("timeout", "error"), [(-1, ValueError), (float("nan"), ValueError), ("soon", TypeError)]
)
def test_bad_timeouts_of_wait(comm: Comm, timeout: object, error: type[Exception]) -> None:
    """wait refuses what is no number of seconds from 0, and can be called again."""
    work = comm.all_reduce(ones(4), async_op=True)
    with pytest.raises(error, match=rf"^rank {comm.rank}: wait: 'timeout' is .*; pass a number"):
        work.wait(timeout)
    assert (work.wait(timeout=10**12) == comm.size).all()


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), "soon", [1]])
def test_bad_timeouts_of_a_communicator(mpi: MPI.Intracomm, comm: Comm, timeout: object) -> None:
    """Refused before MPI is asked for anything, so on one rank alone."""
    if mpi.rank == 0:
        with pytest.raises(ValueError, match=r"'timeout' is .*; it must be a number of seconds"):
            pycoll.Communicator(mpi, timeout=timeout)
    comm.barrier()


def test_tensors_of_torch(comm: Comm) -> None:
    """Tensors that need a gradient, are sparse or conjugate are refused with torch's reason."""
    torch = pytest.importorskip("torch")
    bad = {
        "gradient": torch.ones(4, requires_grad=True),
        "strided": torch.eye(4).to_sparse(),
        "conj": torch.ones(4, dtype=torch.complex64).conj(),
    }
    for reason, tensor in bad.items():
        if comm.rank == 0:
            with pytest.raises(ValueError, match=rf"^rank 0: all_reduce: 'array' .*{reason}"):
                comm.all_reduce(tensor)
    if comm.rank == 0:
        with pytest.raises(ValueError, match=r"'array' is not C-contiguous"):
            comm.all_reduce(torch.ones(3, 4).T)
        with pytest.raises(TypeError, match=r"'array' has dtype .* not supported"):
            comm.all_reduce(torch.ones(4, dtype=torch.complex64))
    comm.barrier()
