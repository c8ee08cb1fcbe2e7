"""Views of an image, and the tiles it is done in."""

import dataclasses

import numpy as np
import pytest

from pspnet_jax.data.spec import DatasetSpec
from pspnet_jax.inference.card import Card
from pspnet_jax.inference.protocol import CAFFE, MMSEG, PLAIN, SEMSEG
from pspnet_jax.inference.views import make_views, rounded, tiles

SPEC = DatasetSpec(('a', 'b'), ((0, 0, 0), (1, 1, 1)))
CARD = Card(network={'num_classes': 2}, spec=SPEC, crop_size=(33, 41), mean=(10.4, 20.0, 30.6))


def views(size, protocol, **changes):
  return list(make_views(size, dataclasses.replace(CARD, protocol=protocol, **changes)))


def test_tiles_cover_the_image_within_the_limit():
  for size in [(100, 100), (99, 1000), (1000, 99), (3000, 2000)]:
    for most in (10_000, 50_000, 10**7):
      covered = np.zeros(size, np.uint8)
      for region in tiles(size, (64, 64), most):
        assert covered[region].size <= most
        covered[region] += 1
      assert (covered == 1).all()


def test_tiles_are_no_smaller_than_a_window_needs():
  assert len(tiles((100, 100), (64, 64), most=1)) == 4
  assert len(tiles((7, 90), (8, 8), most=64)) == 12  # nine wide, one more tile would be no smaller


def test_sizes_are_rounded_up_to_few():
  assert [rounded(size) for size in (1, 64, 65, 128)] == [64, 64, 128, 128]


def test_every_scale_is_a_view_and_so_is_its_mirror_image_if_images_are_mirrored():
  scales = SEMSEG.changed(base_size=(60,), scales=(0.5, 1.0))
  assert [(v.size, v.mirrored) for v in views((40, 60), scales)] == [
    ((20, 30), False),
    ((40, 60), False),  # flips are of each window there
  ]
  boxed = MMSEG.changed(base_size=(60, 60), flip=True)
  assert [(v.size, v.mirrored) for v in views((40, 60), boxed)] == [
    ((40, 60), False),
    ((40, 60), True),
  ]


def test_a_small_image_lies_in_the_middle_of_mean_pixels():
  image = np.full((21, 31, 3), 200, np.uint8)
  [view] = views((21, 31), PLAIN)
  card = dataclasses.replace(CARD, protocol=PLAIN)
  padded = view.prepare(image, card)
  assert padded.shape == (33, 41, 3) and (padded[6:27, 5:36] == 200).all()
  assert view.inside(0, 0) == [6, 27, 5, 36]
  np.testing.assert_array_equal(view.padding(card), np.float32(CARD.mean))
  assert (padded == 200).all(-1).sum() == 21 * 31


@pytest.mark.parametrize(
  ('base', 'corner'),
  [(29, (10.4, 20.0, 30.6)), (59, (10, 20, 31))],  # one window, several: see View.padding
)
def test_caffe_pads_at_the_end_and_rounds_the_mean_of_large_images(base, corner):
  protocol = CAFFE.changed(base_size=(base,))
  card = dataclasses.replace(CARD, protocol=protocol, crop_size=(33, 33))
  view, _ = next(make_views((20, 60), card)), None
  padded = view.prepare(np.full((20, 60, 3), 200, np.uint8), card)
  assert padded.shape[0] == 33 and (padded[0, 0] == 200).all()
  _, bottom, _, right = view.inside(0, padded.shape[1] - 33)
  assert bottom == view.size[0] < 33 and right == 33 - (padded.shape[1] - view.size[1])
  np.testing.assert_allclose(view.padding(card), corner, rtol=1e-6)


def test_windows_are_all_image_but_at_its_borders():
  [view] = views((21, 100), PLAIN)  # windows of 33×41 begin at 0, 28, 56 and 59
  assert view.inside(0, 28) == [6, 27, 0, 41]


@pytest.mark.parametrize(('protocol', 'whole'), [(SEMSEG, False), (CAFFE, True), (MMSEG, True)])
def test_pixels_are_whole_numbers_where_the_rule_rounds_or_nothing_is_resized(protocol, whole):
  image = np.full((40, 60, 3), 77, np.uint8)
  for base in (60, 50):
    sides = (base,) * len(protocol.base_size)
    [view] = views((40, 60), protocol.changed(base_size=sides))
    card = dataclasses.replace(CARD, protocol=protocol.changed(base_size=sides))
    is_resized = view.size != (40, 60)
    expected = np.uint8 if whole or not is_resized else np.float32
    assert view.prepare(image, card).dtype == expected


def test_a_mirrored_view_is_cut_from_the_mirror_image():
  image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
  protocol = MMSEG.changed(base_size=(60, 60), flip=True)
  _, mirrored = views((40, 60), protocol)
  card = dataclasses.replace(CARD, protocol=protocol)
  np.testing.assert_array_equal(mirrored.prepare(image, card), image[:, ::-1])


def test_windows_of_a_region_are_those_that_reach_it():
  [view] = views((100, 41), PLAIN)  # windows begin at 0, 22, 44, 66 and 67 of the height
  rows, columns = view.place((slice(0, 20), slice(0, 41)), (64, 64))
  assert [start for start, _ in rows] == [0] and [start for start, _ in columns] == [0]
  rows, _ = view.place((slice(90, 100), slice(0, 41)), (64, 64))
  assert [start for start, _ in rows] == [66, 67]
