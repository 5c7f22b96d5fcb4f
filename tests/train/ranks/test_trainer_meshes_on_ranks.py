"""The trainer on meshes: the same losses as one process, and checkpoints from mesh to mesh."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))

from small_run import sample, small_trainer

import pycoll
from pycoll.train import RefusedError, Trainer
from pycoll.train.verdict import broadcast_text

comm = pycoll.world()
alone = comm.split(comm.rank)
assert alone is not None
BASE: dict[str, Any] = {
    "layers": 2,
    "width": 16,
    "heads": 4,
    "batch_size": 32,
    "learning_rate": 1e-3,
}
SPREADS: list[dict[str, Any]] = {
    2: [
        {"tp": 2, "sequence_parallel": True},
        {"pp": 2, "micro_batches": 3, "recompute": True},
        {"pp": 2, "micro_batches": 4, "schedule": "interleaved", "chunks": 2},
    ],
    4: [
        {"tp": 2, "pp": 2, "micro_batches": 2, "max_norm": 0.5},
        {"pp": 2, "micro_batches": 2, "zero": 1, "schedule": "gpipe"},
        {"tp": 4, "dp": 1},
    ],
    8: [
        {"tp": 2, "pp": 2, "micro_batches": 2, "zero": 1, "max_norm": 0.5},
        {"tp": 2, "pp": 4, "micro_batches": 4, "tied": True, "sequence_parallel": True},
    ],
}.get(comm.size, [])
SPREAD_ONLY = ("dp", "tp", "pp", "sequence_parallel", "schedule", "chunks", "recompute")

pytestmark = pytest.mark.skipif(not SPREADS, reason="other numbers of ranks make meshes")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder that all ranks share."""
    return Path(broadcast_text(comm, str(tmp_path)))


def on_one_process(spread: dict[str, Any]) -> Trainer:
    """Return a trainer with the same course."""
    course = {name: value for name, value in spread.items() if name in ("tied", "max_norm")}
    return small_trainer(alone, **BASE, **course)


def state(trainer: Trainer) -> dict[str, np.ndarray]:
    """Return what a single process holds."""
    return {
        **{name: parameter.data.copy() for name, parameter in trainer.parallel.parameters},
        **{f"optimizer.{n}": a.copy() for n, a in trainer.optimizer.state_dict().items()},
    }


@pytest.mark.parametrize("spread", SPREADS, ids=str)
def test_all_meshes_train_alike(spread: dict[str, Any]) -> None:
    """Also what the model writes afterwards is the same, on every copy."""
    spread_out, single = small_trainer(comm, **BASE, **spread), on_one_process(spread)
    assert spread_out.parameters == single.parameters
    for _ in range(6):
        ours, expected = spread_out.train_step(), single.train_step()
        assert ours.loss == pytest.approx(expected.loss, rel=1e-5)
        assert (ours.gradient_norm or 0) == pytest.approx(expected.gradient_norm or 0, rel=1e-4)
        assert 0 < ours.blocked_seconds < ours.seconds
    assert spread_out.validate() == pytest.approx(single.validate(), rel=1e-5)
    tokens = np.arange(10).reshape(2, 5) % spread_out.config.vocabulary
    np.testing.assert_allclose(
        spread_out.next_scores(tokens), single.next_scores(tokens), atol=1e-4
    )
    assert sample(spread_out, 12, temperature=1e-3) == sample(single, 12, temperature=1e-3)


@pytest.mark.parametrize("spread", SPREADS, ids=str)
def test_checkpoints_go_from_mesh_to_mesh_bitwise(folder: Path, spread: dict[str, Any]) -> None:
    """From one to another, from both to one process, and from that back."""
    first = small_trainer(comm, **BASE, **spread)
    for _ in range(2):
        first.train_step()
    first.save(folder / "first")
    first.finish_saving()
    others = {name: value for name, value in spread.items() if name not in SPREAD_ONLY}
    second = small_trainer(comm, **BASE, **{**others, "zero": 1 - others.get("zero", 0)})
    second.resume(folder / "first")
    second.save(folder / "second")
    second.finish_saving()
    singles = []
    for name in ("first", "second"):
        single = on_one_process(spread)
        single.resume(folder / name)
        assert single.step == 2
        singles.append(state(single))
    assert singles[0].keys() == singles[1].keys()
    for name, array in singles[0].items():
        np.testing.assert_array_equal(array, singles[1][name], err_msg=name)
    back = small_trainer(comm, **BASE, **spread)
    back.resume(folder / "second")
    assert back.train_step().loss == first.train_step().loss


