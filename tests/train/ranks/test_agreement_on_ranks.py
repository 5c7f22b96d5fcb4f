"""What fails on one rank is raised on all, with one text."""

from __future__ import annotations

from pathlib import Path

import pytest

import pycoll
from pycoll.train import AgreedError, RefusedError, agreed, shared_corpus
from pycoll.train.verdict import broadcast_text

comm = pycoll.world()
LAST = comm.size - 1


def fail_if(condition: bool, error: Exception) -> None:
    if condition:
        raise error


def test_a_block_without_failure_passes() -> None:
    with agreed(comm):
        pass


@pytest.mark.parametrize("failing", sorted({0, LAST // 2, LAST}))
@pytest.mark.parametrize("error", [ValueError("wrong"), ImportError("wrong"), OSError("wrong")])
def test_all_ranks_raise_what_one_raised(failing: int, error: Exception) -> None:
    with pytest.raises(RefusedError) as caught, agreed(comm):
        fail_if(comm.rank == failing, error)
    assert str(caught.value) == "wrong"
    assert caught.value.__cause__ is (error if comm.rank == failing else None)
    assert isinstance(caught.value, AgreedError)


def test_of_several_failures_all_raise_the_lowest_ranks() -> None:
    first = LAST // 2
    with pytest.raises(RefusedError, match=f"^from rank {first}$"), agreed(comm):
        fail_if(comm.rank >= first, ValueError(f"from rank {comm.rank}"))


def test_a_missing_file_is_named() -> None:
    with pytest.raises(RefusedError, match=r"^/no/such/file: No such file or directory$"):
        shared_corpus(comm, Path("/no/such/file"), 4)


def test_a_failure_without_text_still_says_something() -> None:
    with pytest.raises(RefusedError, match="ValueError"), agreed(comm):
        raise ValueError


def test_the_communicator_works_after_a_refusal() -> None:
    for _ in range(3):
        with pytest.raises(RefusedError), agreed(comm):
            raise OSError("wrong")
    assert broadcast_text(comm, f"rank {comm.rank}") == "rank 0"


@pytest.mark.parametrize("text", ["", "a", "na\u00efve \U0001f600" * 1000])
@pytest.mark.parametrize("root", sorted({0, LAST}))
def test_texts_are_broadcast(root: int, text: str) -> None:
    given = text if comm.rank == root else f"something else {comm.rank}"
    assert broadcast_text(comm, given, root) == text


def test_all_ranks_get_rank_0s_text(tmp_path: Path) -> None:
    """Each rank has a file of its own here, as hosts may have."""
    path = tmp_path / "text"
    path.write_text(f"rank {comm.rank} has this. " * 20)
    corpus = shared_corpus(comm, path, 4)
    assert "0" in corpus.vocabulary.characters
    assert not set("1234567") & set(corpus.vocabulary.characters)


def test_a_text_that_is_too_short_is_refused_on_all_ranks(tmp_path: Path) -> None:
    """Even though only rank 0's counts."""
    path = tmp_path / "text"
    path.write_text("short" if comm.rank == 0 else "long enough " * 100)
    with pytest.raises(RefusedError, match="5 characters is too short"):
        shared_corpus(comm, path, 4)
