"""The door for Python: what a notebook hands over, and what it gets."""

import copy
import dataclasses
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import pspnet_jax
from pspnet_jax import predict as command
from pspnet_jax import predictor
from pspnet_jax.data.palettes import default_palette
from pspnet_jax.data.spec import DatasetSpec
from pspnet_jax.errors import UserError
from pspnet_jax.inference.card import Card
from pspnet_jax.inference.protocol import Protocol
from pspnet_jax.models.network import Network
from pspnet_jax.models.pspnet import PSPNet
from pspnet_jax.ops.images import normalize
from pspnet_jax.pictures import labels
from tests import tiny
from tests.conftest import TINY

METHODS = ('__call__', 'probabilities', 'label_and_confidence', 'overlay', 'areas')
NAMES = ('sky', 'road', 'boat', 'car', 'tree')


@pytest.fixture(scope='module')
def weights():
  """Random ones, with biases that give every class its share of the pixels."""
  card = Card(
    network={'num_classes': len(NAMES), **TINY},
    spec=DatasetSpec(NAMES, default_palette(len(NAMES))),
    crop_size=(33, 41),
    protocol=Protocol(window=(33, 33), flip=True),
  )
  network = Network(**card.network)
  params, batch_stats = network.init(0)
  rng = np.random.default_rng(0)
  noise = normalize(rng.integers(0, 256, (1, 33, 33, 3), np.uint8), card.mean, card.std)
  outputs, _ = network.apply(params, batch_stats, noise)
  params['classifier/conv/bias'] -= outputs['logits'].mean((0, 1, 2))
  return card, params, batch_stats


@pytest.fixture
def model(weights, one_device):
  return predictor.Predictor(*weights, batch_size=2)


@pytest.fixture
def images():
  rng = np.random.default_rng(1)
  return [rng.integers(0, 256, (*size, 3), np.uint8) for size in ((30, 40), (45, 33), (30, 40))]


def test_the_package_lists_its_door_without_starting_jax():
  code = (
    'import sys, pspnet_jax; names = dir(pspnet_jax);'
    'assert {"Predictor", "load", "load_pretrained", "__version__"} <= set(names), names;'
    'assert "jax" not in sys.modules;'
    'assert pspnet_jax.load.__module__ == "pspnet_jax.predictor"'
  )
  subprocess.run([sys.executable, '-c', code], cwd=tiny.ROOT, env=tiny.environment(), check=True)
  with pytest.raises(AttributeError, match='no attribute'):
    pspnet_jax.nothing  # noqa: B018


def test_the_label_of_an_image_is_an_array_of_its_size_that_may_be_written_to(model, images):
  label = model(images[0])
  assert label.shape == (30, 40) and label.dtype == np.uint8
  assert len(np.unique(label)) > 2  # or the tests below would compare nothing
  label[label == 3] = 255


def test_every_form_of_an_image_gets_the_same_label(model, images, tmp_path):
  path = tmp_path / 'a.png'
  Image.fromarray(images[0]).save(path)
  label = model(images[0])
  for form in (path, str(path), path.read_bytes(), Image.open(path)):
    np.testing.assert_array_equal(model(form), label)


def test_a_photograph_lying_sideways_is_held_as_in_training(model, images, tmp_path, monkeypatch):
  exif = Image.Exif()
  exif[0x0112] = 6
  path = tmp_path / 'a.png'
  Image.fromarray(images[0]).save(path, exif=exif)
  label = model(Image.open(path))
  assert label.shape == (40, 30)
  np.testing.assert_array_equal(label, model(path))
  np.testing.assert_array_equal(label, model(np.rot90(images[0], -1)))
  monkeypatch.setattr(model, 'card', dataclasses.replace(model.card, exif='stored'))
  for form in (path, path.read_bytes(), Image.open(path)):
    np.testing.assert_array_equal(model(form), model(images[0]))
  [(_, streamed)] = model.stream([('a', path)])
  np.testing.assert_array_equal(streamed, model(images[0]))


