"""Where a benchmark ran, and its results as JSON for machines and Markdown for people."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from tailor.engines.host import host_facts

__all__ = ["RESULTS", "collect", "markdown_table", "write_results"]

RESULTS = Path(__file__).parent / "results"


def collect(*packages: str) -> dict[str, str]:
    """Hardware, interpreter, versions of torch, Tailor and the packages named, threads, load, and the commit."""
    facts = {**host_facts(), "python": platform.python_version(), "threads": str(torch.get_num_threads())}
    facts |= {name: version(name) for name in ("torch", "tailor-prune", *packages)}
    if torch.cuda.is_available():
        facts["gpu"] = torch.cuda.get_device_name()
    facts["load before"] = f"{os.getloadavg()[0]:.2f}"
    facts["commit"] = _commit()
    return facts


def write_results(name: str, report: Mapping[str, Any], *, title: str, tables: Sequence[str], command: str) -> Path:
    """Write `results/<name>.json` and `.md`; the Markdown holds the tables, the environment and the command."""
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps(report, indent=2, ensure_ascii=False)
    (RESULTS / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    where = markdown_table(("fact", "value"), list(report["environment"].items()))
    sections = [f"# {title}", *tables, "## Environment", where, f"Run again: `{command}`"]
    path = RESULTS / f"{name}.md"
    path.write_text("\n\n".join(sections) + "\n", encoding="utf-8")
    return path


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table; every cell is printed as it is."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def _commit() -> str:
    """The commit that ran, marked when the sources differ from it."""
    try:
        head, changes = _git("rev-parse", "--short", "HEAD"), _git("status", "--porcelain", "--", "../src")
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"no commit recorded: {error}", file=sys.stderr)
        return "unknown"
    return head + (" with changes" if changes else "")


def _git(*words: str) -> str:
    here = Path(__file__).parent
    return subprocess.run(["git", *words], cwd=here, capture_output=True, text=True, check=True).stdout.strip()
