"""Functions in Python files are called by name, and what they make travels to another process."""

import subprocess
import sys

import cloudpickle
import pytest
import torch

from tailor.errors import UnknownNameError
from tailor.models.factory import call_factory, is_factory

SOURCE = """
from __future__ import annotations
from dataclasses import dataclass
import torch
from neighbour import SIDE

@dataclass
class Options:
    side: int = SIDE

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.options = Options()
        self.linear = torch.nn.Linear(2, 2)
    def forward(self, x):
        return self.linear(x) + self.options.side

def net():
    torch.manual_seed(0)
    return Net()
"""


@pytest.fixture
def file(tmp_path):
    (tmp_path / "neighbour.py").write_text("SIDE = 3\n")
    path = tmp_path / "nets.py"
    path.write_text(SOURCE)
    return path


@pytest.mark.parametrize(
    ("spec", "expected"),
    [("a/b.py:net", True), ("b.py:", False), ("b.py", False), ("timm/x", False), ("digits:x.d", False), ("b.py:1", 0)],
)
def test_the_form_is_recognised(spec, expected):
    assert is_factory(spec) == expected


def test_the_function_is_called_and_the_path_left_alone(file):
    before = list(sys.path)
    assert type(call_factory(f"{file}:net")).__name__ == "Net"
    assert sys.path == before


def test_what_it_made_loads_in_a_process_that_never_saw_the_file(file, tmp_path):
    model = call_factory(f"{file}:net")
    (tmp_path / "model.bin").write_bytes(cloudpickle.dumps(model))
    file.unlink()
    code = (
        "import sys, cloudpickle, torch; model = cloudpickle.loads(open(sys.argv[1], 'rb').read());"
        "print(model(torch.ones(1, 2)).tolist())"
    )
    out = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "model.bin")], capture_output=True, text=True, check=True
    )
    assert eval(out.stdout) == [pytest.approx(model(torch.ones(1, 2))[0].tolist())]


def test_missing_files_and_functions_are_named(file):
    with pytest.raises(UnknownNameError, match=r"no file 'nowhere\.py'"):
        call_factory("nowhere.py:net")
    with pytest.raises(UnknownNameError, match=r"has no function 'nett'; did you mean 'net'\?"):
        call_factory(f"{file}:nett")