@pytest.mark.parametrize(
  'method', ['__call__', 'probabilities', 'label_and_confidence', 'overlay', 'areas']
)
def test_a_list_gives_what_its_images_give_one_by_one(model, images, method):
  answer = getattr(model, method)
  several = answer(images)
  assert isinstance(several, list) and len(several) == 3
  for image, found in zip(images, several, strict=True):
    alone = answer(image)
    if method == 'areas':
      assert found == alone
    elif method == 'label_and_confidence':
      np.testing.assert_array_equal(found[0], alone[0])
      np.testing.assert_allclose(found[1], alone[1], atol=1e-6)
    elif method == 'probabilities':  # windows in batches of another size: float32's rounding
      np.testing.assert_allclose(found, alone, atol=1e-6)
    else:
      np.testing.assert_array_equal(found, alone)


def test_a_batch_gives_a_list_also_of_one(model, images):
  batch = np.stack([images[0], images[2]])
  several = model(batch)
  assert isinstance(several, list) and len(several) == 2
  np.testing.assert_array_equal(several[1], model(images[2]))
  [alone] = model(images[0][None])
  np.testing.assert_array_equal(alone, several[0])
  assert model([]) == []
  assert model.areas(batch[:0]) == []


def test_probabilities_are_those_of_the_label(model, images):
  scores = model.probabilities(images[1])
  assert scores.shape == (45, 33, len(NAMES)) and scores.dtype == np.float32
  # Softmaxes of float32, averaged over windows and mirror images.
  np.testing.assert_allclose(scores.sum(-1), 1, atol=1e-5)
  np.testing.assert_array_equal(scores.argmax(-1), model(images[1]))


@pytest.mark.parametrize(
  'changes', [{}, {'average': 'logits'}, {'average': 'logits', 'flip_rule': 'image'}]
)
def test_confidence_is_the_probability_of_the_label(weights, images, one_device, changes):
  card, *arrays = weights
  card = dataclasses.replace(card, protocol=dataclasses.replace(card.protocol, **changes))
  model = predictor.Predictor(card, *arrays, batch_size=2)
  (label, confidence), _ = model.label_and_confidence(images[:2])
  assert label.dtype == np.uint8 and confidence.dtype == np.float32
  np.testing.assert_array_equal(label, model(images[0]))
  # Its batch holds other windows, so it differs as the probabilities do.
  np.testing.assert_allclose(confidence, model.probabilities(images[0]).max(-1), atol=1e-6)


def test_an_ensemble_tells_what_each_of_its_networks_says_in_one_pass(model, weights, images):
  card, params, batch_stats = weights
  bias = params['classifier/conv/bias']
  moved = {**params, 'classifier/conv/bias': bias + np.float32([0, 3, 0, 0, 0])}
  other = predictor.Predictor(card, moved, batch_stats, batch_size=2)
  together = predictor.Predictor.ensemble([model, other])
  found = list(together.predictions(enumerate(images[:2]), probabilities=True, members=True))
  assert [tag for tag, _ in found] == [0, 1]
  mean = (model.probabilities(images[1]) + other.probabilities(images[1])) / 2
  answer = found[1][1]
  np.testing.assert_allclose(answer.probabilities, mean, atol=1e-6)
  np.testing.assert_allclose(answer.confidence, mean.max(-1), atol=1e-6)
  np.testing.assert_array_equal(answer.label, answer.probabilities.argmax(-1))
  for single, label in zip((model, other), answer.members, strict=True):
    np.testing.assert_array_equal(label, single(images[1]))
  assert (answer.members[0] != answer.members[1]).any()
  [(_, alone)] = model.predictions([('a', images[0])], probabilities=True, members=True)
  np.testing.assert_allclose(alone.probabilities, model.probabilities(images[0]), atol=1e-6)
  assert alone.members == ()
  assert len({x.identity() for x in (model, other, together)}) == 3
  assert model.identity() == predictor.Predictor(*weights).identity()


def test_areas_are_the_shares_of_all_classes_in_their_order(model, images):
  label = model(images[0])
  areas = model.areas(images[0])
  assert tuple(areas) == NAMES == model.class_names
  assert sum(areas.values()) == pytest.approx(1, abs=1e-12)
  for i, share in enumerate(areas.values()):
    assert share == (label == i).mean()


