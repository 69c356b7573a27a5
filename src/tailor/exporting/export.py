"""`export`: writes a network in other formats, reads each back, and holds its outputs against the network's."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tailor.calling import first_words, output_tensors, quiet
from tailor.engines.subjects import batched, network_subject
from tailor.errors import InvalidOptionError
from tailor.exporting.formats import FORMATS, Given, Written, formats_named
from tailor.exporting.result import Exported, ExportReport
from tailor.persist import flush_denormals
from tailor.serialize import write_record

__all__ = ["REPORT_FILE", "TOLERANCE", "export"]

TOLERANCE = 1e-4  # of an output's largest entry: float32 summed in another order stays below, a lost weight does not
REPORT_FILE = "export.json"
_OTHER_BATCH = 3  # beside the example's two, to see that a free batch is free


def export(
    model: nn.Module,
    example_inputs: Any,
    *,
    out: str | Path,
    to: str | Sequence[str] = "onnx",
    batch_size: int | None = None,
    name: str = "model",
) -> ExportReport:
    """Write a network in one or several formats; a format that fails is a record, and the others go on.

    Every file is read back by the runtime that it is for and compared on random inputs. Weights too small for a normal
    number are set to zero first, in a copy: they make CPUs many times slower. The model is left as it was.

    Args:
        model: the network, in float32 as it will be used; its exported form, a loaded one, any module.
        example_inputs: a tensor, a tuple of positional inputs or a dict of keyword inputs.
        out: the folder to write to; `export.json` there tells what was written.
        to: names of formats ("onnx", "openvino", "torch-export", "torchscript"), or "all".
        batch_size: the only batch size that the files take; None leaves it free.
        name: of the files.

    Raises:
        UnknownNameError: no such format.
        InvalidOptionError: a batch size below 1.
    """
    names = formats_named(to if isinstance(to, str) else ",".join(to))
    if batch_size is not None and batch_size < 1:
        raise InvalidOptionError(f"batch_size must be at least 1, not {batch_size}", value=batch_size)
    network = copy.deepcopy(model).cpu().eval()
    denormals = flush_denormals(network)
    # of a batch of one, exporters take the 1 for a constant
    subject = network_subject(name, network, example_inputs, batch_size or 2)
    inputs = _random(_on_cpu(subject.inputs))
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    given = Given(network=subject.module.eval(), inputs=inputs, stem=folder / name, free_batch=batch_size is None)
    report = ExportReport(
        network=type(model).__name__,
        batch_size=batch_size,
        tolerance=TOLERANCE,
        denormals=denormals,
        formats=tuple(_exported(format_name, given) for format_name in names),
    )
    write_record(folder / REPORT_FILE, report)
    return report


def _exported(name: str, given: Given) -> Exported:
    """One format, written, read back and compared; whatever its library raises is the record's failure."""
    started = time.perf_counter()
    try:
        with quiet(given.network):
            written = FORMATS[name](given)
            differences = _differences(given, written)
    except Exception as error:  # exporters and runtimes raise types of their own at will
        seconds = time.perf_counter() - started
        return Exported(format=name, seconds=seconds, failure=first_words(error))
    worst = max(differences.values())
    other = [batch for batch, difference in differences.items() if not difference <= TOLERANCE]
    failure = f"outputs differ from the network's by {worst:.1g} with a batch of {other[0]}" if other else None
    return Exported(
        format=name,
        files=tuple(str(path) for path in written.files),
        bytes=sum(path.stat().st_size for path in written.files),
        writer=written.writer,
        reader=written.reader,
        batches=tuple(differences),
        difference=worst,
        seconds=time.perf_counter() - started,
        failure=failure,
    )


def _differences(given: Given, written: Written) -> Mapping[int, float]:
    """By batch size: the largest difference of any output, relative to that output's largest entry."""
    own = next(int(value.shape[0]) for value in given.inputs if isinstance(value, Tensor) and value.ndim)
    found = {}
    for batch in (own, _OTHER_BATCH, 1) if given.free_batch else (own,):
        inputs = _random(batched(given.inputs, batch))
        found[batch] = _difference(written.run(inputs), output_tensors(given.network(*inputs)))
    return found


def _difference(got: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    if [tuple(tensor.shape) for tensor in got] != [tuple(tensor.shape) for tensor in expected]:
        return math.inf
    worst = 0.0
    for have, want in zip(got, expected, strict=True):
        if want.numel():
            a, b = have.detach().double(), want.detach().double()
            difference = float((a - b).abs().max() / b.abs().max().clamp_min(1e-12))
            worst = max(worst, math.inf if math.isnan(difference) else difference)
    return worst


def _on_cpu(values: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(value.cpu() if isinstance(value, Tensor) else value for value in values)


def _random(values: Sequence[Any]) -> tuple[Any, ...]:
    """Floating-point inputs from a standard normal; others as they are."""
    generator = torch.Generator().manual_seed(0)

    def fresh(value: Any) -> Any:
        if isinstance(value, Tensor) and value.is_floating_point():
            return torch.randn(value.shape, generator=generator).to(value.dtype)
        return value

    return tuple(fresh(value) for value in values)
