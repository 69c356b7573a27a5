"""Every CNN family of torchvision and timm, no configuration: traced, cut by 30 % at random, proven, trained, exported.

Each network runs in its own process with a time limit, Torch-Pruning 1.6.1 on the same network in another; results
are kept after each, and a second start goes on with what is missing.

    python benchmarks/coverage.py [--networks timm/resnet50 ...] [--again] [--limit 150]
"""

from __future__ import annotations

import argparse
import copy
import json
import multiprocessing
import os
import resource
import signal
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
import torch_pruning
from torch import Tensor, nn

import tailor.channels
from coverage_networks import NETWORKS, family, network_and_inputs, targets_for
from coverage_report import tables
from environment import RESULTS, collect, write_results
from law import exactness, returned_tensors
from random_cut import random_plan
from tailor.channels.rules.call import ON_REQUEST
from tailor.engines.onnx_export import export_onnx
from tailor.spec import ChannelGraph

SHARE = 0.3
PATIENCE = 20  # wall seconds per second of its own that a process may take
TOOLS = ("tailor", "torch-pruning")
DIFFER = "outputs differ"

Record = dict[str, Any]


def with_tailor(name: str) -> Record:
    """Everything that is shown of one network."""
    model, inputs = network_and_inputs(name)
    started = time.process_time()
    graph = tailor.channels.trace(model, inputs)
    traced = time.process_time()
    plan = random_plan(graph, SHARE, 0)
    small = tailor.channels.cut(model, graph, plan)
    record: Record = {"trace_s": traced - started, "cut_s": time.process_time() - traced, **described(graph)}
    record["parameters"] = {"dense": parameters(model), "cut": parameters(small)}
    record["law"] = exactness(model, lambda m: tailor.channels.build(m, graph, plan), inputs)
    for step, check in (("training", trained), ("onnx", exported)):
        try:
            record[step] = check(name, copy.deepcopy(small), inputs)
        except Exception as error:  # each network's and exporter's own; one that fails must not hide the rest
            record[step] = _first_line(error)
    if record["onnx"].startswith(DIFFER) and exported(name, copy.deepcopy(model), inputs).startswith(DIFFER):
        record["onnx"] += "; so do the dense network's"
    if any(ON_REQUEST in why for why in record["groups"]["pinned"]):
        record["on_request"] = _on_request(model, inputs)
    return record


def _on_request(model: nn.Module, inputs: tuple[Any, ...]) -> Record:
    """The same with groups that norms mix cut as well, proven by Tailor against recomputed statistics."""
    try:
        graph = tailor.channels.trace(model, inputs, mixing="cut")
        tailor.channels.cut(model, graph, random_plan(graph, SHARE, 0))
    except Exception as error:  # the finding
        return {"error": _first_line(error)}
    found = described(graph)
    return {"groups": len(graph.prunable), "prunable_share": found["prunable_share"]}


def described(graph: ChannelGraph) -> Record:
    """Groups, MACs per sample, how much of them lies in layers that a prunable group widens, and why not the rest."""
    dense, prunable = graph.dense_widths, {group.name for group in graph.prunable}
    total, touched = 0, 0
    reasons: dict[str, int] = {}
    for layer in graph.layers:
        macs = layer.at(dense).macs * layer.calls
        groups = [group for group, _ in (*layer.inputs.terms, *layer.outputs.terms)]
        total += macs
        if any(group in prunable for group in groups):
            touched += macs
        else:
            for reason in dict.fromkeys(graph[group].pinned or "" for group in groups) or ("no channels of its own",):
                reasons[reason] = reasons.get(reason, 0) + macs
    pinned: dict[str, list[str]] = {}
    for group in graph.pinned:
        pinned.setdefault(group.pinned or "", []).append(group.name)
    return {
        "groups": {"prunable": len(prunable), "pinned": pinned},
        "gmacs": total / 1e9,
        "prunable_share": touched / total,
        "removable_share": 1 - graph.macs(graph.smallest_widths) / total,
        "pinned_macs": {why: macs / total for why, macs in sorted(reasons.items(), key=lambda item: -item[1])},
    }


