import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pspnet_jax.evaluation.metrics import Confusion, Scores


def draw(num_classes, shape=(3, 41, 37)):
  rng = np.random.default_rng(num_classes)
  label = rng.integers(0, num_classes, shape).astype(np.uint8)
  label[rng.random(shape) < 0.2] = 255
  return label, rng.integers(0, num_classes, shape).astype(np.int32)


def count_in_numpy(label, prediction, num_classes):
  matrix = np.zeros((num_classes, num_classes), np.int64)
  valid = label != 255
  np.add.at(matrix, (label[valid], prediction[valid]), 1)
  return matrix


@pytest.mark.parametrize('num_classes', [1, 2, 19, 150, 255])
def test_counts_match_numpy(num_classes):
  label, prediction = draw(num_classes)
  count = jax.jit(Confusion.count, static_argnums=2)
  ours = count(label, prediction, num_classes).compute()
  assert ours.dtype == np.int64
  np.testing.assert_array_equal(ours, count_in_numpy(label, prediction, num_classes))


def test_merging_is_counting_together():
  label, prediction = draw(5)
  total = Confusion.zeros(5)
  for one, other in zip(label, prediction, strict=True):
    total = total.merge(Confusion.count(one, other, 5))
  np.testing.assert_array_equal(total.compute(), count_in_numpy(label, prediction, 5))


def test_only_ignored_pixels_count_nothing():
  label = jnp.full((4, 4), 255, jnp.uint8)
  assert not Confusion.count(label, jnp.zeros((4, 4), jnp.int32), 3).compute().any()


def test_a_label_beyond_the_classes_counts_nowhere():
  label = jnp.array([0, 1, 2, 3, 254, 255], jnp.uint8)
  ours = Confusion.count(label, jnp.ones(6, jnp.int32), 2).compute()
  np.testing.assert_array_equal(ours, [[0, 1], [0, 1]])


@pytest.mark.parametrize(
  ('first', 'second'),
  [
    (2**32 - 1, 1),
    (2**32 - 1, 2**32 - 1),
    (2**32 - 10, 9),
    (5 * 2**32 - 3, 7),
    (2**53 + 1, 2**32 - 1),  # where float64 stops counting
    (0, 0),
  ],
)
def test_carry_past_32_bits(first, second):
  def number(n):
    return Confusion(
      low=jnp.full((2, 2), n & 0xFFFFFFFF, jnp.uint32), high=jnp.full((2, 2), n >> 32, jnp.uint32)
    )

  merged = jax.jit(lambda a, b: a.merge(b))(number(first), number(second))
  assert merged.low.dtype == merged.high.dtype == jnp.uint32
  np.testing.assert_array_equal(merged.compute(), np.full((2, 2), first + second))


# Rows are labels. Class 2 is neither labelled nor predicted, class 3 is predicted only.
CONFUSION = np.array([[6, 1, 0, 1], [2, 8, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
IOU = [6 / 10, 8 / 11, math.nan, 0 / 1]
ACCURACY = [6 / 8, 8 / 10, math.nan, math.nan]


def test_scores_of_each_class_by_hand():
  scores = Scores(CONFUSION)
  np.testing.assert_allclose(scores.iou, IOU)
  np.testing.assert_allclose(scores.accuracy, ACCURACY)
  np.testing.assert_array_equal(scores.label_pixels, [8, 10, 0, 0])
  np.testing.assert_array_equal(scores.predicted_pixels, [8, 9, 0, 1])


@pytest.mark.parametrize(
  ('absent', 'miou', 'macc'),
  [
    ('exclude', (6 / 10 + 8 / 11 + 0) / 3, (6 / 8 + 8 / 10) / 2),
    ('zero', (6 / 10 + 8 / 11 + 0) / 4, (6 / 8 + 8 / 10) / 4),
  ],
)
def test_means_follow_the_named_convention(absent, miou, macc):
  scores = Scores(CONFUSION, absent_classes=absent)
  assert scores.miou == pytest.approx(miou, rel=1e-15)
  assert scores.macc == pytest.approx(macc, rel=1e-15)
  assert scores.aacc == pytest.approx(14 / 18, rel=1e-15)


def test_conventions_are_those_of_semseg_and_mmseg():
  inter, label, pred = (f(CONFUSION) for f in (np.diag, lambda c: c.sum(1), lambda c: c.sum(0)))
  union = label + pred - inter
  semseg = np.mean(inter / (union + 1e-10)), np.mean(inter / (label + 1e-10))
  zero = Scores(CONFUSION, absent_classes='zero')
  np.testing.assert_allclose((zero.miou, zero.macc), semseg, rtol=1e-9)
  with np.errstate(invalid='ignore'):
    mmseg = np.nanmean(inter / union), np.nanmean(inter / label)
  exclude = Scores(CONFUSION, absent_classes='exclude')
  np.testing.assert_allclose((exclude.miou, exclude.macc), mmseg, rtol=1e-15)


@pytest.mark.parametrize('absent', ['exclude', 'zero'])
def test_nothing_counted_is_nan_without_a_warning(absent):
  scores = Scores(np.zeros((3, 3), np.int64), absent_classes=absent)
  with np.errstate(all='raise'):
    assert all(math.isnan(x) for x in (scores.miou, scores.macc, scores.aacc))
    assert np.isnan(scores.iou).all()


def test_perfect_and_large_counts():
  scores = Scores(np.diag([2**53 + 1, 1, 3]))
  assert scores.miou == scores.macc == scores.aacc == 1
  assert isinstance(scores.miou, float) and isinstance(scores.aacc, float)
