"""Images cut into tiles, and what is made of all tiles put together."""

import numpy as np
import pytest

from pspnet_jax.inference import tiled


def piece(size):
  return 8, 8


@pytest.mark.parametrize('most', [10**6, 600, 64])
def test_what_is_cut_is_joined(most):
  rng = np.random.default_rng(0)
  images = [rng.integers(0, 255, (*size, 3), np.uint8) for size in ((40, 30), (7, 90), (1, 1))]
  tiles = list(tiled.cut(enumerate(images), piece, most))
  for tile in tiles:
    assert tile.size[0] * tile.size[1] <= most
    assert tile.canvas((200, 1)) == (256, 128)
  results = ((tile, np.pad(tile.image[tile.region], [(0, 5), (0, 9), (0, 0)])) for tile in tiles)
  found = list(tiled.joined(results))
  assert [tag for tag, _ in found] == [0, 1, 2]
  for image, (_, joined) in zip(images, found, strict=True):
    height, width, _ = image.shape
    np.testing.assert_array_equal(joined[:height, :width], image)