def trained(name: str, model: nn.Module, inputs: tuple[Any, ...]) -> str:
    """One step of gradient descent moves the weights, with finite gradients."""
    model.train()
    if family(name) == "detection":
        model(*inputs, targets_for(name, inputs[0]))  # statistics first: BatchNorm is frozen in most detectors
        outputs = returned_tensors(model(*inputs, targets_for(name, inputs[0])))
    else:
        outputs = returned_tensors(model(*inputs))
    loss = torch.stack([out.square().mean() for out in outputs if out.requires_grad]).sum()
    loss.backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    if not gradients or not all(bool(g.isfinite().all()) for g in gradients):
        return "no finite gradients"
    before = next(p for p in model.parameters() if p.grad is not None and bool(p.grad.any()))
    old = before.detach().clone()
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    return "ok" if not torch.equal(old, before) else "nothing moved"


def exported(name: str, model: nn.Module, inputs: tuple[Any, ...]) -> str:
    """Written as ONNX and read back: its outputs are the network's, to float noise.

    Biases and the like are moved at random: a fresh detector's scores are so nearly equal that noise decides its picks.
    """
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim <= 1 and parameter.is_floating_point():
                parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.2)
    network = export_onnx(model.eval(), inputs, engine="onnxruntime")
    session = onnxruntime.InferenceSession(network.data, providers=["CPUExecutionProvider"])
    got = session.run(None, {key: tensor.numpy() for key, tensor in network.feeds.items()})
    with torch.no_grad():
        want = [tensor.numpy() for tensor in returned_tensors(model(*inputs))]
    if [w.shape for w in want] != [g.shape for g in got]:
        return f"other shapes: {[g.shape for g in got]} for {[w.shape for w in want]}"[:200]
    worst = max((float(np.abs(w - g).max() / max(np.abs(w).max(), 1e-12)) for w, g in zip(want, got, strict=True)
                 if w.size), default=0.0)
    return "ok" if worst < 1e-3 else f"{DIFFER} by {worst:.1g} of the largest"


def with_torch_pruning(name: str) -> Record:
    """The same cut by Torch-Pruning, which is told the layers that make the network's outputs."""
    model, inputs = network_and_inputs(name)
    kept_out = _output_layers(model, inputs)

    def cut(fresh: nn.Module) -> nn.Module:
        torch.manual_seed(0)
        modules = dict(fresh.named_modules())
        images = torch.utils._pytree.tree_map(lambda leaf: leaf.to(next(fresh.parameters()).dtype)
                                              if isinstance(leaf, Tensor) else leaf, inputs)
        pruner = torch_pruning.pruner.BasePruner(
            fresh,
            images,
            importance=torch_pruning.importance.RandomImportance(),
            pruning_ratio=SHARE,
            ignored_layers=[modules[layer] for layer in kept_out],
            forward_fn=lambda m, given: m(*given),
            output_transform=lambda out: [t for t in returned_tensors(out) if t.requires_grad],
        )
        pruner.step()
        return fresh

    started = time.process_time()
    small = cut(copy.deepcopy(model))
    record: Record = {"seconds": time.process_time() - started}
    record["parameters"] = {"dense": parameters(model), "cut": parameters(small)}
    record["law"] = exactness(model, cut, inputs)
    return record


def _output_layers(model: nn.Module, inputs: tuple[Any, ...]) -> list[str]:
    """The last layer of every kind of output: what a user of Torch-Pruning has to find out and name."""
    graph = tailor.channels.trace(model, inputs)
    names = {p.rpartition(".")[0] for g in graph.pinned if "network output" in (g.pinned or "") for p in g.producers}
    last = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)][-1:]
    return sorted(names & {name for name, _ in model.named_modules()}) or last


def parameters(model: nn.Module) -> int:
    """Scalars in all parameters."""
    return sum(parameter.numel() for parameter in model.parameters())


