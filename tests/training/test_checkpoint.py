"""A checkpoint comes back as saved; damaged and foreign ones are refused by name."""

import pytest
import torch

from tailor.errors import RunFolderError
from tailor.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint


def sample():
    return Checkpoint(fingerprint="abc", epoch=2, history="[]", states={"model": {"w": torch.arange(3.0)}})


def test_saved_is_loaded(tmp_path):
    save_checkpoint(tmp_path / "c", sample())
    loaded = load_checkpoint(tmp_path / "c", "abc")
    assert (loaded.epoch, loaded.history) == (2, "[]")
    assert torch.equal(loaded.states["model"]["w"], torch.arange(3.0))
    assert load_checkpoint(tmp_path / "nothing", "abc") is None


def test_another_trainings_checkpoint_is_refused(tmp_path):
    save_checkpoint(tmp_path / "c", sample())
    with pytest.raises(RunFolderError, match="belongs to another training"):
        load_checkpoint(tmp_path / "c", "xyz")


def test_a_damaged_checkpoint_is_refused(tmp_path):
    save_checkpoint(tmp_path / "c", sample())
    whole = (tmp_path / "c").read_bytes()
    for damaged in (b"", whole[:10], whole[: len(whole) // 2]):
        (tmp_path / "c").write_bytes(damaged)
        with pytest.raises(RunFolderError, match=r"is damaged .*delete it"):
            load_checkpoint(tmp_path / "c", "abc")
    torch.save({"other": 1}, tmp_path / "c")
    with pytest.raises(RunFolderError, match="is damaged"):
        load_checkpoint(tmp_path / "c", "abc")
