"""Pixels are counted by label and prediction."""

import numpy as np

from pspnet_jax.evaluation.official.counts import Counts, count_pixels


def test_pixels_are_counted_one_by_one():
  rng = np.random.default_rng(0)
  label, prediction = rng.integers(0, 34, (2, 40, 50)).astype(np.uint8)
  expected = np.zeros((34, 34), np.int64)
  np.add.at(expected, (label, prediction), 1)
  np.testing.assert_array_equal(count_pixels(label, prediction, 34), expected)


def test_256_ids_do_not_overflow():
  label = np.array([[255, 255, 0]], np.uint8)
  counts = count_pixels(label, np.array([[255, 0, 255]], np.uint8), 256)
  assert counts[255, 255] == counts[255, 0] == counts[0, 255] == 1 and counts.sum() == 3


def test_labels_beyond_the_ids_count_for_nothing():
  label = np.array([[0, 255], [15, 255]], np.uint8)
  right, other = np.array([[0, 3], [15, 15]], np.uint8), np.array([[0, 0], [15, 7]], np.uint8)
  [a, b] = (count_pixels(label, x, 21) for x in (right, other))
  np.testing.assert_array_equal(a, b)
  assert a.sum() == a[0, 0] + a[15, 15] == 2


def test_sums_keep_instances_only_if_all_images_have_them():
  with_some, without = Counts(np.ones((2, 2)), np.ones((3, 2))), Counts(np.ones((2, 2)))
  assert (with_some + with_some).instances.tolist() == [[2, 2]] * 3
  assert (with_some + without).instances is None
  assert (with_some + without).pixels.tolist() == [[2, 2]] * 2
