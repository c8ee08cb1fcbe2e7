"""What is interpolated cell by cell is what a matrix product interpolates, at every pixel."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pspnet_jax.ops.cells import Cells, Interval
from pspnet_jax.ops.images import bilinear_matrix, resize

# Map -> image: the crops of the published networks at output stride 8, odd ones, both directions of
# one axis alone, the same size, smaller, and a single row.
SIZES = [(60, 473), (90, 713), (97, 769), (7, 50), (5, 5), (9, 4), (1, 8), (1, 1), (4, 97), (2, 3)]


@pytest.mark.parametrize('every', [1, 4])
@pytest.mark.parametrize('align_corners', [True, False])
@pytest.mark.parametrize(('size_in', 'size_out'), SIZES)
def test_an_interval_interpolates_between_its_ends(size_in, size_out, align_corners, every, x64):
  interval = Interval(size_in, size_out, align_corners, every)
  x = np.random.default_rng(0).normal(size=size_in)
  first, last = interval.ends(jnp.asarray(x), 0)
  values = first[:, None] * (1 - interval.fraction) + last[:, None] * interval.fraction
  there = interval.outputs >= 0
  assert sorted(interval.outputs[there]) == list(range(len(range(0, size_out, every))))
  found = np.empty(there.sum())
  found[interval.outputs[there]] = values[there]
  wanted = (bilinear_matrix(size_in, size_out, align_corners) @ x)[::every]
  np.testing.assert_allclose(found, wanted, atol=1e-13)
  assert ((interval.fraction >= 0) & (interval.fraction <= 1)).all()


@pytest.mark.parametrize('flat', [True, False])
@pytest.mark.parametrize('align_corners', [True, False])
def test_pixels_of_cells_are_those_of_the_resized_map(align_corners, flat, x64):
  x = np.random.default_rng(0).normal(size=(2, 5, 7, 3))
  size = (33, 52)
  cells = Cells.of((5, 7), size, align_corners=align_corners)
  values = cells.interpolated(cells.corners(jnp.asarray(x)), flat=flat)
  number = np.arange(33 * 52).reshape(1, *size) % 256  # of pixels, as far as labels go
  arranged = np.asarray(cells.arrange(jnp.asarray(np.repeat(number, 2, 0), jnp.uint8), 255))
  assert values.shape[:-1] == arranged.shape and arranged.dtype == np.uint8
  wanted = np.asarray(resize(jnp.asarray(x), size, align_corners=align_corners))
  rows, columns = cells.rows.outputs, cells.columns.outputs
  k, j = len(rows), len(columns)
  row = np.broadcast_to(rows[:, None, :, None], (k, j, rows.shape[1], columns.shape[1]))
  column = np.broadcast_to(columns[None, :, None, :], row.shape)
  row, column = (i.reshape(k, j, -1) for i in (row, column))
  there = (row >= 0) & (column >= 0)
  assert there.sum() == 33 * 52
  np.testing.assert_allclose(
    np.asarray(values)[:, there], wanted[:, row[there], column[there]], atol=1e-13
  )
  assert (arranged[:, there] == number[:, row[there], column[there]]).all()
  assert (arranged[:, ~there] == 255).all()


def test_labels_keep_every_value_and_type():
  cells = Cells.of((4, 4), (16, 16), align_corners=False)
  label = np.arange(256).reshape(1, 16, 16)
  for dtype in (np.uint8, np.int32):
    arranged = cells.arrange(jnp.asarray(label, dtype), 255)
    assert arranged.dtype == dtype
    assert sorted(set(np.asarray(arranged).ravel().tolist())) == list(range(256))


def test_cells_are_known_by_their_sizes():
  """They are static arguments: equal ones share a compiled program."""
  a, b = (Cells.of((5, 7), (33, 52), align_corners=True) for _ in range(2))
  a.corners(jnp.zeros((1, 5, 7, 1)))
  assert a == b and hash(a) == hash(b)
  assert a != Cells.of((5, 7), (33, 52), align_corners=False)


def test_nothing_is_gathered_or_scattered():
  cells = Cells.of((5, 7), (33, 52), align_corners=False)

  def total(x, label):
    return (cells.interpolated(cells.corners(x), flat=False).sum(-1) * label).sum()

  x, label = jnp.zeros((2, 5, 7, 3)), jnp.zeros((2, 33, 52), jnp.uint8)
  text = str(jax.make_jaxpr(lambda x, y: jax.grad(total)(x, cells.arrange(y, 255)))(x, label))
  assert 'gather' not in text and 'scatter' not in text
