"""The whole line on networks whose code holds channel counts: pruned, trained, saved and loaded as exported graphs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

import tailor
from counting_nets import PaddedShuffleNet
from tailor.channels import GraphNetwork
from tailor.console import SilentReporter
from tailor.pipeline import PruneRequest, prune
from tailor.records import Budget, GraphSummary
from tailor.serialize import read_record
from tailor.spec import Target
from tailor.training import Recipe, load_data

X = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def test_a_network_with_counts_in_its_code_goes_the_whole_line(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = PaddedShuffleNet().eval()
    asked = PruneRequest(
        model=model,
        example_inputs=X,
        target=Target(threads=1),
        budget=Budget.parse("90%"),
        data=load_data("digits").limited(train=128, heldout=64),
        recipe=Recipe(name="test", epochs=1, learning_rate=0.01, batch_size=64),
        method="uniform",
        residual="free",
        networks=8,
        protocol="quick",
        out=tmp_path / "run",
        database=tmp_path / "measurements.sqlite",
    )
    result = prune(asked, console=SilentReporter())
    assert isinstance(result.model, GraphNetwork)
    assert result.verdict.equivalent
    assert result.reductions.macs[1] < result.reductions.macs[0]
    assert read_record(result.out / "graph.json", GraphSummary).form == "exported graph"
    again = tailor.load(result.out)  # without the class
    torch.testing.assert_close(again(X), result.model.eval()(X))
    assert "exported graph was cut" in (result.out / "report.md").read_text()
    resumed = prune(replace(asked, resume=True), console=SilentReporter())
    assert resumed.widths == result.widths
