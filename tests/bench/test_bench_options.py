"""The command line of the benchmark: what it means, and what it refuses."""

from __future__ import annotations

import pytest

from pycoll.bench.options import OptionError, parse_options
from pycoll.bench.sizes import count_and_size, size_range


def test_defaults_are_those_of_nccl_tests() -> None:
    options = parse_options(["all_reduce"], ranks=4)
    assert options.sizes == (32 << 20,)
    assert (options.dtypes, options.ops, options.roots) == (("float32",), ("sum",), (None,))
    assert options.placements == (False, True)
    assert options.algorithms == ("auto",)
    assert options.checks == 1


def test_sizes_by_factor_and_by_step() -> None:
    assert parse_options(["reduce", "-b", "8", "-e", "1K", "-f", "4"], 2).sizes == (8, 32, 128, 512)
    assert parse_options(["reduce", "-b", "0", "-e", "2K", "-i", "1K"], 2).sizes == (0, 1024, 2048)
    long = ["reduce", "--minbytes", "8", "--maxbytes", "16", "--stepfactor", "2"]
    assert parse_options(long, 2).sizes == (8, 16)
    assert size_range(1 << 20, 3 << 20, None, None) == (1 << 20, 2 << 20, 3 << 20)


def test_all_means_all() -> None:
    options = parse_options(["reduce", "-d", "all", "-o", "all", "-r", "all"], ranks=3)
    assert {"bool", "int8", "uint64", "float16", "float64"} <= set(options.dtypes)
    assert options.ops == ("sum", "prod", "min", "max", "avg", "band", "bor", "bxor")
    assert options.roots == (0, 1, 2)
    algorithms = parse_options(["all_reduce", "--algorithm", "all"], 2).algorithms
    assert {"ring", "recursive_doubling"} <= set(algorithms)
    assert "auto" not in algorithms


def test_names_of_types_are_numpys_or_those_of_nccl_tests() -> None:
    assert parse_options(["all_reduce", "-d", "half"], 2).dtypes == ("float16",)
    assert parse_options(["all_reduce", "-d", "int64"], 2).dtypes == ("int64",)


def test_collectives_without_op_or_root_have_none() -> None:
    options = parse_options(["all_gather", "-o", "max", "-r", "1"], 2)
    assert (options.ops, options.roots) == ((None,), (None,))


def test_placements() -> None:
    def placements(*arguments: str) -> tuple[bool, ...]:
        return parse_options([*arguments], 2).placements

    assert placements("all_gather") == (False, True)
    assert placements("all_gather", "--in-place") == (True,)
    assert placements("all_gather", "--out-of-place", "--in-place") == (False, True)
    assert placements("all_gather", "--against", "mpi") == (True,)
    assert placements("broadcast") == (True,)
    assert placements("all_to_all", "--against", "mpi") == (False,)


def test_memories() -> None:
    assert parse_options(["all_reduce"], 2).memories == ("registered",)
    assert parse_options(["all_reduce", "--device", "cuda"], 2).memories == ("plain",)
    assert parse_options(["send_recv"], 2).memories == ("plain",)
    assert parse_options(["all_reduce", "--memory", "both"], 2).memories == ("plain", "registered")


def test_several_algorithms_and_chunks() -> None:
    text = ["all_reduce", "--algorithm", "ring,auto,ring", "--chunk", "64K,1M"]
    options = parse_options(text, 2)
    assert (options.algorithms, options.chunks) == (("ring", "auto"), (64 << 10, 1 << 20))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "COLLECTIVE"),
        (["allreduce"], "unknown collective 'allreduce'"),
        (["all_reduce", "-b", "many"], "'many' is not a size"),
        (["all_reduce", "-b", "2K", "-e", "1K"], "above the last"),
        (["all_reduce", "-b", "0", "-f", "2"], "must start above 0"),
        (["all_reduce", "-b", "0", "-i", "0"], "must be above 0"),
        (["all_reduce", "-f", "1"], "'1' is not a whole number from 2"),
        (["all_reduce", "-f", "2", "-i", "8"], "not both"),
        (["all_reduce", "-d", "complex64"], "unknown type 'complex64'"),
        (["all_reduce", "-o", "mean"], "unknown op 'mean'"),
        (["all_reduce", "-o", "bxor"], "op bxor is not defined for float32"),
        (["reduce", "-r", "2"], "root '2' is not one of the 2 ranks"),
        (["reduce", "-r", "-1"], "root '-1' is not one of"),
        (["all_reduce", "-n", "0"], "'0' is not a whole number from 1"),
        (["all_reduce", "-c", "x"], "'x' is not a whole number from 0"),
        (["all_reduce", "--seconds", "0"], "'0' is not a number above 0"),
        (["all_reduce", "--seconds", "nan"], "'nan' is not a number above 0"),
        (["all_reduce", "--rounds", "0"], "'0' is not a whole number from 1"),
        (["all_reduce", "--algorithm", "magic"], "all_reduce has no algorithm 'magic'"),
        (["barrier", "--algorithm", "all"], "no choice of algorithm"),
        (["barrier", "--memory", "both"], "makes no use of registered memory"),
        (["barrier", "--plot", "x.png"], "no sizes to plot"),
        (["gather", "--chunk", "64K"], "not pipelined"),
        (["all_reduce", "--chunk", "64Q"], "'64Q' is not a size"),
        (["all_to_all", "--in-place"], "all_to_all has no in-place form"),
        (["broadcast", "--out-of-place"], "broadcast has no out-of-place form"),
        (["all_reduce", "--against", "nccl"], "--against"),
        (["all_reduce", "--minb", "8"], "--minb"),
        (["all_reduce", "reduce"], "reduce"),
    ],
)
def test_wrong_options_are_named_in_one_line(arguments: list[str], text: str) -> None:
    with pytest.raises(OptionError) as error:
        parse_options(arguments, ranks=2)
    assert text in str(error.value)
    assert "\n" not in str(error.value)


def test_send_recv_needs_a_partner() -> None:
    with pytest.raises(OptionError, match="at least 2 ranks"):
        parse_options(["send_recv"], ranks=1)


@pytest.mark.parametrize(
    ("collective", "size", "element", "ranks", "expected"),
    [
        ("all_reduce", 1000, 4, 8, (250, 1000)),
        ("all_reduce", 1001, 4, 8, (250, 1000)),
        ("broadcast", 3, 4, 8, (1, 4)),
        # Size counts the blocks of all ranks, count those of one.
        ("all_gather", 1024, 4, 8, (32, 1024)),
        ("reduce_scatter", 1024, 4, 3, (85, 1020)),
        ("all_to_all", 8, 8, 4, (1, 32)),
        ("send_recv", 1024, 2, 8, (512, 1024)),
        ("barrier", 0, 4, 8, (0, 0)),
    ],
)
def test_counts_and_sizes_are_those_of_nccl_tests(
    collective: str, size: int, element: int, ranks: int, expected: tuple[int, int]
) -> None:
    assert count_and_size(collective, size, element, ranks) == expected
