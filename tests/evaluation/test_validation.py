"""Validation while training: the weights it takes, the scores and pictures it gives."""

import contextlib
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pspnet_jax.data.scenes import ContextScenes
from pspnet_jax.errors import BadData, Stopped, UserError
from pspnet_jax.evaluation.metrics import Scores
from pspnet_jax.evaluation.validation import Validation
from pspnet_jax.inference.card import Card
from pspnet_jax.inference.engine import Inference
from pspnet_jax.inference.protocol import PLAIN
from pspnet_jax.models.network import Network
from pspnet_jax.ops.images import normalize
from pspnet_jax.training.pixel_losses import cross_entropy
from pspnet_jax.training.state import TrainState
from tests.conftest import TINY, use_one_device

SOURCE = ContextScenes('val', size=(33, 33), length=4)
OPTIONS = {'num_classes': SOURCE.spec.num_classes, **TINY}


@pytest.fixture(scope='module')
def inference():
  card = Card(
    network=OPTIONS, spec=SOURCE.spec, crop_size=(33, 33), protocol=PLAIN.changed(window='image')
  )
  with pytest.MonkeyPatch.context() as patch:
    use_one_device(patch)
    return Inference(Network(**OPTIONS), card)


@pytest.fixture(scope='module')
def state():
  params, batch_stats = Network(**OPTIONS).init(0)
  return TrainState(jnp.int32(5), params, batch_stats, None)


def answering(state, class_id):
  """A state that answers with one class everywhere."""
  params = dict(state.params)
  bias = np.zeros(SOURCE.spec.num_classes, np.float32)
  bias[class_id] = 1e4
  params['classifier/conv/bias'] = jnp.array(bias)
  return dataclasses.replace(state, params=params)


def expected(class_id, indices=range(4)):
  confusion = np.zeros((SOURCE.spec.num_classes,) * 2, np.int64)
  for index in indices:
    label = SOURCE[index]['label']
    ids, counts = np.unique(label[label != 255], return_counts=True)
    confusion[ids, class_id] += counts
  return Scores(confusion)


def test_it_gives_the_scores_and_evenly_spread_pictures(inference, state):
  validation = Validation(inference, SOURCE, pictures=2, threads=1)
  assert validation.scores is None
  values = validation(answering(state, 2))
  scores = expected(2)
  assert {k: values[k] for k in ('val/mIoU', 'val/mAcc', 'val/aAcc')} == {
    'val/mIoU': scores.miou,
    'val/mAcc': scores.macc,
    'val/aAcc': scores.aacc,
  }
  assert [*values['val_IoU']] == list(SOURCE.spec.class_names)
  np.testing.assert_array_equal([*values['val_IoU'].values()], scores.iou)
  assert values['val/classes'].startswith('# Validation after step 5\n')
  assert all(f'\n| {name} |' in values['val/classes'] for name in SOURCE.spec.class_names)
  np.testing.assert_array_equal(validation.scores.confusion, scores.confusion)
  pictures = {k: v for k, v in values.items() if hasattr(v, 'shape')}
  assert pictures.keys() == {'val/0', 'val/2', 'val/confusion'}
  for picture in pictures.values():
    assert picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] == 3


def test_the_loss_is_the_mean_cross_entropy_of_the_networks_logits(inference, state):
  examples = [SOURCE[index] for index in range(4)]
  image, label = (jnp.stack([example[key] for example in examples]) for key in ('image', 'label'))

  @jax.jit
  def expected(image, label):
    pixels = normalize(image, inference.card.mean, inference.card.std)
    outputs, _ = Network(**OPTIONS).apply(state.params, state.batch_stats, pixels)
    return cross_entropy(outputs['logits'], label)

  values = Validation(inference, SOURCE, pictures=0, threads=1)(state)
  assert values['val/loss'] == pytest.approx(float(expected(image, label)), rel=1e-5)


def test_the_average_of_the_parameters_is_what_is_scored(inference, state):
  averaged = dataclasses.replace(answering(state, 1), ema_params=answering(state, 2).params)
  values = Validation(inference, SOURCE, pictures=0, threads=1)(averaged)
  assert values['val/aAcc'] == expected(2).aacc != expected(1).aacc


def test_each_image_asks_whether_to_stop(inference, state):
  asked = []

  def check():
    asked.append(1)
    if len(asked) == 2:
      raise Stopped('enough.')

  validation = Validation(inference, SOURCE, pictures=0, threads=1)
  with pytest.raises(Stopped):
    validation(state, check)
  assert len(asked) == 2 and validation.scores is None


class WithABadOne:
  spec = SOURCE.spec

  def __len__(self):
    return len(SOURCE)

  def __getitem__(self, index):
    if index == 1:
      raise BadData('empty file', 'b.png is empty: remove it.')
    return SOURCE[index]


def test_bad_examples_are_left_out_where_that_is_asked_for(inference, state):
  with pytest.raises(UserError, match=r'b\.png is empty'):
    Validation(inference, WithABadOne(), pictures=0, threads=1)(state)
  validation = Validation(inference, WithABadOne(), pictures=0, threads=1, skip_bad=True)
  assert validation(answering(state, 2))['val/aAcc'] == expected(2, (0, 2, 3)).aacc


class Unlabelled:
  """Labels of nothing, but for the examples `known`."""

  spec = SOURCE.spec

  def __init__(self, *known):
    self.known, self.read = known, []

  def __len__(self):
    return len(SOURCE)

  def __getitem__(self, index):
    self.read.append(index)
    example = SOURCE[index]
    return example if index in self.known else {**example, 'label': example['label'] * 0 + 255}


def test_labels_without_a_class_are_refused(inference, state):
  says = '^no pixel of the 4 labels to evaluate has a class, all are 255 or among ignore_ids: '
  validation = Validation(inference, Unlabelled(), pictures=0, threads=1)
  with pytest.raises(UserError, match=says):
    validation.check_labels()
  with pytest.raises(UserError, match=says):
    validation(state)
  assert validation.scores is None


def test_labels_are_looked_at_until_one_has_a_class(inference):
  source = Unlabelled(1)
  Validation(inference, source, pictures=0, threads=1).check_labels()
  assert {0, 1} <= set(source.read) < set(range(4)) or source.read == [0, 1]


@pytest.mark.parametrize('skip_bad', [True, False])
def test_a_bad_label_is_met_before_training(inference, skip_bad):
  class Bad(WithABadOne):
    def __getitem__(self, index):
      return Unlabelled(2)[index] if index != 1 else super().__getitem__(index)

  validation = Validation(inference, Bad(), pictures=0, threads=1, skip_bad=skip_bad)
  with pytest.raises(UserError, match=r'b\.png') if not skip_bad else contextlib.nullcontext():
    validation.check_labels()
