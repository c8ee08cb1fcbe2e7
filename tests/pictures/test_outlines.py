"""Lines between classes are seen, and are no wider than they need be."""

import numpy as np

from pspnet_jax.pictures import outlines


def test_lines_are_white_on_dark_pictures_and_black_on_bright_ones():
  label = np.zeros((40, 40), np.uint8)
  label[20:] = 1
  for grey, ink in ((30, 255), (220, 0)):
    picture = np.full((40, 40, 3), grey, np.uint8)
    lined = outlines.draw(picture, label)
    assert (lined[19] == ink).all() and (np.delete(lined, 19, 0) == grey).all()
    assert (picture == grey).all()  # as it was
    assert (outlines.draw(picture, label, 0) == grey).all()


def test_one_class_has_no_lines():
  picture = np.full((9, 9, 3), 30, np.uint8)
  np.testing.assert_array_equal(outlines.draw(picture, np.ones((9, 9), np.uint8)), picture)


def test_lines_widen_with_the_picture():
  assert [outlines.line_width((side, side)) for side in (1, 500, 1400, 100_000)] == [1, 1, 2, 12]
  label = np.zeros((1400, 1400), np.uint8)
  label[:, 700:] = 1
  picture = np.full((1400, 1400, 3), 30, np.uint8)
  assert (outlines.draw(picture, label)[700] == 255).all(-1).sum() == 2
