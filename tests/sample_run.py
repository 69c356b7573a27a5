"""A synthetic run folder made of the real record types: what a pruned VGG on a small CPU would leave behind."""

from __future__ import annotations

import random
from pathlib import Path

from tailor.latency.factored import FactoredTerms, FitError, LayerTerm
from tailor.latency.profile import LayerStaircase, NetworkProbe, Profile
from tailor.latency.staircase import Point, Staircase, fit_staircase
from tailor.records import (
    Budget,
    Environment,
    Epoch,
    Estimate,
    GraphSummary,
    GroupSummary,
    Interval,
    Outcome,
    Reductions,
    RunConfig,
    SearchSummary,
    Stages,
    TrainingResult,
    Trial,
    Verdict,
    WidthsRecord,
)
from tailor.serialize import encode, write_record
from tailor.spec import Axis, LayerShape, Target

DENSE = (32, 32, 64, 64, 128, 128, 128, 256, 256, 256, 256, 256, 256)
TARGET = Target(batch_size=1, threads=1)
ENVIRONMENT = Environment(
    facts={"cpu": "Example CPU <Zen> & co", "cores": "2", "torch": "2.13.0", "threads": "1", "isa": "avx512f"}
)
BUDGET = Budget.parse("60%")


def name_of(place: int) -> str:
    return f"features.{place * 3}"


def group(place: int) -> GroupSummary:
    pinned = "feeds the output of the model" if place == len(DENSE) - 1 else None
    return GroupSummary(
        name=name_of(place),
        width=DENSE[place],
        channels_per_unit=1,
        quantum=1,
        min_width=1,
        pinned=pinned,
        residual=False,
        producers=(f"{name_of(place)}.weight",),
        share=DENSE[place] / sum(DENSE),
    )


def verdict(outcome: Outcome = Outcome.PASS) -> Verdict:
    return Verdict(
        outcome=outcome,
        reason="the whole 95 % interval of the pruned network lies below the limit",
        budget=BUDGET,
        limit_ns=5_000_000,
        dense=Interval(value=8_333_000, low=8_290_000, high=8_402_000),
        pruned=Interval(value=4_910_000, low=4_880_000, high=4_950_000),
        ratio=Interval(value=0.589, low=0.585, high=0.594),
        resolution=0.004,
        instances=3,
        equivalent=True,
        accuracy=0.9689,
        dense_accuracy=0.9722,
        target=TARGET,
        environment=ENVIRONMENT,
        warnings=("the processor slowed down by 3 % during the session",),
    )


def trials(number: int = 120) -> list[Trial]:
    chance = random.Random(7)
    origins = ("random", "mutation", "crossover")
    made = []
    for place in range(number):
        ns = round(5_000_000 * (0.7 + 0.3 * chance.random()))
        score = 0.75 + 0.15 * (ns / 5e6) + 0.05 * place / number + 0.03 * chance.random()
        made.append(
            Trial(
                number=place,
                cycle=place // 12,
                origin="random" if place < 12 else origins[1 + place % 2],
                widths={name_of(p): width for p, width in enumerate(DENSE)},
                latency=Estimate(ns=ns, low_ns=ns - 9, high_ns=ns + 9, source="fitted"),
                score=None if place % 17 == 3 else score,
                seconds=0.2,
            )
        )
    return made


