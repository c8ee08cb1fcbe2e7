"""Windows through the network, against the same done plainly in NumPy."""

import dataclasses
import functools

import jax
import numpy as np
import pytest

from pspnet_jax.data.palettes import default_palette
from pspnet_jax.data.spec import DatasetSpec
from pspnet_jax.evaluation.scoring import PixelLoss, confusion_matrix
from pspnet_jax.inference.card import Card
from pspnet_jax.inference.engine import Inference
from pspnet_jax.inference.ensemble import Ensemble
from pspnet_jax.inference.protocol import Protocol
from pspnet_jax.models.network import Network
from pspnet_jax.ops.images import normalize
from pspnet_jax.predictor import Predictor

CLASSES = 5


@pytest.fixture(scope='module')
def model():
  from tests.conftest import TINY

  options = {'num_classes': CLASSES, **TINY}
  spec = DatasetSpec(tuple('abcde'), default_palette(CLASSES))
  card = Card(network=options, spec=spec, crop_size=(33, 41))
  network = Network(**options)
  params, batch_stats = network.init(0)
  # Other variances than the initial ones. Other means let no feature of so small a network pass a
  # ReLU: its logits are the same everywhere, and windows in wrong places are not noticed.
  rng = np.random.default_rng(0)
  for name, x in batch_stats.items():
    if name.endswith('/var'):
      batch_stats[name] = x * rng.uniform(0.5, 1.5, x.shape).astype(np.float32)
  # Biases that give every class its share of the pixels, or all labels would be of one class.
  noise = normalize(images((33, 41))[0][None], card.mean, card.std)
  outputs, _ = network.apply(params, batch_stats, noise)
  params['classifier/conv/bias'] -= outputs['logits'].mean((0, 1, 2))
  assert len(np.unique(outputs['logits'].argmax(-1))) > 2
  return card, network, params, batch_stats


def images(*sizes):
  rng = np.random.default_rng(1)
  return [rng.integers(0, 255, (*size, 3), np.uint8) for size in sizes]


def test_labels_are_the_same_under_64_bit_jax(model):
  predictor = Predictor(*(model[:1] + model[2:]))
  [image] = images((33, 50))
  expected = predictor(image)
  with jax.enable_x64(True):
    np.testing.assert_array_equal(predictor(image), expected)


@functools.cache
def jitted(network):
  return jax.jit(network.apply)


def softmax(model, image, flip=False):
  card, network, params, batch_stats = model
  x = (image[None].astype(np.float32) - np.float32(card.mean)) / np.float32(card.std)
  x = x[:, :, ::-1] if flip else x
  scores = jax.nn.softmax(jitted(network)(params, batch_stats, x)[0]['logits'])[0]
  return np.asarray(scores[:, ::-1] if flip else scores, np.float64)


def reference(model, image, window, stride, flip, blend=False):
  """Mean softmax over the windows covering an image padded with the mean, as semseg does it."""
  ramps = [np.sin(np.pi * (np.arange(w) + 0.5) / w) ** 2 for w in window]
  weight = np.outer(*ramps)[..., None] if blend else np.ones((*window, 1))
  height, width = image.shape[:2]
  inner = max(height, window[0]), max(width, window[1])
  top, left = (inner[0] - height) // 2, (inner[1] - width) // 2
  padded = np.tile(np.float32(model[0].mean), (*inner, 1))
  padded[top : top + height, left : left + width] = image
  total, count = np.zeros((*inner, CLASSES)), np.zeros((*inner, 1))
  steps = [int(np.ceil(w * stride)) for w in window]
  for i in range(int(np.ceil((inner[0] - window[0]) / steps[0])) + 1):
    for j in range(int(np.ceil((inner[1] - window[1]) / steps[1])) + 1):
      y = min(i * steps[0], inner[0] - window[0])
      x = min(j * steps[1], inner[1] - window[1])
      piece = padded[y : y + window[0], x : x + window[1]]
      scores = softmax(model, piece)
      if flip:
        scores = (scores + softmax(model, piece, flip=True)) / 2
      total[y : y + window[0], x : x + window[1]] += weight * scores
      count[y : y + window[0], x : x + window[1]] += weight
  return (total / count)[top : top + height, left : left + width]


