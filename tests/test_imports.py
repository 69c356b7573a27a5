"""Importing Tailor is light, the core stands without torch, and imports run downwards only."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CORE = ("spec", "records", "protocols", "serialize", "timing", "database", "latency", "search", "report")
HEAVY = ("torch", "torchvision", "timm", "scipy", "sklearn", "matplotlib", "pandas")


def loaded_by(statement: str) -> set[str]:
    """Top-level modules that a fresh interpreter holds after this statement."""
    code = f"{statement}; import sys; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(done.stdout.split())


def core_modules() -> list[str]:
    """Every module of the core, files of its packages included."""
    names = []
    for part in CORE:
        path = ROOT / "src" / "tailor" / part
        files = sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]
        for file in files:
            relative = file.relative_to(ROOT / "src").with_suffix("")
            names.append(".".join(relative.parts).removesuffix(".__init__"))
    return names


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-logo", "--no-cache"]
    command += ["--config", str(ROOT / ".importlinter")]
    environment = os.environ | {"PYTHONPATH": str(folder)}
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, env=environment)


@pytest.fixture
def copied(tmp_path) -> Path:
    """A source folder that a test may spoil."""
    shutil.copytree(ROOT / "src" / "tailor", tmp_path / "tailor", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_import_tailor_loads_nothing_heavy():
    assert loaded_by("import tailor").isdisjoint(HEAVY)


def test_the_core_runs_without_torch():
    """In one interpreter where importing torch fails, as on a machine that only reads reports."""
    block = "import sys; sys.modules.update(torch=None, torchvision=None, timm=None)"
    imports = "; ".join(f"import {name}" for name in core_modules())
    code = f"{block}; {imports}; print(sorted(name for name in sys.modules if name.startswith('torch.')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_every_part_of_the_core_exists():
    for name in CORE:
        assert importlib.util.find_spec(f"tailor.{name}") is not None


def test_imports_run_downwards():
    done = lint(ROOT / "src")
    assert done.returncode == 0, done.stdout
    assert "2 kept, 0 broken" in done.stdout


@pytest.mark.parametrize(
    ("file", "line", "broken"),
    [
        ("spec/target.py", "import torch", "The core never imports torch BROKEN"),
        ("search/space.py", "from timm import models", "The core never imports torch BROKEN"),
        ("latency/__init__.py", "import tailor.channels.trace", "The core never imports torch BROKEN"),
        ("spec/target.py", "import tailor.records", "Imports run downwards BROKEN"),
        ("latency/staircase.py", "import tailor.search", "Imports run downwards BROKEN"),
        ("importance/__init__.py", "import tailor.methods", "Imports run downwards BROKEN"),
    ],
)
def test_an_import_upwards_is_noticed(copied, file, line, broken):
    path = copied / "tailor" / file
    path.write_text(path.read_text(encoding="utf-8") + f"\n{line}\n", encoding="utf-8")
    done = lint(copied)
    assert done.returncode != 0
    assert broken in done.stdout
