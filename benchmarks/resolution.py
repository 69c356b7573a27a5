"""How finely each engine can be measured here, and what interleaving changes: two fresh instances of one network.

    python benchmarks/resolution.py [--model tailor/resnet56-cifar10] [--repetitions 12]

Each repetition compares two fresh instances twice: interleaved in one session of shuffled rounds, and one after the
other, as timing scripts usually do. Both see the same number of rounds, and are told by quiet levels as Tailor tells
them, and by medians; the truth is that the instances are equal.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace

import torch

import tailor
from environment import collect, markdown_table, write_results
from tailor.engines import open_device
from tailor.engines.bench import Bench
from tailor.engines.subjects import network_subject
from tailor.models import input_shape
from tailor.records import TimingSettings
from tailor.spec import Target
from tailor.timing import aa_resolution, quickest_interval, settings_named

ENGINES = {
    "torch": Target(),
    "torch, channels_last": Target(layout="channels_last"),
    "torch-compile": Target(engine="torch-compile"),
    "onnxruntime": Target(engine="onnxruntime"),
    "onnxruntime, int8": Target(engine="onnxruntime", precision="int8"),
    "openvino": Target(engine="openvino"),
    "openvino, auto": Target(engine="openvino", precision="auto"),
}
LEVELS: dict[str, Callable[[Sequence[int]], float]] = {
    "quiet levels": lambda samples: quickest_interval(samples).value,
    "medians": statistics.median,
}
HEADER = (
    "engine", "told by", "interleaved, median / worst", "one after the other, median / worst", "times further apart",
    "A/A resolution told",
)
SETTINGS = replace(settings_named("default"), min_rounds=20, max_rounds=20, half_width=0.0, warmup_seconds=0.3)


@dataclass(frozen=True)
class Repetition:
    """What two instances differ by in both ways, by what levels are told by, and the resolution that was told."""

    interleaved: dict[str, float]
    alone: dict[str, float]
    told: float


def repetition(bench: Bench, model: torch.nn.Module, inputs: torch.Tensor, seed: int) -> Repetition:
    """Two fresh instances interleaved, then two others one after the other."""
    settings = replace(SETTINGS, seed=seed)

    def samples(names: Sequence[str], settings: TimingSettings) -> list[tuple[int, ...]]:
        subjects = [network_subject(name, model, inputs, bench.target.batch_size) for name in names]
        return [measurement.samples_ns for measurement in bench.measure(subjects, settings)]

    first, second = samples(["a", "b"], settings)
    alone = [samples([name], settings)[0] for name in ("a", "b")]

    def differences(a: Sequence[int], b: Sequence[int]) -> dict[str, float]:
        return {name: abs(math.log(level(a) / level(b))) for name, level in LEVELS.items()}

    return Repetition(differences(first, second), differences(*alone), aa_resolution(first, second))


def row(engine: str, level: str, found: Sequence[Repetition]) -> tuple[str, ...]:
    """One engine by one way of telling levels."""
    interleaved, alone = ([getattr(each, way)[level] for each in found] for way in ("interleaved", "alone"))
    return (
        engine,
        level,
        *(f"{statistics.median(part):.2%} / {max(part):.2%}" for part in (interleaved, alone)),
        f"{statistics.median(alone) / max(statistics.median(interleaved), 1e-6):.1f}",
        f"{statistics.median(each.told for each in found):.2%}",
    )


def main() -> None:
    """Measure every engine that is here, repetitions by turns, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tailor/resnet56-cifar10")
    parser.add_argument("--repetitions", type=int, default=12)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    model = tailor.load_model(arguments.model).eval()
    inputs = torch.randn(1, *input_shape(arguments.model, model))
    benches = {name: open_device(target) for name, target in ENGINES.items()}
    environment = collect("onnxruntime", "openvino")
    found: dict[str, list[Repetition]] = {name: [] for name in benches}
    for number in range(arguments.repetitions):
        for name, bench in benches.items():
            found[name].append(repetition(bench, model, inputs, number))
        print(f"{number + 1} of {arguments.repetitions}", flush=True)
    table = markdown_table(HEADER, [row(name, level, own) for level in LEVELS for name, own in found.items()])
    write_results(
        "resolution",
        {
            "environment": environment,
            "model": arguments.model,
            "repetitions": {name: [asdict(each) for each in own] for name, own in found.items()},
        },
        title=f"What two fresh instances of {arguments.model} differ by, {arguments.repetitions} repetitions",
        tables=[table],
        command=f"python benchmarks/resolution.py --repetitions {arguments.repetitions}",
    )
    print(table)


if __name__ == "__main__":
    main()