def test_the_overlay_is_the_picture_that_predict_writes(model, images, tmp_path, monkeypatch):
  monkeypatch.setattr(predictor, 'load', lambda workdir, **options: model)
  exif = Image.Exif()
  exif[0x0112] = 6
  path = tmp_path / 'a.png'
  Image.fromarray(images[0]).save(path, exif=exif)
  command.predict(tmp_path, path, tmp_path / 'out')
  picture = model.overlay(path)
  with Image.open(tmp_path / 'out' / 'overlays' / 'a.png') as written:
    np.testing.assert_array_equal(picture, np.asarray(written))
  with Image.open(tmp_path / 'out' / 'labels' / 'a.png') as written:
    np.testing.assert_array_equal(model(path), np.asarray(written))


def test_an_overlay_without_a_legend_has_the_size_of_the_image(model, images):
  bare = model.overlay(images[0], legend=False, alpha=1, outlines=False)
  np.testing.assert_array_equal(bare, labels.colour(model(images[0]), model.spec))
  np.testing.assert_array_equal(model.overlay(images[0], legend=False, alpha=0), images[0])
  with pytest.raises(UserError, match='alpha=2'):
    model.overlay(images[0], alpha=2)


@pytest.mark.parametrize(
  'method', ['__call__', 'probabilities', 'label_and_confidence', 'overlay', 'areas']
)
def test_float_images_are_refused_by_every_method(model, images, method):
  floats = images[0] / 255
  with pytest.raises(UserError, match=r'^float64 image .* from 0 to 1: multiply by 255'):
    getattr(model, method)(floats)
  with pytest.raises(UserError, match=r'^images\[1\]: float64 image'):
    getattr(model, method)([images[0], floats])


def test_streams_keep_order_and_tags_and_refuse_what_is_no_image(model, images, tmp_path):
  path = tmp_path / 'a.png'
  Image.fromarray(images[1]).save(path)
  found = list(model.stream((i, image) for i, image in enumerate([images[0], path, images[2]])))
  assert [tag for tag, _ in found] == [0, 1, 2]
  for (_, label), image in zip(found, images, strict=True):
    np.testing.assert_array_equal(label, model(image))
  with pytest.raises(UserError, match='multiply by 255'):
    list(model.stream([('a', images[0]), ('b', images[0] / 255)]))


def test_a_predictor_says_what_it_is(model, weights):
  _, params, _ = weights
  count = sum(x.size for name, x in params.items() if 'aux_head' not in name)
  assert repr(model) == (
    'Predictor(PSPNet-10, 5 classes, crop 33×41, windows of 33×33, averaged with the mirror '
    f'image, {count:,} parameters)'
  )
  assert model.palette == default_palette(len(NAMES))

  class Mine(PSPNet):
    """A network of one's own."""

  assert repr(predictor.Predictor(*weights, model=Mine)).startswith('Predictor(Mine-10, 5 classes')


def test_weights_are_folded_once_not_at_each_call(weights, images, one_device, monkeypatch):
  fold, calls = Network.fold, []

  def counting(self, params, batch_stats):
    calls.append(self)
    return fold(self, params, batch_stats)

  monkeypatch.setattr(Network, 'fold', counting)
  model = predictor.Predictor(*weights, batch_size=2)
  model(images[0])
  model(images[0])
  model.probabilities(images[0])
  assert len(calls) == 1


def test_an_ensemble_knows_what_its_members_call_otherwise(model):
  named = copy.copy(model)
  spec = DatasetSpec(('air', *NAMES[1:]), default_palette(len(NAMES)))
  named.card = dataclasses.replace(model.card, spec=spec, source={'name': 'semseg'})
  together = predictor.Predictor.ensemble([model, named, named])
  told = 'call 1 of 5 classes by other words, which are taken to mean the same: 0 (sky, air).'
  assert [note.partition(' call ')[2] for note in together.notes] == [told[5:]] * 2
  assert together.members == (model, named, named) and model.members == (model,)
  again = predictor.Predictor.ensemble([model, together])
  assert again.notes == together.notes and model.notes == ()
  named.card = dataclasses.replace(named.card, source=None)
  with pytest.raises(UserError, match='class 0 of the one is sky, of the other air'):
    predictor.Predictor.ensemble([model, named])
