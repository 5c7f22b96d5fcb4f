"""The fake NVIDIA driver, where it takes a process of its own, and what Python has around it.

Its streams, errors and races are tested in tests/cpp/fake_cuda_*.cpp.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

from fake_gpu import environment
from launching import Mpirun

FOLDER = Path(__file__).parent / "cuda"


def run(program: str, *arguments: str, **settings: object) -> subprocess.CompletedProcess[str]:
    """Run a program in a process that has fake GPUs."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), *arguments],
        env={**os.environ, "PYTHONPATH": str(FOLDER), **environment(**settings)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def passes(program: str, **settings: object) -> None:
    done = run(program, **settings)
    assert done.returncode == 0, done.stdout + done.stderr


def test_driver_without_gpu() -> None:
    program = """
        import pytest, fake_driver
        with pytest.raises(fake_driver.DriverError, match="cuInit returned 100"):
            fake_driver.library()
    """
    passes(program, devices=0)


def test_host_that_touches_gpu_memory_faults() -> None:
    program = """
        import ctypes
        from device_arrays import DeviceArray
        array = DeviceArray.from_host([1.0, 2.0])
        print(ctypes.c_float.from_address({}).value, flush=True)
    """
    assert run(program.format("array.pointer")).returncode == -signal.SIGSEGV
    alias = "__import__('fake_driver').library().fake_cuda_alias(array.pointer)"
    # Where it can be looked at, after the copy.
    assert run(program.format(f"(array.to_host(), {alias})[1] + 0")).returncode == 0


IMPORTER = """
    import sys
    from ctypes import byref, c_uint64, c_ubyte, create_string_buffer, string_at, Structure
    import fake_driver
    from fake_driver import call, current, library

    class Handle(Structure):
        _fields_ = (("bytes", c_ubyte * 64),)

    handle = Handle.from_buffer_copy(bytes.fromhex(sys.argv[1]))
    results = []
    for device in (0, 1):
        with current(device):
            address, again = c_uint64(), c_uint64()
            results.append(library().cuIpcOpenMemHandle_v2(byref(address), handle, 1))
            if results[-1] == 0:
                assert library().cuIpcOpenMemHandle_v2(byref(again), handle, 1) == 0
                assert again.value == address.value, "opened once more, it is elsewhere"
                alias = library().fake_cuda_alias(address.value)
                assert string_at(alias + 1, 2) == b"bc", "the memory is not the other process's"
                call("cuMemsetD8Async", address.value, ord("x"), 1, None)
                call("cuCtxSynchronize")
                for _ in range(2):
                    call("cuIpcCloseMemHandle", address)
                assert library().cuIpcCloseMemHandle(address) == 1, "closed too often"
                assert fake_driver.alive()["mappings"] == 0
    print(results)
"""

EXPORTER = """
    import ctypes, subprocess, sys
    import numpy as np
    import fake_driver
    from device_arrays import DeviceArray
    array = DeviceArray.from_host(np.frombuffer(b"abc", np.uint8))
    array.to_host()
    handle = ctypes.create_string_buffer(64)
    with fake_driver.current(0):
        fake_driver.call("cuIpcGetMemHandle", handle, array.pointer)
    importing = [sys.executable, "-c", sys.argv[1], handle.raw.hex()]
    print(subprocess.run(importing, check=True, capture_output=True, text=True).stdout)
    assert array.to_host().tobytes() == b"xbc", array.to_host() if {peer_access} else ""
    del array
    assert fake_driver.misuses() == 0
    gone = subprocess.run(importing, check=True, capture_output=True, text=True).stdout
    assert gone.startswith("[1, "), "freed memory can still be opened"
"""


def share(peer_access: int) -> str:
    program = EXPORTER.replace("{peer_access}", str(peer_access))
    done = run(program, textwrap.dedent(IMPORTER), devices=2, peer_access=peer_access)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_memory_is_shared_between_processes() -> None:
    assert share(peer_access=1) == "[0, 0]"
    assert share(peer_access=0) == "[0, 217]", "a GPU reached another without peer access"


RACING_IMPORTER = """
    import sys
    from ctypes import byref, c_uint64, c_ubyte, Structure
    from fake_driver import call, current, library, races

    class Handle(Structure):
        _fields_ = (("bytes", c_ubyte * 64),)

    with current(0):
        address = c_uint64()
        handle = Handle.from_buffer_copy(bytes.fromhex(sys.argv[1]))
        assert library().cuIpcOpenMemHandle_v2(byref(address), handle, 1) == 0
        for turn in range(20):
            call("cuMemsetD8Async", address.value + {offset}, 1, 4, None)
        print("started", flush=True)
        call("cuCtxSynchronize")
        sys.stdin.read()
    print(races())
"""

RACING_EXPORTER = """
    import ctypes, subprocess, sys
    import fake_driver
    from device_arrays import DeviceArray
    array = DeviceArray.empty(2)
    handle = ctypes.create_string_buffer(64)
    with fake_driver.current(0):
        fake_driver.call("cuIpcGetMemHandle", handle, array.pointer)
        importer = subprocess.Popen(
            [sys.executable, "-c", sys.argv[1], handle.raw.hex()],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        importer.stdout.readline()
        for turn in range(20):
            fake_driver.call("cuMemsetD8Async", array.pointer, 2, 4, None)
        fake_driver.call("cuCtxSynchronize")
    print(fake_driver.races() + int(importer.communicate()[0]))
"""


def race_between_processes(offset: int) -> int:
    importer = textwrap.dedent(RACING_IMPORTER).replace("{offset}", str(offset))
    done = run(RACING_EXPORTER, importer, max_delay_us=4000, race="report")
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_races_between_processes() -> None:
    assert race_between_processes(offset=0) > 0, "two processes wrote the same at once"
    assert race_between_processes(offset=4) == 0


def test_a_race_ends_the_process() -> None:
    program = """
        from fake_driver import Stream
        from device_arrays import DeviceArray
        first, second = Stream(), Stream()
        array = DeviceArray.from_host([1.0], stream=first.handle)
        {}
        array.to_host(second.handle)
        first.synchronize()
    """
    done = run(program.format("pass"))
    assert done.returncode == -signal.SIGABRT, done.stderr
    (race,) = (line for line in done.stderr.splitlines() if line.startswith("FAKE CUDA RACE: "))
    assert "copy from device memory to pageable memory, 8 bytes, on stream" in race
    assert "copy from pageable memory to device memory, 8 bytes, on stream" in race
    passes(program.format("first.synchronize()"))


def test_arrays() -> None:
    program = """
        import gc
        import ml_dtypes
        import numpy as np
        import dlpack_capsules, fake_driver
        from device_arrays import *
        from fake_driver import Stream

        before = fake_driver.alive()
        stream = Stream()
        host = np.arange(24, dtype=np.int32).reshape(6, 4)
        for kind in (InterfaceArray, OldInterfaceArray, DLPackArray, OldDLPackArray):
            array = kind.from_host(host, stream=stream.handle)
            assert array.to_host().tolist() == host.tolist()
            assert array[2:5].to_host().tolist() == host[2:5].tolist()
            assert not array[::2].is_contiguous and array[::2].shape == (3, 4)
            array[1:2].assign(np.zeros((1, 4)))
            assert array.to_host()[:3, 0].tolist() == [0, 0, 8]
            assert array.new_empty(3).shape == (3,)
            assert kind.from_host(np.float64(7)).to_host() == 7.0
            assert kind.empty((0, 3)).to_host().shape == (0, 3)
        small = InterfaceArray.from_host(np.array([1.5, -2], ml_dtypes.bfloat16))
        assert small.to_host().tolist() == [1.5, -2]
        interface = small[1:].__cuda_array_interface__
        assert interface["data"] == (small.pointer + 2, False) and interface["stream"] is None
        assert small.read_only().__cuda_array_interface__["data"][1]

        # Who takes an array by DLPack comes after what is on the array's stream.
        array = DLPackArray.from_host(host, stream=stream.handle)
        consumer = Stream()
        with stream.held():
            capsule = array.__dlpack__(stream=consumer.handle, max_version=(1, 0))
            assert '"dltensor_versioned"' in repr(capsule)
            assert not consumer.is_idle()
        consumer.synchronize()
        old = OldDLPackArray.empty(3).__dlpack__(stream=-1)
        assert '"dltensor"' in repr(old) and dlpack_capsules.lent() == 2
        del capsule, old
        assert dlpack_capsules.lent() == 0
        del array, small
        stream.destroy(), consumer.destroy()
        gc.collect()
        assert fake_driver.alive() == before, fake_driver.alive()
        assert fake_driver.races() == fake_driver.misuses() == 0
    """
    passes(program)


AWARE = """
    import ctypes, os
    from ctypes import byref, c_int, c_void_p
    import numpy as np
    from mpi4py import MPI
    from fake_driver import Stream, call, current, races
    from device_arrays import DeviceArray

    # As the core calls it; mpi4py has functions for large counts instead.
    mpi = ctypes.CDLL(None)
    assert mpi.MPIX_Query_cuda_support() == 1
    comm = MPI.COMM_WORLD
    peer = 1 - comm.rank
    float_type, world = (c_void_p(MPI._handleof(handle)) for handle in (MPI.FLOAT, comm))
    request_size = MPI._sizeof(MPI.Request)

    def start(function, pointer, count, request):
        function(c_void_p(pointer), count, float_type, peer, 0, world, byref(request))

    def finish(requests):
        done, left = c_int(), 2
        indices, statuses = (c_int * 2)(), (ctypes.c_byte * 256)()
        while left > 0:
            assert mpi.MPI_Testsome(2, requests, byref(done), indices, statuses) == 0
            left -= max(done.value, 0)

    stream = Stream()
    for count in (1, 100_000):
        own = DeviceArray.from_host(np.full(count, comm.rank, np.float32))
        others = DeviceArray.empty(count)
        own.to_host()
        for too_early in (False, True):
            before = races()
            requests = (ctypes.c_byte * (2 * request_size))()
            start(mpi.MPI_Irecv, others.pointer, count, requests)
            second = (ctypes.c_byte * request_size).from_buffer(requests, request_size)
            start(mpi.MPI_Isend, own.pointer, count, second)
            if too_early:
                others.assign(np.full(count, 9, np.float32))
                own.to_host()
            finish(requests)
            if not too_early:
                assert others.to_host().tolist() == [peer] * count
            assert (races() > before) == too_early, (races(), before, too_early)
            comm.Barrier()

    # An MPI that takes no pointers to GPU memory: pinned memory is watched all the same.
    os.environ["FAKE_CUDA_AWARE_MPI"] = "0"
    assert mpi.MPIX_Query_cuda_support() == 0
    pinned = c_void_p()
    with current(0):
        call("cuMemHostAlloc", byref(pinned), 8, 0)
        before = races()
        requests = (ctypes.c_byte * (2 * request_size))()
        start(mpi.MPI_Irecv, pinned.value, 1, requests)
        second = (ctypes.c_byte * request_size).from_buffer(requests, request_size)
        start(mpi.MPI_Isend, pinned.value + 4, 1, second)
        call("cuMemcpyAsync", own.pointer, pinned.value + 4, 4, None)
        call("cuCtxSynchronize")
        assert races() == before, "of two that read"
        call("cuMemcpyAsync", own.pointer, pinned.value, 4, None)
        call("cuCtxSynchronize")
        assert races() == before + 1
        finish(requests)
"""


def test_aware_mpi(mpirun: Mpirun) -> None:
    """Messages go from GPU to GPU, and race with what does not wait for their end."""
    env = {"PYTHONPATH": str(FOLDER), **environment(aware_mpi=True, race="report")}
    done = mpirun(2, "-c", textwrap.dedent(AWARE), env=env)
    assert done.returncode == 0, done.stdout + done.stderr
