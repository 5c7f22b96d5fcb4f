"""A plugin of pytest: runs the tests of tests/ranks on fake GPUs. See tests/test_gpu_ranks.py."""

from __future__ import annotations

import gc
import os
import time
import zlib

import fake_driver
import host_arrays_on_gpus
import pytest
from mpi4py import MPI

#: What is not about what becomes of arrays, and what cannot be done on a GPU, by file or test.
LEFT_OUT = {
    "test_array_kinds.py": "libraries for arrays on the host; for those on GPUs see gpu_ranks",
    "test_bad_calls.py": "refused before it matters where arrays lie; see gpu_ranks for GPUs",
    "test_barrier.py": "no arrays",
    "test_repeated_calls.py": "calls on GPUs are not remembered",
    "test_nodes.py": "counts the bytes of the host's messages",
    "test_rank_and_size_are_those_of_mpi": "no arrays",
    "test_topology": "no arrays",
    "test_intercommunicators_are_refused": "no arrays",
    "test_freeing_a_communicator_calls_nobody_back": "no arrays",
    "test_communicators_may_be_collected_while_another_one_is_made": "no arrays",
    "test_slices_and_views_are_recognised": "about NumPy's views; see gpu_ranks for GPUs",
    "test_what_makes_no_sense": "no calls",
    "test_unaligned_arrays": "refused for GPUs: they read no element across its border",
    "test_memory_may_be_resized_once_the_operation_is_over": "GPUs have no bytearrays",
    "test_arrays_live_as_long_as_their_operations": "watches a NumPy array; see gpu_ranks",
    "test_a_wait_that_is_too_short_can_be_repeated": "it may wait for the GPU, not yet for a rank",
    "test_more_elements_than_32_bits_count": "a fake GPU of that size takes too long",
}


def is_left_out(item: pytest.Item) -> bool:
    return item.path.name in LEFT_OUT or getattr(item, "originalname", item.name) in LEFT_OUT


def pytest_configure() -> None:
    host_arrays_on_gpus.install()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of tests with parameters, keep those parts that PYCOLL_TEST_PARTS names, as in "0,1,2/16"."""
    numbers, _, parts = os.environ.get("PYCOLL_TEST_PARTS", "0/1").partition("/")
    wanted = set(map(int, numbers.split(",")))
    items[:] = [
        item
        for item in items
        if not is_left_out(item)
        and (not hasattr(item, "callspec") or zlib.crc32(item.name.encode()) % int(parts) in wanted)
    ]


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail if memory is left, but for what a process keeps: a heap, its peers', a word of signals.

    Messages that tests let fail, in test_long_messages.py, keep what they may still come into.
    Streams and events are kept, too, as many as have been in use at once.
    """
    if session.testsfailed:
        return
    for communicator in host_arrays_on_gpus.in_use():
        communicator.close()
    host_arrays_on_gpus.forget()
    gc.collect()
    failed = 12  # messages at most, sent and received
    kept = {
        "allocations": 1 + failed,
        "pinned": 1 + failed,
        "mappings": MPI.COMM_WORLD.size,
        "modules": 1,
    }
    # Memory is freed in the background.
    deadline = time.monotonic() + 30
    while any(fake_driver.alive()[kind] > most for kind, most in kept.items()):
        alive = fake_driver.alive()
        assert time.monotonic() < deadline, f"rank {MPI.COMM_WORLD.rank} leaves {alive}"
        time.sleep(0.01)
    assert fake_driver.misuses() == fake_driver.races() == 0