def staircase(width: int, quantum: int, per_channel_ns: int) -> Staircase:
    chance = random.Random(width)
    points = []
    for channels in range(max(1, width // 24), width + 1, max(1, width // 24)):
        level = -(-channels // quantum) * quantum * per_channel_ns + 20_000
        points.append(Point(channels=channels, ns=round(level * chance.gauss(1, 0.004)), noise=0.004))
    return fit_staircase(points, 0.005)


def layer(place: int) -> LayerTerm:
    before = Axis(fixed=0, terms=((name_of(place - 1), 1),)) if place else Axis(fixed=3)
    return LayerTerm(
        name=name_of(place),
        shape=shape(place),
        inputs=before,
        outputs=Axis(fixed=0, terms=((name_of(place), 1),)),
        calls=1,
        lone=0,
        signature=0,
    )


def shape(place: int) -> LayerShape:
    return LayerShape(
        kind="conv",
        in_channels=DENSE[place - 1] if place else 3,
        out_channels=DENSE[place],
        kernel=(3, 3),
        stride=(1, 1),
        padding=(1, 1),
        dilation=(1, 1),
        spatial=(8, 8),
    )


def profile() -> Profile:
    chance = random.Random(3)
    networks = [round(8_333_000 * (0.35 + 0.65 * chance.random())) for _ in range(60)]
    stairs = [
        LayerStaircase(
            layers=(name_of(place), name_of(place + 1)) if place == 7 else (name_of(place),),
            axis=axis,
            shape=shape(place),
            staircase=staircase(shape(place).out_channels if axis == "out" else shape(place).in_channels, 16, 900),
        )
        for axis in ("out", "in")
        for place in (1, 7)
    ]
    return Profile(
        target=TARGET,
        environment=ENVIRONMENT,
        protocol="default",
        dense=Interval(value=8_333_000, low=8_290_000, high=8_402_000),
        resolution=0.004,
        staircases=tuple(stairs),
        candidates={name_of(place): tuple(range(16, width + 1, 16)) for place, width in enumerate(DENSE)},
        networks=tuple(
            NetworkProbe(widths={}, ns=ns, noise=0.004, predicted_ns=round(ns * chance.gauss(1, 0.02)))
            for ns in networks
        ),
        terms=FactoredTerms(
            layers=tuple(layer(place) for place in range(len(DENSE))),
            lone=(),
            coefficients=(),
            constant_ns=0.0,
            dense_ns=8_333_000,
            q90=0.04,
            narrowest={},
        ),
        surfaces=None,
        error=FitError(
            mean=0.018, worst=0.064, within_5=0.95, within_10=1.0, q90=0.04, kendall_tau=0.961, networks=60
        ),
        instance_noise=0.006,
        host_noise=0.021,
        smallest_ns=2_010_000,
        layer_probes=212,
        layer_probes_found=40,
        networks_found=12,
        seconds=21.7,
    )


def config() -> RunConfig:
    return RunConfig(
        model="tailor/vgg16-cifar@0.5",
        weights=None,
        data="digits",
        target=TARGET,
        budget=BUDGET,
        method="lacp",
        method_options={"cycles": "10", "fitness": "recalibrated"},
        recipe="short",
        recipe_options={"epochs": "4", "learning_rate": "0.02"},
        protocol="default",
        seed=0,
        input_shape=(1, 3, 32, 32),
        command="tailor prune tailor/vgg16-cifar@0.5 --data digits --budget 60%",
        tailor_version="0.1.0",
    )


def write_run(folder: Path) -> Path:
    """Every file that the report reads."""
    kept = {name_of(place): max(8, width // 2) if place % 3 else width for place, width in enumerate(DENSE)}
    write_record(folder / "config.json", config())
    write_record(folder / "environment.json", ENVIRONMENT)
    summary = GraphSummary(
        fingerprint="0123456789abcdef",
        groups=tuple(group(place) for place in range(len(DENSE))),
        layers=len(DENSE) + 1,
        macs=79_000_000,
        parameters=3_700_000,
        channels=sum(DENSE),
    )
    write_record(folder / "graph.json", summary)
    best = max((t for t in trials() if t.score is not None), key=lambda t: t.score or 0.0)
    found = SearchSummary(
        structures=120, seconds=24.3, best=best.number, limit_ns=5_000_000, best_measured_ns=4_950_000
    )
    write_record(folder / "profile.json", profile())
    history = tuple(
        Epoch(epoch=n, loss=0.5 / n, heldout_accuracy=0.93 + 0.01 * n, learning_rate=0.05 / n, seconds=3.2)
        for n in range(1, 5)
    )
    write_record(folder / "training.json", TrainingResult(precision="bf16", distilled=True, history=history))
    write_record(folder / "search.json", found)
    write_record(folder / "widths.json", WidthsRecord(dense=dict(zip(kept, DENSE, strict=True)), pruned=kept))
    write_record(folder / "stages.json", Stages(dense=0.9722, cut=0.412, recalibrated=0.905, fine_tuned=0.9689))
    five = Reductions(
        accuracy=(0.9722, 0.9689),
        latency_ns=(8_333_000, 4_910_000),
        macs=(79_000_000, 33_100_000),
        parameters=(3_700_000, 1_410_000),
        channels=(sum(DENSE), sum(kept.values())),
    )
    write_record(folder / "reductions.json", five)
    write_record(folder / "verdict.json", verdict())
    lines = [b'{"schema":1,"search":"0123"}', *(encode(trial) for trial in trials())]
    (folder / "trials.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    return folder
