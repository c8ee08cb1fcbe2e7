"""A part of a warped image is that part of the whole warped image."""

import cv2
import numpy as np
import pytest

from pspnet_jax.data.warp import Canvas, warp_image, warp_label

RNG = np.random.default_rng(0)
IMAGE = cv2.resize(RNG.integers(0, 256, (9, 11, 3), np.uint8), (55, 45))
LABEL = RNG.integers(0, 5, (45, 55), np.uint8)
MEAN = (123.0, 116.0, 103.0)
CANVASES = {
  'same': Canvas(45, 55, (1.0, 1.0), 0.0),
  'larger': Canvas(72, 83, (72 / 45, 83 / 55), 0.0),
  'smaller': Canvas(30, 31, (30 / 45, 31 / 55), 0.0),
  'rotated': Canvas(72, 83, (72 / 45, 83 / 55), 9.5),
}


@pytest.mark.parametrize('blur', [False, True])
@pytest.mark.parametrize('canvas', CANVASES.values(), ids=CANVASES)
def test_parts_equal_the_whole(canvas, blur):
  options = {'colour': MEAN, 'blur': blur}
  rows, columns = range(canvas.height), range(canvas.width)
  whole = warp_image(IMAGE, canvas, rows, columns, **options).astype(int)
  labels = warp_label(LABEL, canvas, rows, columns)
  for top, left in ((0, 0), (7, 11), (canvas.height - 20, canvas.width - 20)):
    part = range(top, top + 20), range(left, left + 20)
    at = slice(top, top + 20), slice(left, left + 20)
    image = warp_image(IMAGE, canvas, *part, **options)
    assert image.dtype == np.uint8
    # OpenCV's fixed-point positions begin at another pixel: a value may be 1 off.
    assert np.abs(image - whole[at]).max() <= 1
    different = warp_label(LABEL, canvas, *part) != labels[at]
    assert different.mean() < (0.01 if canvas.angle else 1e-9)


def test_the_same_size_is_the_image_itself():
  canvas = CANVASES['same']
  rows, columns = range(5, 40), range(3, 50)
  part = warp_image(IMAGE, canvas, rows, columns, colour=MEAN, blur=False)
  np.testing.assert_array_equal(part, IMAGE[5:40, 3:50])
  np.testing.assert_array_equal(warp_label(LABEL, canvas, rows, columns), LABEL[5:40, 3:50])


def test_scaling_is_opencvs():
  canvas = CANVASES['larger']
  rows, columns = range(canvas.height), range(canvas.width)
  ours = warp_image(IMAGE, canvas, rows, columns, colour=MEAN, blur=False).astype(int)
  assert np.abs(ours - cv2.resize(IMAGE, (83, 72))).max() <= 1  # fixed-point weights differ
  nearest = cv2.resize(LABEL, (83, 72), interpolation=cv2.INTER_NEAREST)
  np.testing.assert_array_equal(warp_label(LABEL, canvas, rows, columns), nearest)


def test_rotation_uncovers_the_colour_and_what_is_ignored():
  canvas = Canvas(45, 55, (1.0, 1.0), 30.0)
  corner = range(3), range(3)
  assert (warp_image(IMAGE, canvas, *corner, colour=MEAN, blur=False) == MEAN).all()
  assert (warp_label(LABEL, canvas, *corner) == 255).all()


def test_a_blur_is_opencvs_gaussian():
  canvas = CANVASES['same']
  rows, columns = range(45), range(55)
  ours = warp_image(IMAGE, canvas, rows, columns, colour=MEAN, blur=True).astype(int)
  assert np.abs(ours - cv2.GaussianBlur(IMAGE, (5, 5), 0)).max() <= 1
