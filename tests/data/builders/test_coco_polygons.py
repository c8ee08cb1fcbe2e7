"""COCO's own rule for what a polygon covers: by hand, as golden values, and against pycocotools."""

import numpy as np
import pytest

from pspnet_jax.data.builders import outlines
from pspnet_jax.data.builders.coco_polygons import fill
from pspnet_jax.data.builders.outlines import run_lengths, unroll
from pspnet_jax.errors import UserError

SIZE = 20, 30  # height, width

# Made with pycocotools 2.0.11: each is frPyObjects([points], 20, 30)[0]['counts'].
GOLDEN = [
  ([2, 3, 9, 3, 9, 12, 2, 12], '[19;00000000000Q='),
  ([2.4, 3.6, 9.3, 3.6, 9.3, 12.7, 2.4, 12.7], '\\19;00000000000P='),
  (
    [1.13, 17.92, 14.71, 0.55, 28.44, 18.31],
    'h12a01O1N2O1O1O1N2O1O1N2O1O1002N1O1O2N1O1O2N1O1O2N1O1Og0',
  ),
  (
    [-6.5, 4.25, 12.07, -3.31, 36.2, 9.99, 15.5, 24.75],
    '1::1O0O2O1O1O1O1O1O1OQ50oJ001O001N2N101N1O2N10J',
  ),
  (
    [3.05, 2.51, 25.3, 17.8, 25.3, 2.51, 3.05, 17.8],
    'o1>7O0O2N2O0O2N2O0O2N2Oc01\\O1N1O2O1N1O2O1N1O2P3',
  ),
  ([5, 5, 5, 5, 20.5, 5.49, 20.5, 5.51, 5, 5.3], 'Y81c00000000000000_5'),
  ([8.5, 1.5, 11.5, 19, 8.5, 19, 11.5, 1.5, 8.5, 1.5], 'f5570L120>Kf:'),
]


def covered(points, size=SIZE):
  mask = np.zeros(size, int)
  patch = fill(np.array(points, float).reshape(-1, 2), size, 'shape')
  patch.of(mask)[patch.mask] = 1
  return mask


@pytest.mark.parametrize(('points', 'counts'), GOLDEN)
def test_covers_what_pycocotools_does(points, counts):
  expected = unroll(run_lengths(counts, ''), SIZE, '')
  np.testing.assert_array_equal(covered(points), expected.mask)


@pytest.mark.parametrize('seed', range(8))
def test_any_polygon_is_the_same_as_by_pycocotools(seed):
  reference = pytest.importorskip('pycocotools.mask', reason='compares with pycocotools')
  rng = np.random.default_rng(seed)
  for _ in range(50):
    height, width = size = tuple(int(n) for n in rng.integers(1, 80, 2))
    points = np.round(rng.uniform(-9, 89, (int(rng.integers(3, 20)), 2)), int(rng.integers(0, 3)))
    points[-1] = points[rng.integers(len(points))]  # an edge of no length, or a corner met twice
    [runs] = reference.frPyObjects([points.ravel().tolist()], height, width)
    np.testing.assert_array_equal(covered(points, size), reference.decode(runs))


def test_it_is_not_the_rule_of_the_centres():
  points = np.array(GOLDEN[2][0]).reshape(-1, 2)
  by_centres = outlines.fill(points, SIZE, 'shape').area
  assert (int(covered(points).sum()), by_centres) == (236, 237)


def test_what_has_no_area_or_lies_outside_covers_nothing():
  for points in ([1, 1, 5, 5], [2, 2], [3, 1, 3, 9, 3, 4], [40, 1, 50, 1, 50, 9], [-9, -9, -1, -9]):
    assert not covered(points).any()
  assert covered([-99, -99, 99, -99, 99, 99, -99, 99]).all()


def test_an_outline_that_is_none_is_refused(monkeypatch):
  for value in (np.nan, np.inf, 1e9):
    with pytest.raises(UserError, match='shape has points that are no places in a picture'):
      covered([0, 0, value, 0, 0, 3])
  monkeypatch.setattr('pspnet_jax.data.builders.coco_polygons._LONGEST', 99)
  with pytest.raises(UserError, match='shape has an outline of more than 99 steps'):
    covered([0, 0, 8, 6, 0, 6])
