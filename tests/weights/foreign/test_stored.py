"""Arrays that are not read yet."""

import ml_dtypes
import numpy as np
import pytest

from pspnet_jax.weights.foreign.stored import StoredArray, fits, strided


def test_small_floats_become_float32_and_others_stay():
  small = np.array([1.5, -2], ml_dtypes.bfloat16)
  stored = StoredArray(small.dtype, (2,), lambda: small)
  assert stored.read().dtype == np.float32 and stored.read().tolist() == [1.5, -2]
  assert stored.nbytes == 8
  double = StoredArray(np.dtype('f8'), (2,), lambda: np.array([1.5, -2]))
  assert double.read().dtype == np.float64 and double.nbytes == 16


def test_an_array_that_was_only_announced_cannot_be_read():
  with pytest.raises(ValueError, match='without values'):
    StoredArray(np.dtype('f4'), ()).read()


@pytest.mark.parametrize(
  ('offset', 'shape', 'stride', 'wanted'),
  [
    (0, (), (), True),
    (9, (), (), True),
    (10, (), (), False),
    (0, (2, 5), (5, 1), True),
    (1, (2, 5), (5, 1), False),
    (0, (1 << 40,), (0,), True),
    (0, (0,), (1 << 40,), True),
    (0, (True,), (1,), False),
    (0, (2.0,), (1,), False),
  ],
)
def test_elements_have_to_lie_within_the_storage(offset, shape, stride, wanted):
  assert fits(offset, shape, stride, 10) is wanted


def test_strides_count_elements():
  data = np.arange(10, dtype='i2')
  found = strided(data.tobytes(), data.dtype, 1, (2, 3), (4, 1))
  np.testing.assert_array_equal(found, [[1, 2, 3], [5, 6, 7]])
  assert strided(b'', data.dtype, 0, (0, 3), (1, 1)).size == 0
