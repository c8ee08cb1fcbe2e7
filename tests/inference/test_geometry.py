"""Where windows lie, and how their scores find their way back to the image."""

import cv2
import numpy as np
import pytest

from pspnet_jax.inference.geometry import Axis, matlab_taps, resize_image, window_starts
from pspnet_jax.ops.images import bilinear_taps


def as_matrix(taps, size_in):
  index, weight = taps
  matrix = np.zeros((len(index), size_in))
  np.add.at(matrix, (np.arange(len(index))[:, None], index), weight)
  return matrix


def test_window_starts_cover_and_end_flush():
  assert window_starts(473, 473, 2 / 3) == [0]
  assert window_starts(474, 473, 2 / 3) == [0, 1]
  assert window_starts(2048, 713, 2 / 3) == [0, 476, 952, 1335]
  for size in range(33, 200):
    starts = window_starts(size, 33, 2 / 3)
    covered = set().union(*(range(s, s + 33) for s in starts))
    assert covered == set(range(size))


def test_matlab_taps_are_the_identity_at_the_same_size():
  np.testing.assert_array_equal(as_matrix(matlab_taps(7, 7), 7), np.eye(7))


def test_matlab_enlarges_like_everyone_and_averages_where_it_shrinks():
  inner = slice(2, -2)  # at the edges MATLAB mirrors, and OpenCV repeats
  larger, plain = (
    as_matrix(f(8, 16), 8) for f in (matlab_taps, lambda *s: bilinear_taps(*s, False))
  )
  np.testing.assert_allclose(larger[inner], plain[inner], atol=1e-15)
  halved = as_matrix(matlab_taps(8, 4), 8)
  # A triangle of width 4: an eighth, three eighths and back around the middle of two pixels.
  np.testing.assert_allclose(halved[1, 1:5], np.array([1, 3, 3, 1]) / 8, atol=1e-15)


def test_float_pixels_are_not_rounded_and_uint8_are():
  image = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
  exact = resize_image(image, (9, 5), 'float')
  assert exact.dtype == np.float32 and not np.array_equal(exact, np.round(exact))
  rounded = resize_image(image, (9, 5), 'uint8')
  np.testing.assert_array_equal(rounded, cv2.resize(image, (5, 9)))
  assert resize_image(image, (6, 8), 'matlab') is image


@pytest.mark.parametrize('blend', [False, True])
@pytest.mark.parametrize('mirrored', [False, True])
@pytest.mark.parametrize(
  ('size', 'scaled', 'window', 'padding'),
  [(50, 70, 33, 'centre'), (50, 20, 33, 'centre'), (50, 20, 33, 'end'), (50, 20, 33, 'none')],
)
def test_the_parts_of_all_windows_are_their_mean_resized(
  size, scaled, window, padding, mirrored, blend
):
  taps = bilinear_taps(scaled, size, False)
  axis = Axis(size, scaled, window, 2 / 3, padding, taps, mirrored, blend)
  rng = np.random.default_rng(0)
  scores = {start: rng.normal(size=axis.window) for start in axis.starts}
  total, count = np.zeros(axis.inner), np.zeros(axis.inner)
  middle = np.arange(axis.window) + 0.5
  weight = np.sin(np.pi * middle / axis.window) ** 2 if blend else np.ones(axis.window)
  for start, part in scores.items():
    total[start : start + axis.window] += weight * part
    count[start : start + axis.window] += weight
  mean = (total / count)[axis.offset : axis.offset + scaled]
  expected = as_matrix(bilinear_taps(scaled, size, False), scaled) @ mean
  expected = expected[::-1] if mirrored else expected

  found = np.zeros(size)
  for first, stop in ((0, 30), (30, size)):  # in two tiles
    canvas = np.zeros(64)
    for start in axis.starts_within(first, stop):
      piece = axis.piece(start, first, stop, axis.longest, len(canvas))
      values = (scores[start][piece.index] * piece.weight).sum(1)
      canvas[piece.position : piece.position + axis.longest] += values
    found[first:stop] = canvas[: stop - first]
  np.testing.assert_allclose(found, expected, atol=1e-6)  # weights are float32


def joined(axis, scores):
  """What comes of windows whose scores are constants."""
  found = np.zeros(200)
  for start, score in zip(axis.starts, scores, strict=True):
    piece = axis.piece(start, 0, 200, axis.longest, 200)
    found[piece.position : piece.position + axis.longest] += piece.weight.sum(1) * score
  return found


@pytest.mark.parametrize('stride', [1 / 3, 2 / 3, 0.9])
def test_blended_windows_of_one_score_give_that_score_and_others_no_step(stride):
  taps = np.arange(200)[:, None], np.ones((200, 1))
  plain, blended = (
    Axis(200, 200, 60, stride, 'centre', taps, blend=blend) for blend in (False, True)
  )
  count = len(plain.starts)
  assert plain.starts == blended.starts and count > 2
  for axis in (plain, blended):  # float32 adds up to 1
    np.testing.assert_allclose(joined(axis, [0.7] * count), 0.7, atol=1e-6)
  scores = np.arange(count) % 2
  steps = [abs(np.diff(joined(axis, scores))).max() for axis in (plain, blended)]
  assert steps[0] > 0.3 and steps[1] < 0.7 * steps[0]