def test_local_sgd_of_one_step_a_round_is_data_parallelism() -> None:
    sgd = {"optimizer": "sgd", "momentum": 0.0, "learning_rate": 0.1}
    local = small_trainer(
        comm, **BASE | sgd, local_steps=1, outer_learning_rate=1.0, outer_momentum=0.0
    )
    plain = small_trainer(comm, **BASE | sgd)
    for _ in range(4):
        assert local.train_step().loss == pytest.approx(plain.train_step().loss, rel=1e-5)
    assert local.parameters == plain.parameters


@pytest.mark.parametrize("precision", ["full", "bfloat16"])
def test_copies_that_train_by_themselves_differ_until_they_agree(precision: str) -> None:
    """In bfloat16 it is the masters that agree: values follow from them."""
    if precision == "bfloat16":
        pytest.importorskip("ml_dtypes")
    trainer = small_trainer(comm, **BASE, local_steps=3, precision=precision)

    def differ() -> bool:
        own = np.concatenate([p.data.reshape(-1) for _, p in trainer.pipeline.named_parameters()])
        copies = trainer.mesh.dp.all_gather(own).reshape(trainer.mesh.dp.size, -1)
        return bool((copies != copies[0]).any())

    found = []
    for _ in range(4):
        trainer.train_step()
        found.append(differ())
    trainer.agree()
    assert [*found, differ()] == [True, True, False, True, False]


def test_copies_that_train_by_themselves_go_on_from_a_checkpoint(folder: Path) -> None:
    """Not from where the trainer that resumes was: an outer step of rate 0 stays where it began."""
    rounds = {"local_steps": 2, "outer_learning_rate": 1e-9}
    trainer = small_trainer(comm, **BASE, local_steps=2)
    for _ in range(2):
        trainer.train_step()
    trainer.save(folder)
    trainer.finish_saving()
    resumed = small_trainer(comm, **BASE | {"seed": 5}, **rounds)
    for _ in range(3):
        resumed.train_step()
    resumed.resume(folder)
    for _ in range(2):
        resumed.train_step()
    for (name, ours), (_, theirs) in zip(
        resumed.pipeline.named_parameters(), trainer.pipeline.named_parameters(), strict=True
    ):
        np.testing.assert_allclose(ours.data, theirs.data, atol=1e-6, err_msg=name)


@pytest.mark.skipif(comm.size < 6, reason="two copies add up to the same bits in any order")
def test_copies_of_a_shared_parameter_agree_to_the_same_bits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By a ring, whose order of adding depends on the place."""
    monkeypatch.setenv("PYCOLL_ALGORITHM", "all_reduce:ring")
    trainer = small_trainer(comm, **BASE, pp=2, tied=True, micro_batches=2, local_steps=2)
    for _ in range(4):
        trainer.train_step()
    held = dict(trainer.pipeline.named_parameters())["tokens.weight"].data
    np.testing.assert_array_equal(trainer.mesh.pp.broadcast(held.copy(), root=0), held)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": comm.rank}, "'seed' is 0 on rank 0, but 1 on rank 1; all ranks"),
        ({"layers": 1 + (comm.rank == 1)}, "'layers' is 1 on rank 0, but 2 on rank 1; all"),
        ({"recompute": comm.rank == 1}, "'recompute' is False on rank 0, but True on rank 1; all"),
    ],
)
def test_ranks_that_ask_for_different_trainers_are_refused_on_all_ranks(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(RefusedError, match=message):
        small_trainer(comm, **{**BASE, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tp": 3 * comm.size}, "choose dp x tp x pp from"),
        ({"dp": comm.size + 1}, "choose dp x tp x pp from"),
        ({"tp": 2, "heads": 1}, "1 attention heads cannot be shared out equally among tp 2"),
        (
            {"pp": 2, "schedule": "interleaved", "chunks": 5, "micro_batches": 2},
            "layers cannot be shared out among",
        ),
        ({"pp": 2, "schedule": "interleaved", "chunks": 2, "micro_batches": 3}, "a multiple of"),
        ({"pp": 2, "schedule": "zigzag"}, "unknown schedule 'zigzag'"),
        ({"micro_batches": 50}, "cannot be cut into"),
        ({"batch_size": 1, "local_steps": 2}, "leaves some of the dp"),
        ({"tp": 2, "sequence_parallel": True, "context": 7}, "7 positions cannot be shared out"),
    ],
)
def test_what_cannot_be_shared_out_is_refused_on_all_ranks(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(RefusedError, match=message):
        small_trainer(comm, **{**BASE, **changes})
