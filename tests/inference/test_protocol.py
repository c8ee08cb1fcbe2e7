"""Every published protocol against its evaluation written out in NumPy, OpenCV and torch."""

import dataclasses

import jax
import numpy as np
import pytest

from pspnet_jax.data.palettes import default_palette
from pspnet_jax.data.spec import DatasetSpec
from pspnet_jax.errors import UserError
from pspnet_jax.inference.card import Card
from pspnet_jax.inference.engine import Inference
from pspnet_jax.inference.protocol import (
  CAFFE,
  MMSEG,
  MMSEG_SLIDE,
  MULTI_SCALE,
  PLAIN,
  PROTOCOLS,
  SEMSEG,
  Protocol,
)
from pspnet_jax.models.network import Network
from tests import plain_protocols
from tests.conftest import TINY

CLASSES = 5
CROP = (41, 41)
# Smaller than the crop, equal, larger, odd, upright, and a strip.
SIZES = [(20, 30), (41, 41), (57, 83), (90, 61), (30, 95)]

pytestmark = pytest.mark.usefixtures('one_device')


class Model:
  def __init__(self, align_corners=True):
    options = {'num_classes': CLASSES, **TINY, 'align_corners': align_corners}
    spec = DatasetSpec(tuple('abcde'), default_palette(CLASSES))
    self.card = Card(network=options, spec=spec, crop_size=CROP)
    self.network = Network(**options)
    params, self.batch_stats = self.network.init(0)
    rng = np.random.default_rng(0)
    self.params = {  # batch normalisation that does something
      name: x + rng.normal(0, 0.3, x.shape).astype(np.float32) if '/bn/' in name else x
      for name, x in params.items()
    }
    self._apply = jax.jit(self.network.apply)
    # A classifier that tells places apart.
    logits = self.logits(picture((81, 81)))
    kernel, bias = (f'classifier/conv/{name}' for name in ('kernel', 'bias'))
    spread = np.float32(3 / logits.std((0, 1)))
    self.params[bias] = (self.params[bias] - np.float32(logits.mean((0, 1)))) * spread
    self.params[kernel] = self.params[kernel] * spread

  def logits(self, pixels):
    x = (np.float32(pixels) - np.float32(self.card.mean)) / np.float32(self.card.std)
    outputs, _ = self._apply(self.params, self.batch_stats, x[None])
    return np.asarray(outputs['logits'][0], np.float64)

  def found(self, protocol, images):
    """Probabilities and labels by `protocol`."""
    inference = self.inference(protocol)
    pairs = [(image.shape, image) for image in images]
    weights = inference.prepare(self.params, self.batch_stats)
    return tuple(
      [np.asarray(x)[: shape[0], : shape[1]] for shape, x in run(weights, pairs)]
      for run in (inference.probabilities, inference.labels)
    )

  def inference(self, protocol, **options):
    card = dataclasses.replace(self.card, protocol=protocol)
    return Inference(self.network, card, **{'batch_size': 3, **options})


@pytest.fixture(scope='module')
def aligned():
  return Model()


def picture(size, seed=0):
  """A picture of smooth shapes and noise: something to be resampled."""
  rng = np.random.default_rng(seed)
  y, x = np.indices(size)
  waves = np.stack([np.sin(x / 7 + c) * np.cos(y / (5 + c)) for c in range(3)], -1)
  return (127 + 90 * waves + rng.integers(-30, 30, (*size, 3))).astype(np.uint8)


def check(found, images, expected):
  """Checks probabilities to 1e-5, and that labels are equal on 99.99 % of the pixels."""
  probabilities, labels = found
  assert len(labels) == len(images)
  same = 0
  for image, scores, label in zip(images, probabilities, labels, strict=True):
    wanted = expected(image)
    np.testing.assert_allclose(scores, wanted, atol=1e-5)
    same += (label == wanted.argmax(-1)).sum()
  assert same / sum(label.size for label in labels) >= 0.9999
  assert len(np.unique(np.concatenate([x.ravel() for x in labels]))) > 2  # or it would show little


SCALES = [(1.0,), MULTI_SCALE]


@pytest.mark.parametrize('scales', SCALES, ids=['single', 'multi'])
@pytest.mark.parametrize('name', ['semseg', 'caffe'])
def test_windows_with_flips(aligned, name, scales):
  images = [picture(size) for size in SIZES]
  protocol = PROTOCOLS[name].changed(base_size=(64,), scales=scales)
  plain = {'semseg': plain_protocols.semseg, 'caffe': plain_protocols.caffe}[name]
  options = {'mean': aligned.card.mean, 'crop': CROP, 'base_size': 64, 'scales': scales}
  check(
    aligned.found(protocol, images),
    images,
    lambda image: plain(image, aligned.logits, **options),
  )


