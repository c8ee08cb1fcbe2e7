"""Several networks that label an image together, against the mean taken by hand."""

import dataclasses
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from pspnet_jax.data.known_classes import numbered_classes
from pspnet_jax.data.palettes import default_palette
from pspnet_jax.data.spec import DatasetSpec
from pspnet_jax.errors import UserError
from pspnet_jax.inference.card import Card
from pspnet_jax.inference.engine import Inference
from pspnet_jax.inference.ensemble import Ensemble, check_together
from pspnet_jax.inference.protocol import PLAIN, SEMSEG
from pspnet_jax.inference.tiled import cut
from pspnet_jax.models.network import Network
from tests.conftest import TINY

CLASSES = 5
OPTIONS = {'num_classes': CLASSES, **TINY}
# Members of other protocols, crops and pixels.
PROTOCOLS = {
  (33, 41): PLAIN,
  (41, 33): SEMSEG.changed(base_size=(60,), scales=(0.75, 1.0)),
}
IMAGES = [
  np.random.default_rng(1).integers(0, 255, (*size, 3), np.uint8)
  for size in ((40, 60), (70, 50), (20, 30))
]


@pytest.fixture(scope='module')
def weights():
  """The weights of two networks whose labels differ from pixel to pixel."""
  network, found = Network(**OPTIONS), []
  apply = jax.jit(network.apply)
  for seed in range(2):
    params, batch_stats = network.init(seed)
    noise = np.random.default_rng(seed).normal(size=(1, 33, 33, 3)).astype(np.float32)
    outputs, _ = apply(params, batch_stats, noise)
    params['classifier/conv/bias'] -= outputs['logits'].mean((0, 1, 2))
    found.append((params, batch_stats))
  return found


def card(**changes):
  spec = DatasetSpec(tuple('abcde'), default_palette(CLASSES))
  return Card(**{'network': OPTIONS, 'spec': spec, 'crop_size': (33, 41), **changes})


def members(count=2, **options):
  return [
    Inference(
      Network(**OPTIONS),
      card(crop_size=crop, protocol=protocol, mean=(100.0 + crop[0], 110.0, 120.0)),
      **{'batch_size': 2, **options},
    )
    for crop, protocol in list(PROTOCOLS.items())[:count]
  ]


def prepared(inferences, weights):
  return [x.prepare(*own) for x, own in zip(inferences, weights, strict=False)]


def cropped(results):
  return [np.asarray(x)[: image.shape[0], : image.shape[1]] for image, x in results]


def pairs():
  return ((image, image) for image in IMAGES)


@pytest.mark.usefixtures('one_device')
def test_probabilities_are_the_mean_and_labels_its_argmax(weights):
  inferences = members()
  own = prepared(inferences, weights)
  each = [cropped(x.probabilities(w, pairs())) for x, w in zip(inferences, own, strict=True)]
  ensemble = Ensemble(inferences)
  whole = [np.mean(of_image, 0) for of_image in zip(*each, strict=True)]
  for most in (ensemble._most, 128 * 128, 40 * 40):  # all at once, one by one, in tiles
    ensemble._most = most
    found = cropped(ensemble.probabilities(own, pairs()))
    labels = cropped(ensemble.labels(own, pairs()))
    for x, label, expected in zip(found, labels, whole, strict=True):
      np.testing.assert_allclose(x, expected, atol=1e-6)
      np.testing.assert_array_equal(label, x.argmax(-1))
      assert len(np.unique(label)) > 2
  assert not np.array_equal(whole[0].argmax(-1), each[0][0].argmax(-1))  # it is another answer


@pytest.mark.usefixtures('one_device')
def test_an_ensemble_of_one_is_that_one(weights):
  [inference] = inferences = members(1)
  [own] = prepared(inferences, weights)
  for run in ('labels', 'probabilities'):
    alone = cropped(getattr(inference, run)(own, pairs()))
    together = cropped(getattr(Ensemble(inferences), run)([own], pairs()))
    for a, b in zip(alone, together, strict=True):
      np.testing.assert_array_equal(a, b)


def test_several_devices_share_the_windows_of_each_member(weights):
  inferences = members()
  assert inferences[0].batch_size == 8  # one a device
  own = prepared(inferences, weights)
  each = [cropped(x.probabilities(w, pairs())) for x, w in zip(inferences, own, strict=True)]
  means = cropped(Ensemble(inferences).probabilities(own, pairs()))
  for a, b, mean in zip(*each, means, strict=True):
    np.testing.assert_allclose(mean, (a + b) / 2, atol=1e-6)


@pytest.mark.parametrize(
  ('batch', 'most', 'expected'),
  [(1, 10**6, [1] * 4), (3, 10**6, [3, 1]), (8, 2 * 128 * 128, [2, 2]), (8, 5, [1] * 4)],
)
def test_sums_of_few_images_are_held(batch, most, expected):
  member = SimpleNamespace(batch_size=batch, canvas_pixels=most, piece=lambda size: size)
  ensemble = Ensemble([member, member])
  taken = []

  def images():
    for i in range(4):
      taken.append(i)
      yield i, np.zeros((100, 90, 3), np.uint8)

  sizes = []
  for group in ensemble._groups(cut(images(), ensemble._piece, most)):
    sizes.append(len(group))
    assert len(taken) <= sum(sizes) + 1  # the one that did not fit
  assert sizes == expected


OTHER_WORDS = DatasetSpec(tuple('abcdf'), default_palette(CLASSES))
OTHER_ORDER = DatasetSpec(tuple('abced'), default_palette(CLASSES))
UNRELATED = DatasetSpec(tuple('vwxyz'), default_palette(CLASSES))
PARTLY = DatasetSpec(tuple('xbcez'), default_palette(CLASSES))  # other words, and a word elsewhere
FEWER = DatasetSpec(tuple('abcd'), default_palette(4))
CONVERTED = {'source': {'name': 'semseg'}}


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'spec': FEWER}, 'A and B cannot label an image together: the one knows 5 classes and .* 4:'),
    ({'spec': OTHER_WORDS}, 'class 4 of the one is e, of the other f'),
    ({'spec': OTHER_ORDER, **CONVERTED}, 'class 3 of the one is d, of the other e'),
    ({'spec': UNRELATED, **CONVERTED}, 'no class of the one is called as one of the other, and'),
    ({'spec': PARTLY, **CONVERTED}, 'class 3 of the one is d, of the other e'),
    ({'exif': 'stored'}, 'held upright for the one and stored for the other'),
  ],
)
def test_networks_that_do_not_belong_together_are_refused(changes, message):
  with pytest.raises(UserError, match=message):
    check_together(card(), dataclasses.replace(card(), **changes), ('A', 'B'))


def test_converted_weights_may_name_the_classes_in_other_words():
  converted = card(spec=OTHER_WORDS, **CONVERTED)
  for pair in ((card(), converted), (card(**CONVERTED), converted)):
    assert check_together(*pair, ('A', 'B')) == (
      'A and B call 1 of 5 classes by other words, which are taken to mean the same: 4 (e, f).'
    )
  numbered = card(spec=numbered_classes(CLASSES), **CONVERTED)
  told = 'The classes of B have no names: they are taken for those of A, by id.'
  assert check_together(card(), numbered, ('A', 'B')) == told
  assert check_together(numbered, card(), ('B', 'A')) == told
  for a, b in ((card(), card(**CONVERTED)), (numbered, numbered)):
    assert check_together(a, b, ('A', 'B')) is None
