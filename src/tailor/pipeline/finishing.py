"""The last stages: cut with proof, recalibrate, fine-tune, save, and the verdict of a fresh process."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from torch import nn

from tailor import persist
from tailor.channels import cut
from tailor.pipeline.request import Line
from tailor.records import Reductions, Stages, Verdict
from tailor.spec import KeepPlan
from tailor.training import Data, accuracy, recalibrate, train, training_device
from tailor.verify import VerifyJob, outputs_on, verify

__all__ = ["judge", "reductions_of", "refined", "verified"]

RECALIBRATION_IMAGES = 4096
CHECKPOINT = "checkpoint"


def refined(line: Line, keep: KeepPlan) -> tuple[nn.Module, Stages | None]:
    """Cut with proof, recalibrate, fine-tune; top-1 on the test images after each. Without data, cut with proof."""
    if line.request.data is None:
        line.console.stage("cut, with proof")
        small = cut(line.source, line.graph, keep)
        _save(line, small)
        return small, None
    return _trained(line, keep, line.request.data)


def _trained(line: Line, keep: KeepPlan, data: Data) -> tuple[nn.Module, Stages]:
    request, device = line.request, training_device()
    stored = line.folder.stored("stages", Stages)
    if stored is not None and (line.folder.path / persist.MODEL_FILE).exists():
        line.console.say("trained network: taken from the run folder")
        return persist.restore(request.model, line.folder.path), stored
    line.console.stage("cut, with proof")
    small = cut(line.source, line.graph, keep)

    def top1(network: nn.Module) -> float:
        return accuracy(network.to(device), data.batches("test", device=device))

    dense_accuracy, cut_accuracy = top1(request.model), top1(small)
    line.console.stage("recalibrate BatchNorm and fine-tune")
    recalibrate(small, data.batches("train", limit=RECALIBRATION_IMAGES, device=device))
    stages = Stages(dense=dense_accuracy, cut=cut_accuracy, recalibrated=top1(small))
    if request.recipe.epochs:
        line.console.say(
            f"top-1 dense {stages.dense:.2%}, cut {stages.cut:.2%}, recalibrated {stages.recalibrated:.2%}"
        )
        history = train(
            small,
            data,
            request.recipe,
            teacher=request.model,
            device=device,
            progress=line.console.progress,
            checkpoint=line.folder.path / CHECKPOINT,
        )
        line.folder.store("training", history)
        stages = replace(stages, fine_tuned=top1(small))
    request.model.cpu()
    line.folder.store("stages", stages)
    _save(line, small)
    (line.folder.path / CHECKPOINT).unlink(missing_ok=True)  # as large as the network three times over
    return small, stages


def _save(line: Line, small: nn.Module) -> None:
    """What is handed over, in evaluation mode on the CPU, into the run folder."""
    request = line.request
    small.cpu().eval()
    flushed = persist.flush_denormals(small)
    if flushed:
        line.console.say(f"{flushed} denormal weights set to zero: they slow CPUs down")
    classes = request.data.num_classes if request.num_classes is None and request.data else request.num_classes
    persist.save(small, line.folder.path, name=request.model_spec, num_classes=classes)


def verified(line: Line, small: nn.Module) -> Verdict:
    """The final verdict on what was saved."""
    line.console.stage("verify in a fresh process")
    verdict = judge(line, small, line.folder.path, data=line.request.data)
    for warning in verdict.warnings:
        line.console.warn(warning)
    line.folder.store("verdict", verdict)
    return verdict


def judge(line: Line, small: nn.Module, folder: Path, *, data: Data | None) -> Verdict:
    """What a fresh process finds of the network, which is saved in this folder."""
    request = line.request
    one_instance = line.settings.statistic == "mean"  # the paper's protocol times one network 300 times
    job = VerifyJob(
        dense=request.model,
        folder=folder,
        example_inputs=request.example_inputs,
        expected=outputs_on(small, request.example_inputs),
        target=request.target,
        budget=request.budget,
        settings=line.settings,
        instances=1 if one_instance else 3,
        data=None if data is None else data.limited(train=1, heldout=1),
        host_noise=line.host_noise,
    )
    return verify(job)


def reductions_of(line: Line, keep: KeepPlan, stages: Stages | None, verdict: Verdict) -> Reductions:
    """LACP's five metrics, dense and pruned; the pruned latency is the paired ratio times the dense one."""
    dense, pruned, graph = line.graph.dense_widths, keep.widths, line.graph
    return Reductions(
        accuracy=None if stages is None else (stages.dense, stages.final),
        latency_ns=(round(verdict.dense.value), round(verdict.dense.value * verdict.ratio.value)),
        macs=(graph.macs(dense), graph.macs(pruned)),
        parameters=(graph.parameters(dense), graph.parameters(pruned)),
        channels=(graph.channels(dense), graph.channels(pruned)),
    )
