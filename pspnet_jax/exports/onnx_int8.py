"""Static quantisation of an ONNX model by onnxruntime: convolutions in int8."""

from __future__ import annotations

import contextlib
import logging
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnxruntime import quantization
from onnxruntime.quantization.shape_inference import quant_pre_process

_OPERATORS = ['Conv', 'Relu', 'Add', 'MaxPool', 'AveragePool']


class _Images(quantization.CalibrationDataReader):
  """What onnxruntime asks for images one by one."""

  def __init__(self, images: Iterable[np.ndarray]):
    self._images: Iterator[np.ndarray] = iter(images)

  def get_next(self) -> dict[str, np.ndarray] | None:
    image = next(self._images, None)
    return None if image is None else {'image': image[None]}


def quantized(content: bytes, images: Iterable[np.ndarray]) -> bytes:
  """Makes an int8 model of a float one; inputs, outputs and metadata stay.

  Kernels are int8, one scale a channel; activations are uint8, with the range that they have on the
  images. What surrounds the network stays float: pooling of odd grids, interpolation, labels.

  Args:
    content: the float model.
    images: uint8 [H, W, 3] each.
  """
  with tempfile.TemporaryDirectory() as folder, _quiet():
    source, prepared, target = (Path(folder) / f'{name}.onnx' for name in ('f', 'p', 'q'))
    source.write_bytes(content)
    quant_pre_process(source, prepared, skip_symbolic_shape=True)
    quantization.quantize_static(
      prepared,
      target,
      _Images(images),
      quant_format=quantization.QuantFormat.QDQ,
      op_types_to_quantize=_OPERATORS,
      per_channel=True,
      # Sums of pairs of products have 16 bits on x86 without VNNI, and 8-bit kernels overflow them.
      reduce_range=True,
      activation_type=quantization.QuantType.QUInt8,
      weight_type=quantization.QuantType.QInt8,
    )
    model = onnx.load(target)
  properties: Any = {p.key: p.value for p in onnx.load_from_string(content).metadata_props}
  del model.metadata_props[:]
  onnx.helper.set_model_props(model, properties)
  onnx.checker.check_model(model, full_check=True)
  return model.SerializeToString()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
  """Keeps to itself what onnxruntime's tools advise on the root logger."""
  before = logging.root.manager.disable
  logging.disable(logging.WARNING)
  try:
    with warnings.catch_warnings():
      warnings.simplefilter('ignore')
      yield
  finally:
    logging.disable(before)
