"""Where tiles lie, by tables that were worked out by hand from mmsegmentation's rule."""

import pytest

from pspnet_jax.data.builders.tiles import Tile, starts, tiles_of

# Positions of tiles of 512 that lie 512 apart; those of ISPRS' images that are wide or high.
OF_512 = {
  512: [0],
  513: [0, 1],
  1024: [0, 512],
  1281: [0, 512, 769],
  1919: [0, 512, 1024, 1407],
  2569: [0, 512, 1024, 1536, 2048, 2057],
  3816: [0, 512, 1024, 1536, 2048, 2560, 3072, 3304],
  6000: [0, 512, 1024, 1536, 2048, 2560, 3072, 3584, 4096, 4608, 5120, 5488],
}
# Those of 896 that lie 512 apart.
OF_896 = {
  1: [0],
  895: [0],
  896: [0],
  897: [0, 1],
  1408: [0, 512],
  1409: [0, 512, 513],
  1920: [0, 512, 1024],
  4000: [0, 512, 1024, 1536, 2048, 2560, 3072, 3104],
}


@pytest.mark.parametrize('length', OF_512)
def test_tiles_of_isprs_begin_where_its_rule_says(length):
  assert starts(length, 512, 512) == OF_512[length]


@pytest.mark.parametrize('length', OF_896)
def test_tiles_of_isaid_begin_where_its_rule_says(length):
  assert starts(length, 896, 512) == OF_896[length]


def test_tiles_come_row_by_row_and_none_reaches_beyond_the_image():
  assert tiles_of((600, 1100), 512, 512) == [
    Tile(0, 512, 0, 512),
    Tile(0, 512, 512, 1024),
    Tile(0, 512, 588, 1100),
    Tile(88, 600, 0, 512),
    Tile(88, 600, 512, 1024),
    Tile(88, 600, 588, 1100),
  ]


def test_the_published_numbers_of_tiles():
  """38 images of Potsdam are of 6000x6000; the sizes of Vaihingen are ISPRS'."""
  assert 24 * len(tiles_of((6000, 6000), 512, 512)) == 3_456
  assert 14 * len(tiles_of((6000, 6000), 512, 512)) == 2_016
  train = [(2569, 1919), (2566, 1893), (2558, 2818), (2565, 1919), (1281, 2336), (2546, 1903)]
  train += [(2546, 1903), (1783, 2995), (2567, 1917), (3007, 2006), (2563, 1934), (2555, 1980)]
  train += [(2555, 1388), (1995, 1996), (2557, 1887), (2557, 1887)]
  val = [(2557, 1887), (2546, 1903), (1884, 2805), (2565, 1919), (2565, 1919), (2546, 1903)]
  val += [(2557, 1887), (2557, 1887), (2767, 2428), (2315, 1866), (2557, 1887), (2555, 1980)]
  val += [(2555, 1581), (3313, 1917), (2550, 3816), (2575, 1922), (2563, 1917)]
  for sizes, count in ((train, 344), (val, 398)):
    assert sum(len(tiles_of(size, 512, 512)) for size in sizes) == count
