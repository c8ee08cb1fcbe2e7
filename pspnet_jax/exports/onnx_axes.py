"""Pooling and upsampling along one axis of the feature map, as matrices in an ONNX graph.

Where the image's size is known they are constants; where it is free, the graph computes them from
the size of the image that it is given. Both follow the rules of `ops.pool` and `ops.images`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from onnx import TensorProto

from pspnet_jax.exports.onnx_graph import Graph
from pspnet_jax.ops.images import bilinear_matrix


class Axis(Protocol):
  """Rows or columns of the feature map, `side` of them."""

  def cells(self, bins: int) -> list[tuple[str, str]]:
    """Where each cell of a grid begins and ends: int64 [1] each."""

  def means(self, bins: Sequence[int]) -> str:
    """The matrix that takes the means of all grids' cells, one below the other: [sum(b), side]."""

  def taps(self, bins: int, align_corners: bool) -> str:
    """The interpolation from a grid to the row above, at and below each: [side, 3 b].

    Outside the map it is zero, which is the padding of the convolution that it stands for
    (docs/design/0002-split-head.md).
    """


class FixedAxis:
  """An axis of known length; see `Axis`."""

  def __init__(self, graph: Graph, side: int):
    self._graph, self._side = graph, side

  def cells(self, bins: int) -> list[tuple[str, str]]:
    ints = self._graph.ints
    return [(ints(start), ints(stop)) for start, stop in self._cells(bins)]

  def means(self, bins: Sequence[int]) -> str:
    matrix = np.zeros((sum(bins), self._side), np.float32)
    cells = [cell for b in bins for cell in self._cells(b)]
    for row, (start, stop) in zip(matrix, cells, strict=True):
      row[start:stop] = 1 / (stop - start)
    return self._graph.constant(matrix)

  def taps(self, bins: int, align_corners: bool) -> str:
    matrix = np.pad(bilinear_matrix(bins, self._side, align_corners), ((1, 1), (0, 0)))
    shifted = [matrix[k : k + self._side] for k in range(3)]
    return self._graph.constant(np.concatenate(shifted, 1).astype(np.float32))

  def _cells(self, bins: int) -> list[tuple[int, int]]:
    side = self._side
    return [(i * side // bins, -(-(i + 1) * side // bins)) for i in range(bins)]


class FreeAxis:
  """An axis whose length is a value of the graph, int64 [1]; see `Axis`."""

  def __init__(self, graph: Graph, side: str):
    self._graph, self._side = graph, side
    zero, one = (graph.constant(np.array(x, np.int64)) for x in (0, 1))
    length = graph.add('Squeeze', side, graph.ints(0))
    self._index = graph.add('Range', zero, length, one)  # [side]

  def cells(self, bins: int) -> list[tuple[str, str]]:
    g = self._graph
    starts, stops = self._ends(bins)
    return [
      (
        g.add('Slice', starts, g.ints(i), g.ints(i + 1), g.ints(0)),
        g.add('Slice', stops, g.ints(i), g.ints(i + 1), g.ints(0)),
      )
      for i in range(bins)
    ]

  def means(self, bins: Sequence[int]) -> str:
    g, rows = self._graph, []
    for b in bins:
      starts, stops = (g.add('Unsqueeze', x, g.ints(1)) for x in self._ends(b))  # [b, 1] each
      within = g.add(
        'And',
        g.add('GreaterOrEqual', self._index, starts),
        g.add('Less', self._index, stops),
      )  # [b, side]
      counts = g.add('Cast', g.add('Sub', stops, starts), to=TensorProto.FLOAT)
      rows.append(g.add('Div', g.add('Cast', within, to=TensorProto.FLOAT), counts))
    return g.add('Concat', *rows, axis=0)

  def taps(self, bins: int, align_corners: bool) -> str:
    g = self._graph

    def number(*values: float) -> str:
      return g.constant(np.array(values, np.float32))

    column = g.add('Unsqueeze', self._index, g.ints(1))  # [side, 1]
    row = g.add('Add', column, g.ints(-1, 0, 1))  # [side, 3], from -1 to side
    inside = g.add('And', g.add('GreaterOrEqual', row, g.ints(0)), g.add('Less', row, self._side))
    row, inside = (g.add('Cast', x, to=TensorProto.FLOAT) for x in (row, inside))
    if align_corners:
      intervals = g.add('Max', g.add('Sub', self._side, g.ints(1)), g.ints(1))
      step = g.add('Div', number(bins - 1), g.add('Cast', intervals, to=TensorProto.FLOAT))
      position = g.add('Mul', row, step)
    else:
      step = g.add('Div', number(bins), g.add('Cast', self._side, to=TensorProto.FLOAT))
      middle = g.add('Mul', g.add('Add', row, number(0.5)), step)
      position = g.add('Sub', middle, number(0.5))
    position = g.add('Min', g.add('Max', position, number(0)), number(bins - 1))
    # The weight of a cell falls from 1 at its centre to 0 at its neighbours'.
    apart = g.add('Sub', g.add('Unsqueeze', position, g.ints(2)), number(*range(bins)))
    weight = g.add('Relu', g.add('Sub', number(1), g.add('Abs', apart)))  # [side, 3, b]
    weight = g.add('Mul', weight, g.add('Unsqueeze', inside, g.ints(2)))
    return g.add('Reshape', weight, g.ints(-1, 3 * bins))

  def _ends(self, bins: int) -> tuple[str, str]:
    """Where the cells of a grid begin and end: int64 [b] each."""
    g = self._graph
    firsts = g.add('Mul', g.ints(*range(bins)), self._side)
    lasts = g.add('Mul', g.ints(*range(1, bins + 1)), self._side)
    up = g.add('Add', lasts, g.ints(bins - 1))
    return g.add('Div', firsts, g.ints(bins)), g.add('Div', up, g.ints(bins))
