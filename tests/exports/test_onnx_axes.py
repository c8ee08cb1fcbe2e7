"""The matrices of a free axis, computed in the graph, are those of a fixed one."""

import numpy as np
import pytest

from pspnet_jax.ops.images import bilinear_matrix

onnx_graph = pytest.importorskip('pspnet_jax.exports.onnx_graph')
from pspnet_jax.exports.onnx_axes import FixedAxis, FreeAxis  # noqa: E402

BINS = (1, 2, 3, 6)


def matrices(side, free, align_corners):
  """Means and taps, and the borders of cells, as onnx's own evaluator computes them."""
  from onnx.reference import ReferenceEvaluator

  graph = onnx_graph.Graph()
  graph.input('side', 'uint8', (1,))
  known = graph.add('Cast', 'side', to=7)  # int64
  axis = FreeAxis(graph, known) if free else FixedAxis(graph, side)
  values = [axis.means(BINS), *(axis.taps(b, align_corners) for b in BINS)]
  borders = [end for b in BINS for cell in axis.cells(b) for end in cell]
  joined = graph.add('Concat', *borders, axis=0)
  values.append(graph.add('Cast', joined, to=1))
  for i, value in enumerate(values):
    graph.output(value, f'out_{i}', 'float32', (None,) * (1 if value == values[-1] else 2))
  return ReferenceEvaluator(graph.model({})).run(None, {'side': np.array([side], np.uint8)})


@pytest.mark.parametrize('align_corners', [True, False])
@pytest.mark.parametrize('side', [1, 2, 7, 60])
def test_a_free_axis_is_a_fixed_one(side, align_corners):
  fixed, free = (matrices(side, kind, align_corners) for kind in (False, True))
  for a, b in zip(fixed, free, strict=True):
    assert a.shape == b.shape
    np.testing.assert_allclose(a, b, atol=1e-6)


def test_taps_are_the_rows_above_at_and_below_with_nothing_outside():
  taps = matrices(5, False, True)[2]  # of two cells
  rows = bilinear_matrix(2, 5, True)
  np.testing.assert_allclose(taps[0], [0, 0, *rows[0], *rows[1]])
  np.testing.assert_allclose(taps[4], [*rows[3], *rows[4], 0, 0])
