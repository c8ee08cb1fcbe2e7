"""Sizes within a box."""

import pytest

from pspnet_jax.data.sizes import fit_size


@pytest.mark.parametrize(
  ('size', 'box', 'fits'),
  [
    ((512, 683), (2048, 512), (512, 683)),  # short side to short side
    ((683, 512), (2048, 512), (683, 512)),  # the box turns with the image
    ((300, 3000), (2048, 512), (205, 2048)),  # the long side is the limit
    ((1024, 2048), (512, 1024), (512, 1024)),  # the order of the box's sides does not matter
    ((1, 3000), (100, 100), (1, 100)),  # never less than a pixel
    ((3, 3), (5, 4), (4, 4)),
  ],
)
def test_the_largest_size_of_the_same_shape(size, box, fits):
  assert fit_size(size, box) == fits
