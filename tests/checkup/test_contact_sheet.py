"""A page of examples: nothing distorted, nothing cut off, what cannot be read as a frame."""

import numpy as np

from pspnet_jax.checkup import contact_sheet
from pspnet_jax.checkup.contact_sheet import Tile
from pspnet_jax.data.spec import DatasetSpec
from pspnet_jax.pictures.labels import ignore_colour

SPEC = DatasetSpec(('sky', 'road'), ((9, 9, 200), (90, 9, 9)))


RED = (230, 40, 60)  # no letter has it


def tile(height=60, width=80, text=''):
  image = np.full((height, width, 3), RED, np.uint8)
  return Tile(image, np.ones((height, width), np.uint8), 'train: a', text)


def extent(picture, colour):
  rows, columns = np.nonzero((picture == colour).all(-1))
  return np.ptp(rows) + 1, np.ptp(columns) + 1


def test_images_keep_their_shape():
  for size in ((60, 80), (60, 600), (600, 60)):
    page = contact_sheet.draw([('Look', [tile(*size, text='wrong')])], SPEC)
    height, width = extent(page, RED)
    assert abs(height / width / (size[0] / size[1]) - 1) < 0.05
    assert height <= 225 and width <= 300


def test_a_wrong_label_is_shown_by_itself_and_a_sound_one_over_the_image():
  wrong = contact_sheet.draw([('Look', [tile(text='wrong')])], SPEC)
  sound = contact_sheet.draw([('Look', [tile()])], SPEC)
  road = SPEC.palette[1]
  assert (wrong == road).all(-1).sum() > 10 * (sound == road).all(-1).sum()


def test_what_cannot_be_read_is_an_empty_frame_and_the_rest_is_shown():
  page = contact_sheet.draw(
    [('Look', [Tile(None, None, 'train: b', 'gone'), tile(text='x')])], SPEC
  )
  assert (page == (236, 236, 236)).all(-1).any() and (page == RED).all(-1).any()


def test_empty_sections_leave_no_heading():
  one = contact_sheet.draw([('Look', [tile()])], SPEC)
  two = contact_sheet.draw([('Nothing', []), ('Look', [tile()])], SPEC)
  np.testing.assert_array_equal(one, two)


def test_three_tiles_take_two_rows():
  one, three = (contact_sheet.draw([('Look', [tile()] * n)], SPEC) for n in (1, 3))
  assert three.shape[1] == one.shape[1] and three.shape[0] - one.shape[0] > 225


def test_the_legend_has_the_colour_that_ignored_pixels_have():
  spec = DatasetSpec(('night', 'snow'), ((0, 0, 0), (255, 255, 255)))  # neither is left for them
  page = contact_sheet.draw([('Look', [tile()])], spec)
  assert (page == ignore_colour(spec)).all(-1).any()
