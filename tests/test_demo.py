"""The demonstration's own part; the line itself is tested in tests/pipeline, and `make demo` runs the whole."""

from __future__ import annotations

from pathlib import Path

from tailor.demo import MODEL, unused
from tailor.models import load_model


def test_a_second_demo_keeps_the_first(tmp_path: Path) -> None:
    first = unused(tmp_path / "demo")
    first.mkdir()
    second = unused(tmp_path / "demo")
    second.mkdir()
    assert [first.name, second.name, unused(tmp_path / "demo").name] == ["demo", "demo-2", "demo-3"]


def test_the_network_has_vgg16s_shape_at_half_its_widths() -> None:
    widths = [p.shape[0] for p in load_model(MODEL).parameters() if p.ndim == 4]
    assert widths == [32, 32, 64, 64, 128, 128, 128, *[256] * 6]
