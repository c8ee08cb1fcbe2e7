"""Code of one's own as a user writes it, in one file outside the package."""

import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import optax

from pspnet_jax.data.label_ids import label_table
from pspnet_jax.data.paired_files import PairedFiles
from pspnet_jax.data.scenes import ContextScenes
from pspnet_jax.data.spec import DatasetSpec
from pspnet_jax.training.callbacks import Callback, EndTraining
from pspnet_jax.training.losses import SegmentationLoss
from tests.models.heads import AsppNet

__all__ = ['AsppNet']

NAMES, COLOURS = ('road', 'tree'), ((9, 9, 9), (0, 99, 0))
USED = (3, 7)  # ids of the two classes; 0 is nothing


class Files(PairedFiles):
  """A layout of one's own: ROOT/SPLIT/NAME.jpg beside NAME_ids.png."""

  def __init__(self, split, *, root):
    images = sorted(Path(root, split).glob('*.jpg'))
    pairs = ((path, path.with_name(f'{path.stem}_ids.png')) for path in images)
    super().__init__(DatasetSpec(NAMES, COLOURS), label_table(USED, (0,)), pairs)


class Scenes:
  """A source that has the least that one needs; `wrong` spoils example 1."""

  def __init__(self, split, *, length=24, wrong=None):
    self._scenes = ContextScenes(split, size=(33, 49), length=length)
    self.spec, self._wrong = self._scenes.spec, wrong

  def __len__(self):
    return len(self._scenes)

  def __getitem__(self, index):
    example = dict(self._scenes[index])
    return example if self._wrong is None or index != 1 else spoil(example, self._wrong)


def spoil(example, wrong):
  """An example with one mistake."""
  image, label = example['image'], example['label']
  return {
    'a tuple': (image, label),
    'no name': {'image': image, 'label': label},
    'float image': example | {'image': image / np.float32(255)},
    'grey image': example | {'image': image[..., 0]},
    'four channels': example | {'image': np.concatenate([image, image[..., :1]], -1)},
    'a list': example | {'image': image.tolist()},
    'wide label': example | {'label': label.astype(np.int64)},
    'label with channel': example | {'label': label[..., None]},
    'sizes': example | {'label': label[:-3]},
    'no such class': example | {'label': np.where(label == label[0, 0], 77, label).astype('u1')},
  }[wrong]


class NotASource:
  def __init__(self, split):
    pass


class Keyed:
  """Takes whatever it is given."""

  def __init__(self, split, **options):
    self.spec, self.options = DatasetSpec(NAMES, COLOURS), options

  def __len__(self):
    return 1

  def __getitem__(self, index):
    raise FileNotFoundError('a.png')


class Weighted:
  """A loss: cross-entropy, times a weight."""

  def __init__(self, weight=2.0):
    self._weight, self._loss = weight, SegmentationLoss()

  def denominators(self, label):
    return self._loss.denominators(label)

  def __call__(self, logits, label, denominators, **options):
    terms = self._loss(logits, label, denominators, **options)
    return {'loss': self._weight * terms['loss']}


class NeedsWeight(Weighted):
  def __init__(self, weight):
    super().__init__(weight)


class NoLoss:
  """Has no denominators."""

  def __call__(self, logits, label):
    return {'loss': jnp.float32(0)}


def adam(params, schedule, *, b1=0.9):
  return optax.adam(schedule, b1=b1)


def no_optimiser(params, schedule):
  return schedule


class Recording(Callback):
  """Writes what it is told into the current folder."""

  def on_evaluate(self, step, values):
    Path('tracked.json').write_text(json.dumps({'step': step, **values}))


class EndsAtTheFirstLog(Callback):
  def on_log(self, step, values):
    raise EndTraining('Enough')


class NeedsProject(Callback):
  def __init__(self, project):
    pass


def brighter(example, rng):
  """A transform: draws how much brighter."""
  image = example['image'].astype(np.int16) + int(rng.integers(20))
  return example | {'image': np.minimum(image, 255).astype(np.uint8)}


class NarrowNet(AsppNet):
  """Hands everything on, with another default."""

  def __init__(self, num_classes, *, rates=(1, 2), width=4, rngs, **options):
    super().__init__(num_classes, rates=rates, width=width, rngs=rngs, **options)


class NeedyNet(AsppNet):
  def __init__(self, num_classes, *, kernel, rngs, **options):
    super().__init__(num_classes, rngs=rngs, **options)


class HeadlessNet(AsppNet):
  def __call__(self, image, **options):
    return super().__call__(image, **options)['logits']
