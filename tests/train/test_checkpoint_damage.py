"""A checkpoint that is not what was written is refused, and nothing is changed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

import pycoll
from pycoll.train import CheckpointWriter, Held, Place, RefusedError, load_checkpoint, read_manifest
from pycoll.train.checkpoint.belonging import changed_settings, require_same
from pycoll.train.checkpoint.manifest import CheckpointError

SHARD = "rank-00000.safetensors"


def arrays(seed: int) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    return {
        "weight": generator.standard_normal((3, 5)).astype(np.float32),
        "transposed": generator.standard_normal((4, 2)).T,
        "steps": np.array([seed]),
        "empty": np.zeros((0, 3)),
    }


def held(values: dict[str, np.ndarray]) -> list[Held]:
    return [Held(name, Place.of_whole(array.shape), array) for name, array in values.items()]


@pytest.fixture(scope="module")
def writer() -> CheckpointWriter:
    return CheckpointWriter(pycoll.world())


@pytest.fixture
def checkpoint(tmp_path: Path, writer: CheckpointWriter) -> Path:
    writer.save(tmp_path, held(arrays(3)), {"step": 3, "model": {"width": 3}, "text": "a\u00e9\n"})
    writer.wait()
    return tmp_path / "step-00000003"


def test_what_is_written_is_read(checkpoint: Path) -> None:
    for path in (checkpoint, checkpoint.parent):
        found = arrays(0)
        description = load_checkpoint(pycoll.world(), path, held(found), {"model": {"width": 3}})
        assert description == {"step": 3, "model": {"width": 3}, "text": "a\u00e9\n"}
        for name, array in arrays(3).items():
            np.testing.assert_array_equal(found[name], array, err_msg=name)


@pytest.mark.parametrize("dtype", ["bool", "float16", "bfloat16", "uint64"])
def test_dtypes(tmp_path: Path, writer: CheckpointWriter, dtype: str) -> None:
    if dtype == "bfloat16":
        pytest.importorskip("ml_dtypes")
    array = np.array([[0, 1], [1, 0]]).astype(dtype)
    writer.save(tmp_path, held({"array": array}), {"step": 1})
    writer.wait()
    found = np.zeros_like(array)
    load_checkpoint(pycoll.world(), tmp_path, held({"array": found}), {})
    np.testing.assert_array_equal(found, array)


def test_a_dtype_that_files_cannot_hold_is_refused(
    tmp_path: Path, writer: CheckpointWriter
) -> None:
    writer.save(tmp_path, held({"array": np.zeros(1, dtype=np.longdouble)}), {"step": 1})
    with pytest.raises(RefusedError, match="cannot hold all of the dtypes"):
        writer.wait()
    assert list(tmp_path.iterdir()) == []


def test_a_description_that_json_cannot_hold_is_refused(
    tmp_path: Path, writer: CheckpointWriter
) -> None:
    with pytest.raises(TypeError, match="not JSON serializable"):
        writer.save(tmp_path, held(arrays(1)), {"step": 1, "width": np.zeros(1)})
    with pytest.raises(ValueError, match="not JSON compliant"):
        writer.save(tmp_path, held(arrays(1)), {"step": 1, "width": np.inf})
    assert list(tmp_path.iterdir()) == []


def test_shards_are_safetensors_files(checkpoint: Path) -> None:
    assert load_file(checkpoint / SHARD).keys() == arrays(3).keys()


def test_arrays_may_change_while_they_are_written(tmp_path: Path, writer: CheckpointWriter) -> None:
    changing = arrays(3)
    writer.save(tmp_path, held(changing), {"step": 1})
    for array in changing.values():
        array += 1
    writer.wait()
    found = arrays(0)
    load_checkpoint(pycoll.world(), tmp_path, held(found), {})
    np.testing.assert_array_equal(found["weight"], arrays(3)["weight"])


Damage = Callable[[bytes], bytes]


def edited(change: Callable[[dict], object]) -> Damage:
    def damage(content: bytes) -> bytes:
        document = json.loads(content)
        change(document)
        return json.dumps(document).encode()

    return damage


@pytest.mark.parametrize(
    ("file", "damage", "message"),
    [
        (SHARD, lambda content: content[:-1], "truncated or no longer what was written"),
        (SHARD, lambda content: b"", "truncated or no longer what was written"),
        (SHARD, lambda content: content + b"\0", "truncated or no longer what was written"),
        (
            SHARD,
            lambda content: content[:-3] + bytes([content[-3] ^ 1]) + content[-2:],
            "is damaged: its content does not match its checksum",
        ),
        (SHARD, lambda content: content.replace(b"weight", b"height"), "is damaged"),
        ("manifest.json", lambda content: content[:-5], "truncated or no manifest"),
        ("manifest.json", lambda content: b"", "truncated or no manifest"),
        ("manifest.json", lambda content: b"\xff" + content, "truncated or no manifest"),
        ("manifest.json", lambda content: b"[]", "is no checkpoint of this trainer"),
        (
            "manifest.json",
            edited(lambda document: document.update(format="another 1")),
            "its format is 'another 1', not 'pycoll checkpoint 2'",
        ),
        (
            "manifest.json",
            edited(lambda document: document["content"]["description"].update(step=4)),
            "manifest.json is damaged: its content does not match its checksum",
        ),
    ],
)
def test_a_damaged_checkpoint_is_refused(
    checkpoint: Path, file: str, damage: Damage, message: str
) -> None:
    content = (checkpoint / file).read_bytes()
    damaged = damage(content)
    assert damaged != content
    (checkpoint / file).write_bytes(damaged)
    require_refused(checkpoint, message)


def require_refused(path: Path, message: str) -> None:
    found = arrays(0)
    with pytest.raises(RefusedError, match=message):
        load_checkpoint(pycoll.world(), path, held(found), {})
    for name, array in arrays(0).items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


def test_missing_files_are_named(checkpoint: Path) -> None:
    (checkpoint / SHARD).unlink()
    require_refused(checkpoint, f"{SHARD}: No such file or directory")
    (checkpoint / "manifest.json").unlink()
    require_refused(checkpoint, "is no checkpoint")
    shutil.rmtree(checkpoint)
    require_refused(checkpoint, "step-00000003: No such file or directory")
    require_refused(checkpoint.parent, "names 'step-00000003', which is no checkpoint")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda found: found.pop("steps"), "has 'steps', which this run does not know"),
        (lambda found: found.update(more=np.zeros(1)), "has no 'more', which this run needs"),
        (
            lambda found: found.update(steps=np.zeros(2, dtype=int)),
            r"'steps' has shape \(1,\) and dtype int64 in .* but \(2,\) and int64 here",
        ),
        (lambda found: found.update(steps=np.zeros(1)), "dtype int64 in .* and float64 here"),
    ],
)
def test_other_tensors_are_refused(
    checkpoint: Path, change: Callable[[dict[str, np.ndarray]], object], message: str
) -> None:
    found = arrays(0)
    change(found)
    before = {name: array.copy() for name, array in found.items()}
    with pytest.raises(RefusedError, match=message):
        load_checkpoint(pycoll.world(), checkpoint, held(found), {})
    for name, array in before.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


def test_a_checkpoint_of_something_else_is_named(checkpoint: Path) -> None:
    description = read_manifest(checkpoint)[1].description
    require_same(checkpoint, description, {"model": {"width": 3}, "text": "a\u00e9\n"})
    with pytest.raises(CheckpointError, match=r"step-.*another model: width is 3 there but 4"):
        require_same(checkpoint, description, {"model": {"width": 4}})
    with pytest.raises(CheckpointError, match="another model: depth is None there but 2 here"):
        require_same(checkpoint, description, {"model": {"width": 3, "depth": 2}})
    with pytest.raises(CheckpointError, match="another text"):
        require_same(checkpoint, description, {"text": "a" * 1000})
    with pytest.raises(RefusedError, match="another model"):
        load_checkpoint(pycoll.world(), checkpoint, held(arrays(0)), {"model": {"width": 4}})


def test_changed_settings_are_listed() -> None:
    description = {"settings": {"steps": 5, "seed": 0}}
    assert changed_settings(description, {"steps": 5, "seed": 0}) == []
    assert changed_settings(description, {"steps": 9, "seed": 0, "new": 1}) == [
        "steps is now 9, was 5",
        "new is now 1, was None",
    ]
