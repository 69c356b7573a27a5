"""ONNX Runtime and OpenVINO compute what torch computes, and tell which module their time goes to."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
from onnx_nets import Branches, Nested, Refused, seeded
from torch import Tensor, nn

from tailor.engines import open_device
from tailor.engines.bench import Bench, Entry, time_together
from tailor.engines.host import available_cores
from tailor.engines.subjects import network_subject
from tailor.errors import InvalidOptionError, MeasurementError, MissingDependencyError
from tailor.models.cifar_resnet import CifarResNet
from tailor.protocols import Subject
from tailor.records import TimingSettings
from tailor.spec import Target

ENGINES = ("onnxruntime", "openvino")
FEW = TimingSettings(
    min_rounds=3, max_rounds=3, half_width=0.0, sample_seconds=0.0, warmup_seconds=0.0, prime_seconds=0.0
)
GENERATOR = torch.Generator().manual_seed(0)
IMAGE = torch.randn(2, 3, 8, 8, generator=GENERATOR)
PHOTO = torch.randn(1, 3, 32, 32, generator=GENERATOR)
NESTED = (IMAGE, (torch.ones(4), torch.full((4,), 2.0)), 0.5, None)


def distance(engine: str, precision: str, network: nn.Module, *inputs: object) -> float:
    """Relative distance of the engine's first output from torch's."""
    bench = open_device(Target(engine=engine, precision=precision))
    with bench.opened():
        got = bench.runtime.prepare(network, inputs).outputs()[0]
        expected = network(*inputs)
        return float((got - expected).norm() / expected.norm())


def compiled(bench: Bench, network: nn.Module, *inputs: object) -> Mapping[str, str]:
    with bench.opened():
        return bench.runtime.prepare(network, inputs).facts


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("network", "inputs"),
    [(seeded(CifarResNet, 20), (PHOTO,)), (seeded(Branches), (IMAGE,)), (seeded(Nested), NESTED)],
    ids=["resnet20", "branches", "nested"],
)
def test_outputs_are_torchs_to_single_precision(engine: str, network: nn.Module, inputs: tuple[object, ...]) -> None:
    bench = open_device(Target(engine=engine))
    measured = bench.measure([Subject(key="a", module=network, inputs=inputs)], FEW)[0]
    assert measured.failure is None
    assert len(measured.samples_ns) == 3
    assert distance(engine, "fp32", seeded(CifarResNet, 20), PHOTO) < 1e-5


@pytest.mark.parametrize("engine", ENGINES)
def test_int8_is_close_but_not_equal_and_its_layers_have_names(engine: str) -> None:
    network = seeded(CifarResNet, 20)
    assert 1e-4 < distance(engine, "int8", network, PHOTO) < 0.2
    nodes = open_device(Target(engine=engine, precision="int8")).node_times(network_subject("a", network, PHOTO, 1), 2)
    assert {node.layer for node in nodes} - {None} == layers(network)
    assert any("I8" in node.kernel or "QLinear" in node.kernel for node in nodes)


def layers(network: nn.Module) -> set[str]:
    kinds = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
    return {name for name, part in network.named_modules() if isinstance(part, kinds)}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("network", "x"), [(seeded(CifarResNet, 20), PHOTO), (seeded(Branches), IMAGE)], ids=["resnet20", "branches"]
)
def test_node_times_name_every_layer_with_weights(engine: str, network: nn.Module, x: Tensor) -> None:
    nodes = open_device(Target(engine=engine)).node_times(network_subject("a", network, x, x.shape[0]), 3)
    named = {node.layer for node in nodes} - {None}
    assert layers(network) == named
    assert all(node.ns >= 0 for node in nodes)
    assert sum(node.ns for node in nodes if node.layer) > 0
    assert all(node.kernel for node in nodes)
    assert len({node.name for node in nodes}) == len(nodes)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_refused_operator_is_a_named_failure_and_the_others_go_on(engine: str) -> None:
    good, bad = open_device(Target(engine=engine)).measure(
        [network_subject("good", seeded(Branches), IMAGE, 1), network_subject("bad", Refused(), IMAGE, 1)], FEW
    )
    assert good.failure is None
    assert bad.failure is not None
    assert "aten::linalg_eig" in bad.failure
    assert "\n" not in bad.failure


def test_several_engines_share_one_session() -> None:
    subject = network_subject("a", seeded(Branches), IMAGE, 1)
    benches = [open_device(Target(engine=engine)) for engine in ("torch", *ENGINES)]
    measured = time_together([Entry(bench=bench, subject=subject) for bench in benches], FEW)
    assert [m.failure for m in measured] == [None] * 3
    assert len({m.session for m in measured}) == 1
    assert len({m.environment for m in measured}) == 3


@pytest.mark.parametrize("engine", ENGINES)
def test_models_inputs_and_torchs_threads_are_left_as_found(engine: str) -> None:
    network, inputs, threads = seeded(Nested).train(), (IMAGE.clone(), *NESTED[1:]), torch.get_num_threads()
    device = open_device(Target(engine=engine, threads=available_cores()))
    torch.set_num_threads(available_cores() + 1)
    try:
        device.measure([Subject(key="a", module=network, inputs=inputs)], FEW)
        assert torch.get_num_threads() == available_cores() + 1
    finally:
        torch.set_num_threads(threads)
    assert network.training
    assert torch.equal(inputs[0], IMAGE)


def test_openvinos_own_choice_of_precision_is_told_apart() -> None:
    exact, own = open_device(Target(engine="openvino")), open_device(Target(engine="openvino", precision="auto"))
    assert exact.environment().facts["executed_precision"] == "f32"
    assert compiled(exact, seeded(Nested), *NESTED)["executed_precision"] == "f32"
    chosen = own.environment().facts["executed_precision"]
    assert compiled(own, seeded(Nested), *NESTED)["executed_precision"] == chosen
    far = distance("openvino", "auto", seeded(CifarResNet, 20), PHOTO)
    assert (far > 1e-4) == (chosen in ("bf16", "f16"))
    assert exact.environment().key != own.environment().key


def test_a_format_that_the_cpu_does_not_compute_is_refused() -> None:
    import openvino

    able = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    for precision in ("bf16", "fp16"):
        target = Target(engine="openvino", precision=precision)
        if precision.upper() in able:
            assert open_device(target).environment().facts["executed_precision"] == precision.replace("fp", "f")
        else:
            with pytest.raises(MeasurementError, match=f"does not compute {precision} on this CPU, which can"):
                open_device(target)


@pytest.mark.parametrize("engine", ENGINES)
def test_facts_tell_the_version_and_differ_between_precisions(engine: str) -> None:
    target = Target(engine=engine)
    facts = open_device(target).environment().facts
    assert facts[engine].startswith(str(sys.modules[engine].__version__)[:4])
    assert all(type(value) is str and value for value in facts.values())
    assert open_device(replace(target, precision="int8")).environment().key != open_device(target).environment().key


@pytest.mark.parametrize(
    ("engine", "name", "value"),
    [
        ("onnxruntime", "precision", "fp16"), ("onnxruntime", "precision", "bf16"),
        ("onnxruntime", "precision", "auto"), ("onnxruntime", "layout", "channels_last"),
        ("onnxruntime", "device", "toaster"),
        ("onnxruntime-tensorrt", "device", "cpu"), ("openvino", "precision", "tf32"), ("openvino", "device", "cuda"),
        ("openvino", "layout", "channels_last"), ("tensorrt", "device", "cpu"),
    ],
)  # fmt: skip
def test_what_an_engine_cannot_do_is_named(engine: str, name: str, value: str) -> None:
    with pytest.raises(InvalidOptionError, match=value) as caught:
        open_device(replace(Target(engine=engine), **{name: value}))
    assert caught.value.value == value
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "value"), [("precision", "bf16"), ("layout", "channels_last")])
def test_tensorrts_options_are_checked_before_its_package(name: str, value: str) -> None:
    with pytest.raises(InvalidOptionError, match=value):
        open_device(replace(Target(engine="tensorrt", device="cuda"), **{name: value}))


@pytest.mark.parametrize(
    ("engine", "device", "package"),
    [("onnxruntime", "cpu", "onnxruntime"), ("openvino", "cpu", "openvino"), ("tensorrt", "cuda", "tensorrt")],
)
def test_a_missing_package_says_how_to_install_it(
    engine: str, device: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingDependencyError, match=rf"pip install 'tailor-prune\[{package}\]'"):
        open_device(Target(engine=engine, device=device))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.parametrize("engine", ["onnxruntime", "onnxruntime-tensorrt"])
def test_cuda_where_there_is_none_never_falls_back_to_the_cpu(engine: str) -> None:
    with pytest.raises(MeasurementError, match="no CUDA device here"):
        open_device(Target(engine=engine, device="cuda", precision="tf32"))


def test_tensorrt_inside_onnx_runtime_admits_that_it_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NVIDIA_TF32_OVERRIDE", raising=False)
    with pytest.raises(InvalidOptionError, match="use --precision tf32"):
        open_device(Target(engine="onnxruntime-tensorrt", device="cuda"))
    assert "NVIDIA_TF32_OVERRIDE" not in os.environ


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device with TensorRT")
@pytest.mark.parametrize("precision", ["fp32", "tf32", "fp16", "int8"])
def test_tensorrt_computes_what_torch_computes(precision: str) -> None:
    pytest.importorskip("tensorrt", reason="needs the package tensorrt")
    bench = open_device(Target(engine="tensorrt", device="cuda", precision=precision))
    subject = network_subject("a", seeded(CifarResNet, 20), PHOTO, 1)
    assert bench.measure([subject], FEW)[0].failure is None
    assert {node.layer for node in bench.node_times(subject, 2)} >= {"conv1", "linear"}
