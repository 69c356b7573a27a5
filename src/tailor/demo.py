"""The demonstration: trains a VGG-16-shaped network on handwritten digits and takes it through the whole line."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import torch

from tailor.console import Reporter
from tailor.models import load_model
from tailor.pipeline import PruneRequest, PruneResult, prune
from tailor.records import Budget
from tailor.spec import Target
from tailor.training import Recipe, accuracy, load_data, train, training_device

__all__ = ["run_demo"]

MODEL = "tailor/vgg16-cifar@0.5"  # half of VGG-16's widths: the same thirteen layers at a quarter of the work
DENSE = Recipe(name="demo-dense", epochs=5, learning_rate=0.05, schedule="one-cycle", nesterov=True, batch_size=64)
FINE_TUNE = Recipe(
    name="demo-fine-tune",
    epochs=8,
    learning_rate=0.02,
    schedule="one-cycle",
    nesterov=True,
    batch_size=64,
    distillation_weight=0.5,
)


def unused(folder: Path) -> Path:
    """The folder itself, or the first of folder-2, folder-3 ... that does not exist: a second demo keeps the first."""
    later = (folder.with_name(f"{folder.name}-{number}") for number in count(2))
    return folder if not folder.exists() else next(path for path in later if not path.exists())


def run_demo(out: Path, console: Reporter) -> PruneResult:
    """Train the dense network, then prune it to 60 % of its latency on this CPU.

    The run folder is `out`, or one beside it where an earlier demo lies there.

    Raises:
        TailorError: a stage failed.
    """
    data = load_data("digits")
    model = load_model(MODEL, num_classes=data.num_classes)
    console.stage(f"train {MODEL} on digits ({data.count('train')} images, {DENSE.epochs} epochs)")
    train(model, data, DENSE, device=training_device(), progress=console.progress)
    console.say(f"dense top-1 {accuracy(model, data.batches('test')):.1%} on {data.count('test')} test images")
    request = PruneRequest(
        model=model,
        model_spec=MODEL,
        example_inputs=torch.randn(1, *data.input_shape, generator=torch.Generator().manual_seed(0)),
        target=Target(engine="torch", device="cpu", batch_size=1, threads=1),
        budget=Budget.parse("60%"),
        data=data,
        data_spec="digits",
        recipe=FINE_TUNE,
        networks=60,
        cycles=6,
        population=20,
        out=unused(out),
        command="tailor demo",
    )
    return prune(request, console=console)
