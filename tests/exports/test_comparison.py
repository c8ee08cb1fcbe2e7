"""Whatever is not the network it was made of is noticed and refused."""

import numpy as np
import pytest

from pspnet_jax.errors import UserError
from pspnet_jax.exports.comparison import FLOAT32, NARROW, Comparison, compare

SCORES = np.array([[[[0.6, 0.4], [0.5001, 0.4999]]]], np.float32)  # [1, 1, 2, 2]
LIVE = {'labels': SCORES.argmax(-1).astype(np.uint8), 'probabilities': SCORES}


def compared(labels, scores=None):
  other = {'labels': np.array([[labels]], np.uint8)}
  if scores is not None:
    other['probabilities'] = scores
  return compare(lambda image: LIVE, lambda image: other, [np.zeros((1, 2, 3), np.uint8)])


def test_the_same_is_let_pass():
  found = compared([0, 0], SCORES)
  found.check('x.onnx')
  assert str(found) == '100.0000 % of 2 labels are equal, probabilities differ by 0 at most'


def test_a_near_tie_may_fall_the_other_way_and_is_counted():
  found = compared([0, 1])
  found.check('x.onnx')
  assert found.share == 0.5 and 1e-4 < found.shortfall < 3e-4
  assert 'the others lie within 0.0002 of the highest probability' in str(found)


@pytest.mark.parametrize('labels', [[1, 0], [7, 0], [255, 0]])
def test_another_label_is_refused(labels):
  with pytest.raises(UserError, match=r'^x\.onnx is not the network it was made of \(50\.0'):
    compared(labels).check('x.onnx')


def test_another_probability_is_refused_though_labels_are_equal():
  found = compared([0, 0], SCORES * np.float32(0.9))
  with pytest.raises(UserError, match=r'probabilities differ by 0\.06'):
    found.check('x.onnx')


@pytest.mark.parametrize(('allowed', 'spread'), [(FLOAT32, 0.1), (NARROW, 1.0)])
def test_random_labels_are_refused_where_no_class_is_likely(allowed, spread):
  rng = np.random.default_rng(0)
  scores = np.exp(spread * rng.random((1, 20, 30, 150))).astype(np.float32)
  scores /= scores.sum(-1, keepdims=True)
  live = {'labels': scores.argmax(-1).astype(np.uint8), 'probabilities': scores}
  other = {**live, 'labels': rng.integers(0, 150, (1, 20, 30)).astype(np.uint8)}
  found = Comparison(allowed)
  found.add(live, other)
  assert found.shortfall < allowed.tolerance
  with pytest.raises(UserError, match=r'% of the labels are equal or near ties; allowed are'):
    found.check('x.onnx')
  found = Comparison(allowed)
  found.add(live, live)
  found.check('x.onnx')


def test_nan_is_refused():
  with pytest.raises(UserError):
    compared([0, 0], SCORES * np.float32(np.nan)).check('x.onnx')
  nothing = {'labels': LIVE['labels'], 'probabilities': SCORES * np.nan}
  found = Comparison()
  found.add(nothing, {'labels': LIVE['labels']})
  with pytest.raises(UserError):
    found.check('x.onnx')
