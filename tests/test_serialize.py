"""Records come back equal; damaged, foreign or newer files are refused; no reader sees half a file."""

import os
import stat
from pathlib import Path

import numpy as np
import pytest

from tailor.errors import SchemaError
from tailor.records import (
    Budget,
    Environment,
    Estimate,
    GraphSummary,
    GroupSummary,
    Interval,
    Measurement,
    Outcome,
    Reductions,
    RunConfig,
    SearchSummary,
    Stages,
    TimingSettings,
    Trial,
    Verdict,
    WidthsRecord,
)
from tailor.serialize import decode, encode, read_record, write_bytes, write_record
from tailor.spec import KeepPlan, LayerShape, Target, Widths

INTERVAL = Interval(value=1.0, low=0.1 + 0.2, high=1.25)
ENVIRONMENT = Environment(facts={"cpu": "x", "µ": "é"})
RECORDS = [
    ENVIRONMENT,
    INTERVAL,
    Estimate(ns=2**53 + 1, low_ns=1, high_ns=3, source="fitted"),
    TimingSettings(fixed_warmup=10, statistic="mean"),
    Measurement(subject="s", environment="e", session="1", samples_ns=(), stopped="failed", failure="out of memory"),
    Measurement(subject="s", environment="e", session="1", samples_ns=(1, 2), stopped="rounds"),
    Trial(
        number=0,
        cycle=1,
        origin="random",
        widths={"a": 1},
        latency=Estimate(ns=1, low_ns=1, high_ns=1),
        score=None,
        seconds=0.1,
    ),
    Budget.parse("60%"),
    Budget.parse("5ms"),
    Stages(dense=0.9, cut=None, recalibrated=1 / 3),
    Reductions(accuracy=None, latency_ns=(2, 1), macs=(2, 1), parameters=(2, 1), channels=(2, 1)),
    Reductions(accuracy=(0.9, 0.8), latency_ns=(2, 1), macs=(2, 1), parameters=(2, 1), channels=(2, 1)),
    GraphSummary(
        fingerprint="f",
        groups=(
            GroupSummary(
                name="g",
                width=8,
                channels_per_unit=1,
                quantum=1,
                min_width=1,
                pinned=None,
                residual=True,
                producers=("a", "b"),
                share=0.5,
            ),
        ),
        layers=3,
        macs=10**12,
        parameters=5,
        channels=8,
    ),
    SearchSummary(structures=300, seconds=1.5, best=3, limit_ns=5, best_measured_ns=None),
    WidthsRecord(dense={"z": 2, "a": 1}, pruned={"z": 1, "a": 1}),
    RunConfig(
        model="m",
        weights=None,
        data="digits",
        target=Target(threads=2),
        budget=Budget.parse("60%"),
        method="lacp",
        method_options={"residual": "fixed"},
        recipe="short",
        recipe_options={},
        protocol="default",
        seed=0,
        input_shape=(1, 3, 32, 32),
        command="",
        tailor_version="0.1.0",
    ),
    Verdict(
        outcome=Outcome.UNDECIDED,
        reason="the interval crosses the limit",
        budget=Budget.parse("5ms"),
        limit_ns=5,
        dense=INTERVAL,
        pruned=INTERVAL,
        ratio=INTERVAL,
        resolution=0.01,
        instances=3,
        equivalent=True,
        accuracy=None,
        dense_accuracy=0.5,
        target=Target(),
        environment=ENVIRONMENT,
        warnings=("drift",),
    ),
    KeepPlan(fingerprint="f", kept={"b": (0, 2), "a": (1,)}),
    LayerShape(kind="conv", in_channels=3, out_channels=8, kernel=(3, 3), spatial=(8, 8)),
]


def named(record) -> str:
    return type(record).__name__


@pytest.mark.parametrize("record", RECORDS, ids=named)
def test_what_is_stored_comes_back_equal(tmp_path, record):
    path = tmp_path / "folder" / "record.json"
    write_record(path, record)
    assert read_record(path, type(record)) == record
    assert decode(encode(record), type(record)) == record
    assert b"\n" not in encode(record)


def test_groups_keep_their_order():
    kept = decode(encode(KeepPlan(fingerprint="f", kept={"b": (0,), "a": (1,)})), KeepPlan).kept
    assert list(kept) == ["b", "a"]


def test_widths_and_numpy_values_are_stored_as_plain_json():
    assert encode(Widths({"b": 1, "a": 2})) == b'{"b":1,"a":2}'
    record = WidthsRecord(dense={"a": np.int64(3)}, pruned=Widths({"a": 2}))
    assert encode(record) == b'{"dense":{"a":3},"pruned":{"a":2}}'
    assert encode(np.arange(3)) == b"[0,1,2]"


def test_what_has_no_plain_form_is_refused():
    with pytest.raises(NotImplementedError, match="cannot store a object"):
        encode(object())


def test_a_file_cut_at_any_byte_is_refused(tmp_path):
    path = tmp_path / "record.json"
    write_record(path, Stages(dense=0.9))
    content = path.read_bytes().rstrip()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(SchemaError, match=r"record\.json"):
            read_record(path, Stages)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"schema": 2, "type": "Stages", "record": {"dense": 0.9}}', "has schema 2, this Tailor reads 1"),
        (b'{"schema": 1, "type": "Budget", "record": {"text": "5ms"}}', "holds a \"Budget\", not a Stages"),
        (b'{"schema": 1, "type": "Stages", "record": {"dense": "high"}}', "not a valid Stages"),
        (b'{"schema": 1, "type": "Stages", "record": {}}', "not a valid Stages"),
        (b'{"schema": 1, "record": {"dense": 0.9}}', "is no readable record"),
        (b"[]", "is no readable record"),
    ],
)
def test_a_file_of_another_kind_is_refused(tmp_path, content, message):
    path = tmp_path / "record.json"
    path.write_bytes(content)
    with pytest.raises(SchemaError, match=message):
        read_record(path, Stages)


def test_a_missing_file_is_refused_by_name(tmp_path):
    with pytest.raises(SchemaError, match=r"nowhere\.json is no readable record"):
        read_record(tmp_path / "nowhere.json", Stages)


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_bytes(path, b"old")

    def full_disk(handle: int) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="no space left"):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_files_are_as_open_to_others_as_the_user_has_it(tmp_path: Path, mask: int, mode: int) -> None:
    before = os.umask(mask)
    try:
        write_bytes(tmp_path / "file", b"x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == mode
