"""Fixtures that several packages of tests share."""

from pathlib import Path

import pytest

from sample_run import write_run


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """A finished run's folder, made of the real record types."""
    return write_run(tmp_path / "vgg16-cifar-60pct-torch-b1")
