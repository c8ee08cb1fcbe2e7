"""An ONNX graph that grows node by node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
# What onnx 1.16 and its contemporaries read, whatever version writes it.
_IR_VERSION = 8
_MOST_BYTES = 2**31 - 2**20  # a protobuf holds less than two gibibytes

Attribute = int | float | str | Sequence[int]
Dimension = int | str  # a name where it is not known
TYPES: Mapping[str, int] = {'uint8': TensorProto.UINT8, 'float32': TensorProto.FLOAT}


class TooLarge(ValueError):
  """Raised where the arrays do not fit into one ONNX file."""


class Graph:
  """Nodes and constants, in the order in which they are added; a value is known by its name.

  Nodes are named after `scope`, so that what another program says of one leads back to the layer.
  """

  def __init__(self) -> None:
    self.scope = 'image'
    self._nodes: list[onnx.NodeProto] = []
    self._constants: list[onnx.TensorProto] = []
    self._inputs: list[onnx.ValueInfoProto] = []
    self._outputs: list[onnx.ValueInfoProto] = []
    self._small: dict[tuple[str, tuple[int, ...], bytes], str] = {}
    self._bytes = 0

  def input(self, name: str, dtype: str, shape: Sequence[Dimension]) -> str:
    """Adds an input of the graph."""
    self._inputs.append(helper.make_tensor_value_info(name, TYPES[dtype], shape))
    return name

  def output(self, value: str, name: str, dtype: str, shape: Sequence[Dimension]) -> None:
    """Makes a value an output of the graph, under another name."""
    self._nodes.append(helper.make_node('Identity', [value], [name], name))
    self._outputs.append(helper.make_tensor_value_info(name, TYPES[dtype], shape))

  def constant(self, array: np.ndarray) -> str:
    """Adds an array, or finds it again if it is small; its dtype is kept."""
    array = np.ascontiguousarray(array)
    key = (array.dtype.str, array.shape, array.tobytes()) if array.nbytes < 1024 else None
    if key is not None and key in self._small:
      return self._small[key]
    name = f'{self.scope}/constant_{len(self._constants)}'
    self._constants.append(numpy_helper.from_array(array, name))
    self._bytes += array.nbytes
    if key is not None:
      self._small[key] = name
    return name

  def ints(self, *values: int) -> str:
    """Adds whole numbers as a constant, int64 [n]."""
    return self.constant(np.array(values, np.int64))

  def add(self, operator: str, *inputs: str, **attributes: Attribute) -> str:
    """Adds a node; the name of its only result is returned."""
    name = f'{self.scope}/{operator}_{len(self._nodes)}'
    self._nodes.append(helper.make_node(operator, inputs, [name], name, **attributes))
    return name

  def model(self, metadata: Mapping[str, str]) -> onnx.ModelProto:
    """Makes the model that has been added, as onnx's own checker lets pass.

    Raises:
      TooLarge: if a file cannot hold it.
    """
    if self._bytes > _MOST_BYTES:
      raise TooLarge(f'{self._bytes / 2**30:.1f} GiB')
    graph = helper.make_graph(self._nodes, 'pspnet', self._inputs, self._outputs, self._constants)
    model = helper.make_model(
      graph,
      producer_name='pspnet_jax',
      opset_imports=[helper.make_opsetid('', OPSET)],
      ir_version=_IR_VERSION,
    )
    helper.set_model_props(model, dict(metadata))
    onnx.checker.check_model(model, full_check=True)
    return model
