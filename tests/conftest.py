"""What several packages of tests share."""

import os
from pathlib import Path

import pytest
import torch

from sample_run import write_run
from tailor.engines.host import available_cores

if "PYTEST_XDIST_WORKER" in os.environ:  # each process of a parallel suite keeps to its share of the cores
    torch.set_num_threads(max(1, available_cores() // int(os.environ["PYTEST_XDIST_WORKER_COUNT"])))


_LONGEST = {"comparison", "pipeline", "profiling"}  # folders of tests that go whole lines, each for minutes


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the whole lines: one that begins last would leave all other processes idle."""
    items.sort(key=lambda item: item.path.parent.name not in _LONGEST)


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """A finished run's folder, made of the real record types."""
    return write_run(tmp_path / "vgg16-cifar-60pct-torch-b1")