def assert_same_labels(label, scores):
  """Checks that labels agree, but for pixels where two classes tie within float32's rounding."""
  ordered = np.sort(scores, axis=-1)
  clear = ordered[..., -1] - ordered[..., -2] > 1e-5
  assert clear.mean() > 0.99
  np.testing.assert_array_equal(label[clear], scores.argmax(-1)[clear])


@pytest.mark.usefixtures('one_device')
@pytest.mark.parametrize(
  ('size', 'flip'),
  [
    ((33, 41), True),
    ((20, 30), False),
    ((34, 41), True),
    ((60, 100), False),
    pytest.param((20, 90), True, marks=pytest.mark.digits),
  ],
)
def test_sliding_windows_equal_the_plain_way(model, size, flip):
  card, network, params, batch_stats = model
  card = dataclasses.replace(card, protocol=Protocol(window=(33, 41), flip=flip))
  inference = Inference(network, card, batch_size=3)
  [image] = images(size)
  [(_, label)] = inference.labels(inference.prepare(params, batch_stats), [(None, image)])
  label = np.asarray(label)[: size[0], : size[1]]
  assert label.shape == size
  assert_same_labels(label, reference(model, image, (33, 41), 2 / 3, flip))


@pytest.mark.usefixtures('one_device')
def test_blended_windows_equal_the_plain_way_in_tiles_too(model):
  card, network, params, batch_stats = model
  protocol = Protocol(window=(33, 41), blend=True)
  card = dataclasses.replace(card, protocol=protocol)
  [image] = images((150, 170))
  expected = reference(model, image, (33, 41), 2 / 3, False, blend=True)
  inference = Inference(network, card, batch_size=4)
  weights = inference.prepare(params, batch_stats)
  for canvas_pixels in (10**6, 128 * 128):
    inference.canvas_pixels = canvas_pixels
    [(_, scores)] = inference.probabilities(weights, [(None, image)])
    np.testing.assert_allclose(np.asarray(scores)[:150, :170], expected, atol=1e-5)


def test_whole_images_of_mixed_sizes_come_back_in_order(model):
  card, network, params, batch_stats = model
  card = dataclasses.replace(card, protocol=Protocol(window='image'))
  inference = Inference(network, card, batch_size=2)
  many = images((33, 41), (33, 41), (33, 41), (24, 17), (33, 41))
  found = list(inference.labels(inference.prepare(params, batch_stats), enumerate(many)))
  assert [tag for tag, _ in found] == [0, 1, 2, 3, 4]
  for image, (_, label) in zip(many, found, strict=True):
    height, width, _ = image.shape
    assert_same_labels(np.asarray(label)[:height, :width], softmax(model, image))


@pytest.mark.usefixtures('one_device')
def test_new_image_sizes_compile_no_network(model):
  card, _, params, batch_stats = model
  predictor = Predictor(card, params, batch_stats, batch_size=1)
  for image in images((50, 70), (33, 41), (90, 44), (10, 10), (71, 71)):
    assert predictor(image).shape == image.shape[:2]
  assert len(predictor._ensemble.members[0]._programs) == 1


class Recorded:
  """Programs that note what they are called with."""

  def __init__(self, inference):
    self.sent, self.added = [], []
    self._programs, inference._programs = inference._programs, self

  def of(self, shape):
    programs = self._programs.of(shape)

    def run(weights, windows):
      self.sent.append(windows.pixels)
      return programs.run(weights, windows)

    def add(canvas, logits, pieces):
      self.added.append(len(pieces.window))
      return programs.add(canvas, logits, pieces)

    return programs._replace(run=run, add=add)


