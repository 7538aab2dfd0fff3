"""A model's encoder and decoder as graphs that run without this project: `torch.export` and ONNX.

Inputs and outputs are float32 whatever the graph computes in; the first axis, the batch, is free. The tracebacks that
torch writes into graphs (paths of the machine) are taken out again.
"""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ear_teacher.config import UserError
from ear_teacher.models import EarVAE
from ear_teacher.teacher.pyramid import encode

OPSET = 20
LINEAR = ("linear.weight", "mean_patch")
"""Tensors of the linear code: their operations stay in float32 under int8, whose steps are coarser than coordinates."""


@dataclass(frozen=True)
class Part:
    """One graph.

    Attributes:
        name: `encoder` or `decoder`.
        module: float32 in, a tuple of float32 out.
        example: an input of two items.
        input_name: of that input.
        output_names: in the order of the tuple.
    """

    name: str
    module: nn.Module
    example: Tensor
    input_name: str
    output_names: tuple[str, ...]


class _Encoder(nn.Module):
    """Pictures (N, 3, S, S) in [0, 1] -> mean, logvar, every map, tokens where there are any."""

    def __init__(self, model: EarVAE, dtype: torch.dtype) -> None:
        super().__init__()
        self.model = copy.deepcopy(model).to(dtype)
        self.model.decoder = nn.Identity()  # its weights are no part of this graph
        self.dtype = dtype

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        found = encode(self.model, images.to(self.dtype))
        tokens = [] if found.tokens is None else [found.tokens]
        return tuple(tensor.float() for tensor in (found.mean, found.logvar, *found.maps.values(), *tokens))


class _Decoder(nn.Module):
    """Codes (N, k, g, g) -> pictures (N, 3, S, S) in [0, 1]."""

    def __init__(self, model: EarVAE, dtype: torch.dtype) -> None:
        super().__init__()
        self.model = copy.deepcopy(model).to(dtype)
        for unused in ("encoder", "describer"):
            delattr(self.model, unused)
        self.dtype = dtype

    def forward(self, codes: Tensor) -> tuple[Tensor, ...]:
        return (self.model.decode(codes.to(self.dtype)).clamp(0, 1).float(),)


def parts_of(model: EarVAE, dtype: torch.dtype, outputs: Sequence[str]) -> list[Part]:
    """Encoder and decoder, computing in `dtype`.

    Args:
        model: in evaluation mode, on the CPU; not changed.
        dtype: float32 or float16.
        outputs: names of what the encoder gives (`feature_shapes`).
    """
    config, side = model.config, model.image_size
    images, codes = torch.zeros(2, 3, side, side), torch.zeros(2, config.channels, config.grid, config.grid)
    return [
        Part("encoder", _Encoder(model, dtype).eval(), images, "images", tuple(outputs)),
        Part("decoder", _Decoder(model, dtype).eval(), codes, "codes", ("pictures",)),
    ]


def traced(part: Part) -> torch.export.ExportedProgram:
    """The part as a graph with a free batch."""
    with _quiet():
        batch = torch.export.Dim("batch")
        program = torch.export.export(part.module, (part.example,), dynamic_shapes=({0: batch},))
    for module in program.graph_module.modules():
        for node in getattr(getattr(module, "graph", None), "nodes", ()):
            node.meta.pop("stack_trace", None)
    return program


def write_onnx(part: Part, path: Path) -> None:
    """The part as one ONNX file, weights inside.

    Raises:
        UserError: the packages of the extra `export` are missing.
    """
    onnx = require_onnx()
    with _quiet():
        program = torch.onnx.export(
            traced(part), dynamo=True, opset_version=OPSET, input_names=[part.input_name], verbose=False
        )  # fmt: skip
    assert program is not None
    proto = program.model_proto
    graph = proto.graph
    _name_outputs(graph, part.output_names)
    for item in (*graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer, graph, proto):
        del item.metadata_props[:]
        item.doc_string = ""
    onnx.save(proto, path)


def _name_outputs(graph: Any, names: Sequence[str]) -> None:
    """Give the graph's outputs these names; whatever else has one of them (a backbone's `mean`) gets another."""
    new = {name: f"{name}_inside" for name in names}
    new |= {output.name: name for output, name in zip(graph.output, names, strict=True)}
    for node in graph.node:
        for values in (node.input, node.output):
            values[:] = [new.get(value, value) for value in values]
    for item in (*graph.initializer, *graph.value_info, *graph.output):
        item.name = new.get(item.name, item.name)


def halve(path: Path) -> None:
    """Turn an ONNX file to float16 inside; inputs and outputs stay float32. CPUs compute it in float32 after all."""
    onnx = require_onnx()
    from onnxruntime.transformers.float16 import convert_float_to_float16

    with _quiet():
        onnx.save(convert_float_to_float16(onnx.load(path), keep_io_types=True), path)


def quantise(path: Path, input_name: str, calibration: NDArray[np.float32] | None) -> None:
    """Turn an ONNX file to int8, all but the linear code.

    Args:
        path: float32 before, int8 after.
        input_name: of its input.
        calibration: inputs from which fixed ranges of the activations are taken (faster); None: each batch sets its
            own (more exact, but a picture's result then depends a little on its batch).
    """
    onnx = require_onnx()
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_dynamic, quantize_static

    nodes = onnx.load(path).graph.node
    exact = [node.name for node in nodes if any(name.endswith(LINEAR) for name in node.input)]
    options = {"per_channel": True, "nodes_to_exclude": exact}
    target = path.with_suffix(".int8")
    with _quiet():
        if calibration is None:
            quantize_dynamic(path, target, weight_type=QuantType.QUInt8, **options)
        else:
            quantize_static(
                path, target, _batches(input_name, calibration), quant_format=QuantFormat.QDQ,
                op_types_to_quantize=["Conv", "ConvTranspose", "MatMul", "Gemm"], **options,
            )  # fmt: skip
    target.replace(path)


def run_onnx(path: Path, values: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """The graph's outputs on the CPU, by one thread."""
    require_onnx()
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    found: list[NDArray[np.float32]] = session.run(None, {session.get_inputs()[0].name: values})
    return found


def run_program(path: Path, values: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """The same of a `.pt2` file."""
    program: Callable[[Tensor], tuple[Tensor, ...]] = torch.export.load(path).module()
    return [tensor.detach().numpy() for tensor in program(torch.from_numpy(values))]


def require_onnx() -> Any:
    """The package `onnx`.

    Raises:
        UserError: it, onnxruntime or onnxscript is missing.
    """
    missing = [name for name in ("onnx", "onnxruntime", "onnxscript") if find_spec(name) is None]
    if missing:
        raise UserError(f"{missing[0]} is not installed; run `pip install ear-teacher[export]` for ONNX files.")
    import onnx

    return onnx


def _batches(name: str, values: NDArray[np.float32]) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.left = iter(np.array_split(values, max(len(values) // 8, 1)))

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            batch = next(self.left, None)
            return None if batch is None else {name: batch}

    return Reader()


@contextmanager
def _quiet() -> Iterator[None]:
    """No warnings of the exporters: they are about their own insides."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