# Every size of window compiles, and mmsegmentation's are as small as the image.
@pytest.mark.parametrize(
  ('align_corners', 'slide', 'scales', 'sizes'),
  [
    (True, False, (1.0,), SIZES[2:4]),
    (False, False, MULTI_SCALE, SIZES[3:4]),
    (True, True, MULTI_SCALE, SIZES[2:]),
  ],
  ids=['whole', 'whole-multi', 'slide-multi'],
)
def test_mmseg(aligned, align_corners, slide, scales, sizes):
  model = aligned if align_corners else Model(align_corners=False)
  images = [picture(size) for size in sizes]
  flip = len(scales) > 1
  protocol = MMSEG_SLIDE if slide else MMSEG
  protocol = protocol.changed(base_size=(100, 50), scales=scales, flip=flip)
  windows = {'crop': CROP, 'stride': (28, 28)} if slide else {}
  options = {'box': (100, 50), 'scales': scales, 'flip': flip, **windows}
  check(
    model.found(protocol, images),
    images,
    lambda image: plain_protocols.mmseg(
      image, model.logits, align_corners=align_corners, **options
    ),
  )


@pytest.mark.parametrize('protocol', [PLAIN, SEMSEG, MMSEG_SLIDE], ids=['plain', 'semseg', 'mmseg'])
def test_tiles_change_nothing(aligned, protocol):
  box = {1: (140,), 2: (140, 140)}.get(len(protocol.base_size or ()))
  protocol = protocol.changed(base_size=box, scales=(0.75, 1.0), flip=True)
  images = [picture((150, 130)), picture((40, 300))]
  whole = aligned.found(protocol, images)
  inference = aligned.inference(protocol)
  inference.canvas_pixels = 90 * 90  # smaller than a megabyte's
  for run, expected in zip((inference.probabilities, inference.labels), whole, strict=True):
    got = list(run(inference.prepare(aligned.params, aligned.batch_stats), enumerate(images)))
    assert [tag for tag, _ in got] == [0, 1] and all(isinstance(x, np.ndarray) for _, x in got)
    for image, (_, x), y in zip(images, got, expected, strict=True):
      height, width, _ = image.shape
      np.testing.assert_allclose(x[:height, :width], y, atol=1e-6)


def test_a_folder_of_fifty_sizes_compiles_the_network_once(aligned):
  rng = np.random.default_rng(3)
  images = [picture(tuple(rng.integers(20, 120, 2))) for _ in range(50)]
  inference = aligned.inference(SEMSEG.changed(base_size=(64,), scales=(0.5, 1.0)), batch_size=4)
  labels = list(
    inference.labels(inference.prepare(aligned.params, aligned.batch_stats), enumerate(images))
  )
  assert [tag for tag, _ in labels] == list(range(50))
  assert len(inference._programs) == 1


def test_published_sizes():
  assert SEMSEG.scaled_size((683, 512), 1.0) == (512, 384)
  assert SEMSEG.changed(base_size=(2048,)).scaled_size((1024, 2048), 1.75) == (1792, 3584)
  assert CAFFE.scaled_size((512, 683), 0.75) == (289, 385)
  assert MMSEG.scaled_size((512, 683), 1.0) == (512, 683)
  assert MMSEG.changed(base_size=(2048, 1024)).scaled_size((1024, 2048), 0.5) == (512, 1024)
  assert MMSEG.scaled_size((300, 3000), 1.0) == (205, 2048)


def test_a_named_protocol_keeps_the_base_size_of_the_data():
  cityscapes = SEMSEG.changed(base_size=(2048,))
  assert cityscapes.changed('caffe').base_size == (2048,)
  assert cityscapes.changed('mmseg').base_size == (2048, 512)
  assert cityscapes.changed('plain', flip=True) == Protocol(flip=True)


@pytest.mark.parametrize(
  ('changes', 'says'),
  [
    ({'protocol': 'cafe'}, 'did you mean caffe'),
    ({'resize': 'long_side'}, 'base size None is not the length'),
    ({'resize': 'fit', 'base_size': (512,)}, 'is not a long and a short side'),
    ({'scales': (0.0,)}, 'not all positive'),
    ({'stride': 1.5}, r'not in \(0, 1\]'),
    ({'padding': 'reflect'}, "padding 'reflect' is none of centre, end, none"),
  ],
)
def test_bad_protocols_are_named(changes, says):
  with pytest.raises(UserError, match=says):
    PLAIN.changed(**changes)


def test_bad_arguments_are_named():
  with pytest.raises(UserError, match='stride 0'):
    Protocol(stride=0)
  with pytest.raises(UserError, match=r'window \(0, 3\)'):
    Protocol(window=(0, 3))