def recorded(model, protocol, sizes, batch_size):
  card, network, params, batch_stats = model
  inference = Inference(
    network, dataclasses.replace(card, protocol=protocol), batch_size=batch_size
  )
  calls = Recorded(inference)
  found = inference.labels(inference.prepare(params, batch_stats), enumerate(images(*sizes)))
  return calls, [np.asarray(label) for _, label in found]


@pytest.mark.usefixtures('one_device')
def test_a_batch_is_one_call_of_the_network_and_one_that_adds_its_windows(model):
  # 4×4 windows of 33×41 with their mirror images, two batches of 8.
  calls, _ = recorded(model, Protocol(window=(33, 41), flip=True), [(99, 123)], 8)
  assert len(calls.sent) == 2 and calls.added == [8, 8]


@pytest.mark.usefixtures('one_device')
def test_a_batch_is_shared_by_images_and_views(model):
  # Three images of one window, then two of six. What is no whole batch is added one by one.
  sizes = [(20, 30)] * 3 + [(55, 90)] * 2
  calls, _ = recorded(model, Protocol(window=(33, 41), stride=0.7), sizes, 8)
  assert len(calls.sent) == 2 and calls.added == [1] * 15


@pytest.mark.usefixtures('one_device')
@pytest.mark.parametrize('flip', [False, True])
def test_labels_are_the_same_by_any_batch_size(model, flip):
  sizes = [(20, 30), (50, 90), (33, 41), (60, 41)]
  protocol = Protocol(window=(33, 41), flip=flip, resize='long_side', base_size=(60,))
  _, expected = recorded(model, protocol, sizes, 1)
  for batch_size in (3, 4):
    for a, b in zip(recorded(model, protocol, sizes, batch_size)[1], expected, strict=True):
      np.testing.assert_array_equal(a, b)


@pytest.mark.usefixtures('one_device')
@pytest.mark.parametrize('window', ['crop', 'image'])
def test_pixels_are_sent_as_uint8(model, window):
  calls, _ = recorded(model, Protocol(window=window), [(33, 41), (20, 30), (70, 41)], 2)
  assert {(x.dtype.name, x.ndim) for x in calls.sent} == {('uint8', 4)}


@pytest.mark.usefixtures('one_device')
def test_fractions_are_sent_as_float32_and_then_all_windows_of_the_shape(model):
  # One program for uint8, one for float32, and no third.
  protocol = Protocol(window=(33, 41), resize='long_side', base_size=(40,))
  sizes = [(30, 40), (30, 50), (40, 30)]  # the second one is resized, the last has two windows
  calls, _ = recorded(model, protocol, sizes, 1)
  assert [x.dtype.name for x in calls.sent] == ['uint8', *['float32'] * 3]


class Result:
  """A result of the device that tells when it is waited for."""

  shape, dtype = (128, 128), np.dtype(np.uint8)

  def __init__(self, log, name):
    self._log, self._name = log, name

  def is_deleted(self):
    return False

  def block_until_ready(self):
    self._log.append(f'wait for {self._name}')


@pytest.mark.usefixtures('one_device')
def test_the_host_waits_for_an_image_only_when_others_are_in_flight(model):
  card, network, params, batch_stats = model
  inference = Inference(network, card, batch_size=1)
  weights, log = inference.prepare(params, batch_stats), []

  def source():
    for i, image in enumerate(images(*[(33, 41)] * 5)):
      log.append(f'read {i}')
      yield i, image

  def run():
    log.clear()
    tiles = inference._cut(source())
    for tile, _ in inference._stream(weights, tiles, lambda canvas: Result(log, canvas.tile.tag)):
      log.append(f'give {tile.tag}')
    return log

  inference._ahead = 2  # as on an accelerator
  first = ['read 0', 'read 1', 'read 2', 'give 0', 'read 3', 'wait for 0', 'give 1', 'read 4']
  assert run()[:8] == first
  inference._ahead = 0  # on a CPU an answer comes before the next image is read
  assert run()[:6] == ['read 0', 'give 0', 'read 1', 'wait for 0', 'give 1', 'read 2']