def in_a_process(work: Callable[[str], Record], name: str, limit_s: float) -> Record:
    """What `work` answers, or why it did not: a crash, an error or a time limit hurts no other network."""
    path = RESULTS / f".coverage-{os.getpid()}.json"
    process = multiprocessing.get_context("fork").Process(target=_answer, args=(work, name, path, limit_s))
    process.start()
    process.join(PATIENCE * limit_s)
    if process.is_alive() or process.exitcode == -signal.SIGXCPU:
        process.kill()
        process.join()
        return {"error": f"took more than {limit_s:.0f} s"}
    if not path.exists():
        return {"error": f"the process died with {process.exitcode}"}
    record: Record = json.loads(path.read_text(encoding="utf-8"))
    path.unlink()
    return record


def _answer(work: Callable[[str], Record], name: str, path: Path, limit_s: float) -> None:
    """Seconds are this process's own, so that other work on the machine costs nobody time."""
    resource.setrlimit(resource.RLIMIT_CPU, (int(limit_s), int(limit_s) + 5))
    warnings.simplefilter("ignore")
    try:
        record = work(name)
    except Exception as error:  # the finding
        record = {"error": _first_line(error)}
    path.write_text(json.dumps(record), encoding="utf-8")


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"[:200]


def examine(name: str, tools: Mapping[str, Callable[[str], Record]], limit_s: float) -> Record:
    """Both tools on one network, each in its own process."""
    return {"family": family(name), **{tool: in_a_process(work, name, limit_s) for tool, work in tools.items()}}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=NETWORKS, metavar="NAME")
    parser.add_argument("--again", action="store_true", help="also those that have a result")
    parser.add_argument("--tools", nargs="+", choices=TOOLS, default=TOOLS)
    parser.add_argument("--limit", type=float, default=150.0, help="CPU seconds for one network and tool")
    parser.add_argument("--name", default="coverage", help="file name of the results")
    options = parser.parse_args()
    torch.set_num_threads(1)
    path = RESULTS / f"{options.name}.json"
    known = json.loads(path.read_text(encoding="utf-8"))["networks"] if path.exists() else {}
    work = {"tailor": with_tailor, "torch-pruning": with_torch_pruning}
    environment = collect("torch-pruning", "torchvision", "timm", "onnx", "onnxruntime")
    for name in options.networks:
        wanted = [tool for tool in options.tools if options.again or tool not in known.get(name, {})]
        if wanted:
            found = examine(name, {tool: work[tool] for tool in wanted}, options.limit)
            known = json.loads(path.read_text(encoding="utf-8"))["networks"] if path.exists() else {}
            known[name] = known.get(name, {}) | found
            print(f"{name}: {_summary(known[name])}", file=sys.stderr, flush=True)
            report = {"environment": environment, "networks": {n: known[n] for n in NETWORKS if n in known}}
            write_results(options.name, report, title="Any CNN, exactly", tables=tables(report["networks"]),
                          command="python benchmarks/coverage.py --again")
    exact = [known[n].get("tailor", {}).get("law", {}).get("verdict") == "holds" for n in options.networks]
    print(path.with_suffix(".md"), f"{sum(exact)} of {len(exact)} exact", sep="\n")
    return 0 if all(exact) else 1


def _summary(record: Record) -> str:
    words = []
    for tool in TOOLS:
        found = record.get(tool, {})
        law = found.get("law", {})
        seconds = found.get("seconds", found.get("trace_s", 0.0) + found.get("cut_s", 0.0))
        steps = [str(found[step]) for step in ("training", "onnx") if found.get(step, "ok") != "ok"]
        words.append(f"{tool}: {found.get('error') or law.get('verdict')} {seconds:.2f} s {' '.join(steps)}")
    return "; ".join(words) + f"; share {record.get('tailor', {}).get('prunable_share', 0):.3f}"


if __name__ == "__main__":
    sys.exit(main())
