"""A network handed on to other runtimes: ONNX, OpenVINO, torch.export, TorchScript, each read back and compared."""

from tailor.exporting.export import export
from tailor.exporting.formats import FORMATS, formats_named
from tailor.exporting.result import Exported, ExportReport

__all__ = ["FORMATS", "ExportReport", "Exported", "export", "formats_named"]