class Source:
  """Labelled images of different sizes in memory."""

  def __init__(self, spec, images, labels):
    self.spec, self._images, self._labels = spec, images, labels

  def __len__(self):
    return len(self._images)

  def __getitem__(self, i):
    return {'image': self._images[i], 'label': self._labels[i], 'name': str(i)}


@pytest.mark.usefixtures('one_device')
@pytest.mark.parametrize('window', ['image', 'crop'])
def test_every_valid_pixel_is_counted_exactly_once(model, window):
  card, network, params, batch_stats = model
  card = dataclasses.replace(card, protocol=Protocol(window=window))
  rng = np.random.default_rng(2)
  many = images((33, 41), (60, 50), (33, 41), (20, 90), (61, 50))
  labels = [rng.integers(0, CLASSES, x.shape[:2]).astype(np.uint8) for x in many]
  for label in labels:
    label[:3] = 255
  seen = []
  inference = Inference(network, card, batch_size=2)
  confusion = confusion_matrix(
    inference,
    inference.prepare(params, batch_stats),
    Source(card.spec, many, labels),
    on_label=lambda index, example, label: seen.append((index, example['name'], label)),
  )
  assert confusion.sum() == sum((label != 255).sum() for label in labels)
  assert [(i, name) for i, name, _ in seen] == [(i, str(i)) for i in range(5)]
  expected = np.zeros((CLASSES, CLASSES), np.int64)
  for label, (_, _, prediction) in zip(labels, seen, strict=True):
    valid = label != 255
    np.add.at(expected, (label[valid], prediction[valid]), 1)
  np.testing.assert_array_equal(confusion, expected)


@pytest.mark.usefixtures('one_device')
@pytest.mark.parametrize(
  ('rule', 'members', 'size', 'tiles'),
  [
    ({'flip': True}, 2, (40, 60), 1),
    ({'average': 'logits'}, 1, (40, 60), 1),
    ({'average': 'logits', 'scales': (0.5, 1.0)}, 1, (150, 260), 2),
    ({'flip': True, 'flip_rule': 'image'}, 1, (40, 60), 1),
  ],
)
def test_the_losses_of_one_pass_are_those_of_the_probabilities(model, rule, members, size, tiles):
  card, network, params, batch_stats = model
  card = dataclasses.replace(card, protocol=Protocol(window=(33, 41)).changed(**rule))
  inference = Inference(network, card, canvas_mb=1)
  many = images((33, 41), size)
  labels = [np.random.default_rng(3).integers(0, CLASSES, x.shape[:2], np.uint8) for x in many]
  labels[0][:5] = 255
  networks = Ensemble([inference] * members)
  weights = [inference.prepare(params, batch_stats)] * members
  found = confusion_matrix(
    networks, weights, Source(card.spec, many, labels), loss=(loss := PixelLoss())
  )
  expected = 0.0
  for index, probabilities in networks.probabilities(weights, enumerate(many)):
    height, width = labels[index].shape
    valid = labels[index] != 255
    chosen = np.asarray(probabilities, np.float64)[:height, :width][valid]
    expected -= np.log(chosen[np.arange(len(chosen)), labels[index][valid]]).sum()
  assert len(loss._sums) == 1 + tiles
  assert loss.total() == pytest.approx(expected, rel=1e-5) and found.sum() == valid.size + 28 * 41


def test_images_of_alternating_sizes_are_answered_as_they_come(model):
  """Or their canvases would fill the memory until the last one."""
  card, network, *weights = model
  card = dataclasses.replace(card, protocol=Protocol(window='image'))
  inference = Inference(network, card, batch_size=4)
  taken = 0

  def stream():
    nonlocal taken
    for i, image in enumerate(images(*6 * [(33, 33), (41, 33)])):
      taken += 1
      yield i, image

  answered = [(tag, taken) for tag, _ in inference.labels(inference.prepare(*weights), stream())]
  assert [tag for tag, _ in answered] == list(range(12))
  assert all(taken <= tag + 3 for tag, taken in answered)
