"""A target opens its engine, and what cannot be opened says so plainly."""

from __future__ import annotations

import pytest

from tailor.engines import open_device
from tailor.engines.host import available_cores, host_facts
from tailor.engines.torch_eager import TorchEager
from tailor.errors import InvalidOptionError, UnknownNameError
from tailor.spec import Target


def test_torch_opens() -> None:
    assert isinstance(open_device(Target()).runtime, TorchEager)


def test_an_unknown_engine_lists_the_known() -> None:
    with pytest.raises(UnknownNameError, match="no engine 'tvm'; there is torch"):
        open_device(Target(engine="tvm"))


def test_more_threads_than_cores_is_refused() -> None:
    with pytest.raises(InvalidOptionError, match=f"give at most {available_cores()}"):
        open_device(Target(threads=available_cores() + 1))


def test_the_host_names_its_processor_and_cores() -> None:
    facts = host_facts()
    assert set(facts) == {"cpu", "cpu_vectors", "cores", "machine", "system"}
    assert all(facts.values())
    assert int(facts["cores"]) >= 1
