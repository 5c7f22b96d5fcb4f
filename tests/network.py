"""Two hosts on one machine: network namespaces that a virtual wire connects."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import textwrap
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from launching import find_mpirun
from mpi4py import MPI

#: Of the two hosts; what MPICH calls them, too.
ADDRESSES = ["10.77.0.1", "10.77.0.2"]
WIRE = "wire"
#: Else MPICH's UCX finds out that both hosts are this machine, and copies through its memory.
ENVIRONMENT = {"UCX_TLS": "tcp,self", "UCX_NET_DEVICES": WIRE}


class NoNetworkError(Exception):
    """This machine does not let us have one, for the reason given."""


def require_tools() -> None:
    """Raise `NoNetworkError` unless this machine and this MPI have what it takes."""
    if "MPICH" not in MPI.Get_library_version():
        raise NoNetworkError("the launcher of this MPI is not MPICH's Hydra")
    if os.geteuid() != 0:
        raise NoNetworkError("only root may make network namespaces")
    for tool in ("unshare", "nsenter", "ip"):
        if shutil.which(tool) is None:
            raise NoNetworkError(f"there is no command '{tool}'")


def run(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        raise NoNetworkError(f"'{' '.join(command)}' failed: {error.stderr}") from error
    return done.stdout


#: Its own devices below /sys, where MPICH looks for them.
LIVE = "mount -t sysfs sysfs /sys && echo ready && exec cat"


@contextmanager
def host() -> Iterator[int]:
    """Make namespaces of network and host name, and give the process that they live by.

    They end with it, and it with its input: nothing is left, however we end.
    """
    with subprocess.Popen(
        ["unshare", "--net", "--uts", "--mount", "--propagation=private", "sh", "-c", LIVE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        if process.stdout.readline() != "ready\n":
            raise NoNetworkError(f"no namespaces: {process.stderr.read()}")
        try:
            yield process.pid
        finally:
            process.kill()


def inside(process: int) -> list[str]:
    """Return what to put before a command that is to run on that host."""
    return ["nsenter", f"--target={process}", "--net", "--uts", "--mount"]


@contextmanager
def two_hosts(folder: Path) -> Iterator[list[str]]:
    """Connect two hosts by a wire, and give the start of an ``mpirun`` command over both.

    Parameters
    ----------
    folder : Path
        For the script that takes the place of ssh.

    Raises
    ------
    NoNetworkError
        Where there can be none.
    """
    require_tools()
    with ExitStack() as stack:
        hosts = [stack.enter_context(host()) for _ in ADDRESSES]
        ends = ["name", WIRE, "type", "veth", "peer", "name", WIRE, "netns", str(hosts[1])]
        run(*inside(hosts[0]), "ip", "link", "add", *ends)
        for number, (process, address) in enumerate(zip(hosts, ADDRESSES, strict=True)):
            run(*inside(process), "hostname", f"host{number}")
            run(*inside(process), "ip", "address", "add", f"{address}/24", "dev", WIRE)
            for device in ("lo", WIRE):
                run(*inside(process), "ip", "link", "set", device, "up")
        for process in hosts:
            wait_until_up(process)
        shell = folder / "shell"
        shell.write_text(
            textwrap.dedent(
                f"""\
                #!/bin/sh
                # As ssh: options, a host, and a command.
                while [ "${{1#-}}" != "$1" ]; do shift; done
                case $1 in
                {ADDRESSES[0]}) process={hosts[0]} ;;
                {ADDRESSES[1]}) process={hosts[1]} ;;
                esac
                shift
                exec nsenter --target=$process --net --uts --mount sh -c "$*"
                """
            )
        )
        shell.chmod(shell.stat().st_mode | stat.S_IXUSR)
        launcher = ["-launcher", "ssh", "-launcher-exec", str(shell), "-localhost", ADDRESSES[0]]
        yield [*inside(hosts[0]), find_mpirun(), *launcher, "-hosts", ",".join(ADDRESSES)]


def wait_until_up(process: int) -> None:
    """Until the kernel has seen that both ends of the wire are there."""
    give_up = time.monotonic() + 20
    while run(*inside(process), "cat", f"/sys/class/net/{WIRE}/operstate") != "up\n":
        if time.monotonic() > give_up:
            raise NoNetworkError("the wire did not come up")
