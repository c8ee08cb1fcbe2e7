"""What polygons and run lengths cover."""

import numpy as np
import pytest

from pspnet_jax.data.builders.outlines import fill, run_lengths, union, unroll
from pspnet_jax.errors import UserError

SIZE = 6, 8  # height, width


def covered(points, size=SIZE):
  mask = np.zeros(size, int)
  patch = fill(np.array(points, float), size, 'shape')
  patch.of(mask)[patch.mask] = 1
  return mask


def rows(text):
  return np.array([[int(x) for x in line] for line in text.split()])


def test_a_box_covers_the_pixels_between_its_sides():
  expected = np.zeros(SIZE, int)
  expected[1:3, 2:5] = 1
  np.testing.assert_array_equal(covered([(2, 1), (5, 1), (5, 3), (2, 3)]), expected)
  np.testing.assert_array_equal(covered([(2, 3), (5, 3), (5, 1), (2, 1)]), expected)  # backwards
  # A side that does not reach the centre of a pixel does not take it; one that does, does.
  np.testing.assert_array_equal(covered([(1.6, 0.6), (5.4, 0.6), (5.4, 3.4), (1.6, 3.4)]), expected)


def test_neighbours_share_no_pixel_and_leave_none():
  left = covered([(0, 0), (3.7, 0), (2.2, 6), (0, 6)])
  right = covered([(3.7, 0), (8, 0), (8, 6), (2.2, 6)])
  np.testing.assert_array_equal(left + right, np.ones(SIZE))


def test_a_triangle_by_hand():
  np.testing.assert_array_equal(
    covered([(0, 0), (6, 0), (0, 6)], (6, 6)), rows('111110 111100 111000 110000 100000 000000')
  )


def test_where_an_outline_crosses_itself_the_even_odd_rule_holds():
  ring = [(0, 0), (6, 0), (6, 6), (0, 6), (0, 0), (2, 2), (2, 4), (4, 4), (4, 2), (2, 2)]
  expected = np.ones((6, 6), int)
  expected[2:4, 2:4] = 0
  np.testing.assert_array_equal(covered(ring, (6, 6)), expected)


@pytest.mark.parametrize('seed', range(5))
def test_centres_decide_as_in_a_test_of_each_point(seed):
  points = np.random.default_rng(seed).uniform(-3, 12, (7, 2))
  expected = np.zeros(SIZE, int)
  for y, x in np.ndindex(SIZE):  # a ray to the left crosses an odd number of edges
    for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, 0), strict=True):
      if (y0 > y + 0.5) != (y1 > y + 0.5):
        expected[y, x] ^= x0 + (y + 0.5 - y0) * (x1 - x0) / (y1 - y0) <= x + 0.5
  np.testing.assert_array_equal(covered(points), expected)


def test_what_is_outside_is_cut_off_and_what_has_no_area_covers_nothing():
  np.testing.assert_array_equal(covered([(-9, -9), (99, -9), (99, 99), (-9, 99)]), np.ones(SIZE))
  for points in ([(9, 1), (20, 1), (20, 5)], [(1, 1), (5, 5)], [(2, 2)], [(1, 2), (7, 2), (3, 2)]):
    assert not covered(points).any()


def test_an_outline_that_is_none_is_refused(monkeypatch):
  for value in (np.nan, np.inf, 1e9):
    with pytest.raises(UserError, match='shape has points that are no places in a picture'):
      covered([(0, 0), (value, 0), (0, 3)])
  monkeypatch.setattr('pspnet_jax.data.builders.outlines._LONGEST', 9)
  with pytest.raises(UserError, match='shape has an outline of more than 9 rows'):
    covered([(0, 0), (8, 6)] * 5)


def test_several_parts_are_one_shape():
  boxes = [np.array([(x, 0), (x + 2, 0), (x + 2, 1), (x, 1)]) for x in (0, 1, 6)]
  patches = [fill(box, (1, 8), 'shape') for box in boxes]
  assert union(patches, (1, 8)).mask.tolist() == [[True] * 3 + [False] * 3 + [True] * 2]
  assert union([], SIZE).area == 0


def test_run_lengths_go_down_the_columns():
  patch = unroll([2, 3, 1, 0, 2, 4], (3, 4), 'shape')
  np.testing.assert_array_equal(patch.mask.astype(int), rows('0101 0101 1011'))


@pytest.mark.parametrize('runs', [[2, 3], [13], [-1, 13], [], [2, 3, 8]])
def test_run_lengths_of_another_size_are_refused(runs):
  with pytest.raises(UserError, match='another size than its image, 4x3'):
    unroll(runs, (3, 4), 'shape')


def compressed(runs):
  """As COCO's C code writes them."""
  text = ''
  for i, run in enumerate(runs):
    value = run - (runs[i - 2] if i > 2 else 0)
    while True:
      bits = value & 31
      value >>= 5
      more = value != -1 if bits & 16 else value != 0
      text += chr((bits | 32 if more else bits) + 48)
      if not more:
        break
  return text


def test_compressed_run_lengths_by_hand():
  # 6 = 0b000110 -> chr(54); 40 = 1 * 32 + 8 -> 8 with more to come, 1; 4 - 40 = -36 and so on.
  assert run_lengths('6', '') == [6]
  assert run_lengths('X1', '') == [40]
  assert run_lengths('1234', '') == [1, 2, 3, 6]


def test_compressed_run_lengths_come_back():
  rng = np.random.default_rng(0)
  for _ in range(50):
    runs = [int(run) for run in rng.integers(0, 10 ** rng.integers(1, 7), 12)]
    assert run_lengths(compressed(runs), '') == runs


def test_letters_that_are_no_run_lengths_are_refused():
  for text in ('\x00', 'ä', '~' * 3, 'o' * 30):
    with pytest.raises(UserError, match='shape has run lengths that cannot be read'):
      run_lengths(text, 'shape')
