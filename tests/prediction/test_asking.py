"""Only what is asked for is computed and brought from the device."""

import numpy as np
import pytest

from pspnet_jax.inference.ensemble import Prediction
from pspnet_jax.prediction.asking import Asked


class Model:
  """Says what it was asked."""

  def __init__(self):
    self.calls = []

  def stream(self, images):
    self.calls.append('labels')
    for tag, _ in images:
      yield tag, np.zeros((1, 2), np.uint8)

  def predictions(self, images, *, probabilities, members):
    self.calls.append((probabilities, members))
    for tag, _ in images:
      label, confidence = np.zeros((1, 2), np.uint8), np.float32([[0.625, 0.6249]])
      yield tag, Prediction(label, confidence, None, (label, label) if members else ())


@pytest.mark.parametrize(
  ('asked', 'call'),
  [
    (Asked(('labels', 'overlays'), areas=True), 'labels'),
    (Asked(('labels', 'side_by_side'), titles=['a']), 'labels'),
    (Asked(('labels', 'confidence')), (False, False)),
    (Asked(('labels',), min_confidence=0.5), (False, False)),
    (Asked(('labels', 'probabilities')), (True, False)),
    (Asked(('side_by_side',), titles=['a', 'b']), (False, True)),
  ],
)
def test_what_the_network_is_asked_for(asked, call):
  model = Model()
  assert [tag for tag, _ in asked.answers(model, [('x', None), ('y', None)])] == ['x', 'y']
  assert model.calls == [call]


def test_a_pixel_as_sure_as_the_threshold_keeps_its_class():
  asked = Asked(('labels',), min_confidence=0.625)
  [(_, answer)] = asked.answers(Model(), [('x', None)])
  assert answer.label.tolist() == [[0, 255]] and answer.label.dtype == np.uint8


def test_members_go_by_their_titles():
  asked = Asked(('side_by_side',), titles=['a', 'b'])
  [(_, answer)] = asked.answers(Model(), [('x', None)])
  assert [title for title, _ in answer.members] == ['a', 'b']
