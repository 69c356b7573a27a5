"""Every format is read back and compared; one that fails is told and stops no other."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import tailor
from tailor.channels import GraphNetwork, build, network_of, trace
from tailor.errors import InvalidOptionError, UnknownNameError
from tailor.exporting import FORMATS, ExportReport, formats
from tailor.serialize import read_record
from tailor.spec import KeepPlan
from tailor.tables.export import export_text

torch.set_num_threads(1)

IMAGE = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))


class Halves(nn.Module):
    """Slices and a shuffle with their counts written out."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 12, 3, 2, 1), nn.BatchNorm2d(12), nn.ReLU())
        self.branch = nn.Sequential(nn.Conv2d(6, 6, 3, padding=1, groups=6), nn.BatchNorm2d(6), nn.Conv2d(6, 6, 1))
        self.fc = nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = torch.cat([x[:, :6], self.branch(x[:, 6:])], dim=1)
        x = x.view(x.shape[0], 2, 6, 8, 8).transpose(1, 2).reshape(x.shape[0], 12, 8, 8)
        return self.fc(x.mean((2, 3)))


class Averaged(nn.Module):
    """Averages over the batch, which an exported file with a batch of its own would do differently."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x).sum(0, keepdim=True) / len(x)


def plain() -> nn.Module:
    torch.manual_seed(0)
    body = (nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
    return nn.Sequential(*body, nn.Flatten(), nn.Linear(8 * 14 * 14, 3)).eval()


@pytest.fixture(scope="module")
def cut_halves() -> nn.Module:
    torch.manual_seed(0)
    model = Halves().eval()
    graph = trace(model, IMAGE)
    assert graph.form == "exported graph"
    kept = {g.name: tuple(range(g.width if g.pinned else max(1, g.width // 2))) for g in graph.groups}
    return build(model, graph, KeepPlan(fingerprint=graph.fingerprint, kept=kept))


@pytest.fixture(scope="module")
def everything(cut_halves: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> tuple[ExportReport, Path]:
    out = tmp_path_factory.mktemp("export")
    return tailor.export(cut_halves, IMAGE, out=out, to="all"), out


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_a_cut_exported_graph_goes_into_every_format_with_any_batch(
    everything: tuple[ExportReport, Path], name: str
) -> None:
    found = next(each for each in everything[0].formats if each.format == name)
    assert found.failure is None
    assert found.difference is not None
    assert found.difference <= everything[0].tolerance
    assert found.batches == (2, 3, 1)
    assert found.files
    assert all(Path(file).stat().st_size > 0 for file in found.files)
    assert found.bytes == sum(Path(file).stat().st_size for file in found.files)


def test_the_report_lies_beside_the_files_and_names_them(everything: tuple[ExportReport, Path]) -> None:
    report, out = everything
    assert read_record(out / "export.json", ExportReport) == report
    text = export_text(report, 200)
    for each in report.formats:
        assert all(file in text for file in each.files)
    assert {path.name for path in out.iterdir()} == {
        "export.json", "model.onnx", "model.xml", "model.bin", "model.pt2", "model.ts",
    }  # fmt: skip


def test_denormal_weights_are_flushed_in_a_copy_and_counted(tmp_path: Path) -> None:
    model = plain()
    with torch.no_grad():
        model[0].weight[0, 0, 0, :2] = 1e-40
    before = copy.deepcopy(model.state_dict())
    report = tailor.export(model, IMAGE, out=tmp_path, to="torchscript")
    assert report.denormals == 2
    assert report.sound
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    again = torch.jit.load(tmp_path / "model.ts")
    assert int((again.state_dict()["0.weight"] == 0).sum()) == 2


def test_a_format_that_fails_is_told_and_stops_no_other(tmp_path: Path) -> None:
    report = tailor.export(Averaged().eval(), IMAGE, out=tmp_path, to=["torch-export", "torchscript"], batch_size=1)
    assert report.sound  # of one image, the average is the image's own
    broken = nn.Sequential(plain(), BranchOnNumbers())
    report = tailor.export(broken, IMAGE, out=tmp_path, to="torch-export,torchscript")
    by_name = {each.format: each for each in report.formats}
    assert by_name["torch-export"].failure is not None
    assert by_name["torchscript"].failure is None
    assert not report.sound
    assert "FAILED" in export_text(report, 160)
    assert len(by_name["torch-export"].failure.splitlines()) == 1


class BranchOnNumbers(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if bool(torch.isfinite(x).all()) else -x


def test_outputs_that_differ_are_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = FORMATS["torchscript"]

    def spoiled(given: formats.Given) -> formats.Written:
        found = written(given)
        return dataclasses.replace(found, run=lambda inputs: [out * 1.001 for out in found.run(inputs)])

    monkeypatch.setitem(FORMATS, "torchscript", spoiled)
    (only,) = tailor.export(plain(), IMAGE, out=tmp_path, to="torchscript").formats
    assert only.failure is not None
    assert "differ" in only.failure
    assert only.difference == pytest.approx(1e-3, rel=0.01)


def test_a_batch_that_is_not_free_is_found_out(tmp_path: Path) -> None:
    class Fixed(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * torch.arange(int(x.shape[0]), dtype=torch.float32).sum().item()

    (only,) = tailor.export(Fixed(), IMAGE, out=tmp_path, to="torchscript").formats
    assert only.failure is not None
    (only,) = tailor.export(Fixed(), IMAGE, out=tmp_path, to="torchscript", batch_size=4).formats
    assert only.failure is None
    assert only.batches == (4,)


def test_keyword_inputs_and_dicts_of_outputs(tmp_path: Path) -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, image: Tensor, scale: Tensor) -> dict[str, Tensor]:
            return {"maps": self.conv(image) * scale[:, None, None, None], "scale": scale * 2}

    example = {"scale": torch.ones(2), "image": IMAGE.repeat(2, 1, 1, 1)}
    report = tailor.export(Two().eval(), example, out=tmp_path, to="onnx,torchscript")
    assert [each.failure for each in report.formats] == [None, None]


def test_bad_requests(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"'tflite'.*torchscript"):
        tailor.export(plain(), IMAGE, out=tmp_path / "new", to="onnx,tflite")
    with pytest.raises(InvalidOptionError, match="batch_size"):
        tailor.export(plain(), IMAGE, out=tmp_path / "new", batch_size=0)
    assert not (tmp_path / "new").exists()


def test_the_exported_form_is_what_is_exported(cut_halves: nn.Module) -> None:
    assert isinstance(cut_halves, GraphNetwork)
    assert network_of(cut_halves, trace(cut_halves, IMAGE)) is cut_halves
