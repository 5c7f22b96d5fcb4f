"""Buckets, the order in which they are reduced, and what a backward pass must have written."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from recorded import RecordedCommunicator

from pycoll.train import SGD, DataParallel, GradientError, Layer, Parameter
from pycoll.train.data_parallel.bucket import fill_buckets

Named = list[tuple[str, Parameter]]


def parameters(*sizes: int, dtypes: Sequence[str] = ()) -> Named:
    """Return parameters named p0, p1, ... with these numbers of elements."""
    named = []
    for index, size in enumerate(sizes):
        data = np.zeros(size, dtype=dtypes[index] if dtypes else "float32")
        named.append((f"p{index}", Parameter(data, np.zeros_like(data))))
    return named


def zeros(count: int, like: np.ndarray) -> np.ndarray:
    return np.zeros(count, like.dtype)


def names(named: Named, bucket_bytes: int) -> list[list[str]]:
    return [
        [name for name, _ in bucket.members] for bucket in fill_buckets(named, bucket_bytes, zeros)
    ]


def test_buckets_are_filled_from_the_last_layer_on() -> None:
    assert names(parameters(2, 2, 2, 2, 2), 16) == [["p4", "p3"], ["p2", "p1"], ["p0"]]


def test_a_bucket_is_closed_before_it_would_grow_too_large() -> None:
    assert names(parameters(1, 3, 2, 2), 16) == [["p3", "p2"], ["p1", "p0"]]
    assert names(parameters(1, 3, 2, 2), 15) == [["p3"], ["p2"], ["p1"], ["p0"]]
    assert names(parameters(1, 3, 2, 2), 1000) == [["p3", "p2", "p1", "p0"]]


def test_a_gradient_larger_than_a_bucket_gets_its_own() -> None:
    assert names(parameters(1, 100, 1, 1), 16) == [["p3", "p2"], ["p1"], ["p0"]]


def test_a_bucket_is_closed_where_the_dtype_changes() -> None:
    named = parameters(1, 1, 1, 1, dtypes=["float32", "float64", "float64", "float32"])
    buckets = fill_buckets(named, 1000, zeros)
    assert [[name for name, _ in bucket.members] for bucket in buckets] == [
        ["p3"],
        ["p2", "p1"],
        ["p0"],
    ]
    assert [bucket.flat.dtype.name for bucket in buckets] == ["float32", "float64", "float32"]


def test_a_gradient_with_parts_from_other_ranks_is_last_and_alone() -> None:
    """Here of the last layer and of the first: others need not wait for either."""
    for shared in (0, 4):
        named = parameters(2, 2, 2, 2, 2)
        named[shared][1].remote_uses = 1
        others = [name for name, _ in reversed(named) if name != f"p{shared}"]
        assert names(named, 24) == [others[:3], others[3:], [f"p{shared}"]]


def test_gradients_are_views_side_by_side() -> None:
    matrix = Parameter(np.zeros((2, 3)), np.zeros((2, 3)))
    vector = Parameter(np.zeros(2), np.zeros(2))
    (bucket,) = fill_buckets([("vector", vector), ("matrix", matrix)], 1000, zeros)
    matrix.grad[...] = [[1, 2, 3], [4, 5, 6]]
    vector.grad[...] = [7, 8]
    np.testing.assert_array_equal(bucket.flat, [1, 2, 3, 4, 5, 6, 7, 8])


def test_no_parameters_no_buckets() -> None:
    assert fill_buckets([], 16, zeros) == []


@pytest.mark.parametrize("bucket_bytes", [0, -1])
def test_wrong_bucket_sizes_are_refused(bucket_bytes: int) -> None:
    with pytest.raises(ValueError, match="bucket_bytes must be at least 1"):
        fill_buckets(parameters(1), bucket_bytes, zeros)


class Model(Layer):
    """Four parameters of 2 elements; two of them fit into a bucket."""

    def __init__(self) -> None:
        for name, parameter in parameters(2, 2, 2, 2):
            setattr(self, name, parameter)

    def forward(self, x: object) -> tuple[object, object]:
        return x, None

    def backward(self, saved: Sequence[int], dy: float) -> None:
        """Write the gradients of the parameters with the numbers ``saved``, in that order."""
        for number in saved:
            gradient = np.full(2, dy + number, dtype=np.float32)
            getattr(self, f"p{number}").accumulate(np.add, gradient, 0)


def made(rank: int = 0) -> tuple[Model, RecordedCommunicator, DataParallel]:
    model, comm = Model(), RecordedCommunicator(rank)
    return model, comm, DataParallel(model, comm, bucket_bytes=16)  # type: ignore[arg-type]


@pytest.mark.parametrize("order", [(3, 2, 1, 0), (0, 1, 2, 3), (1, 3, 0, 2)])
def test_buckets_are_reduced_in_one_order_whatever_completes_first(order: tuple[int, ...]) -> None:
    model, comm, parallel = made()
    with parallel.reducing():
        model.backward(order, 10)
    assert [id(array) for array in comm.launched] == [id(b.flat) for b in parallel.buckets]
    np.testing.assert_array_equal(comm.contents, [[13, 13, 12, 12], [11, 11, 10, 10]])
    assert len(comm.waited) == 2


def test_a_bucket_is_reduced_while_the_backward_pass_goes_on() -> None:
    model, comm, parallel = made()
    with parallel.reducing():
        model.backward((3,), 0)
        assert len(comm.launched) == 0
        model.backward((2,), 0)
        assert len(comm.launched) == 1
        assert comm.waited == []
        model.backward((1, 0), 0)
        assert len(comm.launched) == 2
    assert len(comm.waited) == 2


def test_several_passes_are_reduced_once() -> None:
    model, comm, parallel = made()
    with parallel.reducing(passes=2):
        model.backward((3, 2, 1, 0), 10)
        assert comm.launched == []
        model.backward((3, 2, 1, 0), 100)
    np.testing.assert_array_equal(comm.contents, [[116, 116, 114, 114], [112, 112, 110, 110]])


def test_a_missing_gradient_is_named() -> None:
    model, _, parallel = made(rank=5)
    with (
        pytest.raises(GradientError, match=r"rank 5: .* no complete gradient for p2, p0; every"),
        parallel.reducing(),
    ):
        model.backward((3, 1), 0)


def test_a_missing_pass_is_an_error() -> None:
    model, _, parallel = made()
    with pytest.raises(GradientError, match="for p3, p2, p1, p0"), parallel.reducing(passes=2):
        model.backward((3, 2, 1, 0), 0)


def test_a_pass_too_many_is_an_error() -> None:
    model, _, parallel = made()
    with pytest.raises(GradientError, match="complete already"), parallel.reducing():
        model.backward((3, 2, 1, 0, 3), 0)


def test_what_a_failed_pass_launched_is_waited_for_before_its_buffer_is_used_again() -> None:
    model, comm, parallel = made()
    with pytest.raises(GradientError), parallel.reducing():
        model.backward((3, 2), 0)
    assert len(comm.launched) == 1
    assert comm.waited == []
    with parallel.reducing():
        assert len(comm.waited) == 1
        model.backward((3, 2, 1, 0), 20)
    np.testing.assert_array_equal(comm.contents[1:], [[23, 23, 22, 22], [21, 21, 20, 20]])
    assert len(comm.waited) == 3


def test_an_error_in_the_block_is_not_replaced_by_one_about_gradients() -> None:
    _, _, parallel = made()
    with pytest.raises(ZeroDivisionError), parallel.reducing():
        raise ZeroDivisionError


class Slow(SGD):
    """Notes what has been started when each parameter has been updated."""

    def __init__(self, comm: RecordedCommunicator, parameters: Named) -> None:
        super().__init__(parameters)
        self.comm = comm
        self.started: list[int] = []

    def updates(self, learning_rate: float) -> Iterator[Parameter]:
        for parameter in super().updates(learning_rate):
            self.started.append(self.comm.calls.count("all_gather"))
            yield parameter


@pytest.mark.parametrize("backwards", [False, True])
def test_with_zero_buckets_travel_while_the_optimizer_works(backwards: bool) -> None:
    """The first layers' first, whatever the optimizer's order is."""
    model, comm = Model(), RecordedCommunicator()
    parallel = DataParallel(model, comm, bucket_bytes=16, zero=1)  # type: ignore[arg-type]
    assert [name for name, _ in parallel.parameters] == ["p1", "p0", "p3", "p2"]
    parameters = parallel.parameters[::-1] if backwards else parallel.parameters
    optimizer = Slow(comm, parameters)
    with parallel.reducing():
        model.backward((3, 2, 1, 0), 10)
    assert comm.calls == ["reduce_scatter"] * 2
    parallel.step(optimizer, 1.0)
    assert comm.calls == ["reduce_scatter"] * 2 + ["all_gather"] * 2
    assert optimizer.started == ([0, 0, 0, 0] if backwards else [0, 0, 1, 1])
    np.testing.assert_array_equal(comm.contents[2:], [[-11, -11, -10, -10], [-13, -13, -12, -12]])


def test_with_zero_values_arrive_during_the_next_forward_pass() -> None:
    """Who reads a value waits for its bucket, once; the next step for those that nobody read."""
    model, comm = Model(), RecordedCommunicator()
    parallel = DataParallel(model, comm, bucket_bytes=16, zero=1)  # type: ignore[arg-type]
    optimizer = SGD(parallel.parameters)
    for number in range(2):
        with parallel.reducing():
            model.backward((3, 2, 1, 0), 10)
        comm.waited.clear()
        parallel.step(optimizer, 1.0)
        assert len(comm.waited) == number
        comm.waited.clear()
        for _ in range(2):
            np.testing.assert_array_equal(model.p0.data, np.full(2, -10 * (number + 1)))  # type: ignore[attr-defined]
            np.testing.assert_array_equal(model.p1.data, np.full(2, -11 * (number + 1)))  # type: ignore[attr-defined]
            assert len(comm.waited) == 1
            assert comm.waited[0] is comm.launched[-2]


@pytest.mark.parametrize("zero", [0, 1])
def test_bfloat16_without_ml_dtypes(monkeypatch: pytest.MonkeyPatch, zero: int) -> None:
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    with pytest.raises(ImportError, match="precision 'bfloat16' needs the ml_dtypes package"):
        DataParallel(
            Model(),
            RecordedCommunicator(),  # type: ignore[arg-type]
            zero=zero,
            precision="bfloat16",
        )


def test_a_part_of_a_bucket_knows_what_it_cuts() -> None:
    """3 + 2 + 4 elements and one of padding, as 2 parts of 5."""
    (bucket,) = fill_buckets(parameters(4, 2, 3), 1000, zeros, parts=2)
    assert bucket.flat.shape == (10,)
    cuts = [
        [(name, of.start, of.stop, at.start, at.stop) for name, _, of, at in bucket.cut(*part)]
        for part in ((0, 5), (5, 10))
    ]
    assert cuts == [[("p2", 0, 3, 0, 3), ("p1", 0, 2, 3, 5)], [("p0", 0, 4, 0, 4)]]
