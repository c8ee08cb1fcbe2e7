"""A card comes back from JSON as it was, and builds the network of its weights."""

import dataclasses
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pspnet_jax.data.spec import DatasetSpec
from pspnet_jax.errors import UserError
from pspnet_jax.inference.card import Card, with_tuples
from pspnet_jax.inference.protocol import SEMSEG, Protocol
from tests.conftest import TINY
from tests.mutations import EDITS, edited, ends_well, fuzz

SPEC = DatasetSpec(('sky', 'road'), ((1, 2, 3), (4, 5, 6)))
CARD = Card(network={'num_classes': 2, **TINY}, spec=SPEC, crop_size=(33, 41))


@pytest.mark.parametrize(
  'changes',
  [
    {},
    {'protocol': Protocol(window=(33, 41), flip=True)},
    {'protocol': SEMSEG.changed(base_size=(2048,), scales=(0.5, 1.0))},
    {'exif': 'stored'},
    {'source': {'name': 'mmseg', 'files': {'a.pth': 'sha256:0'}}, 'published': {'mIoU': 78.5}},
  ],
)
def test_it_survives_json(changes):
  card = dataclasses.replace(CARD, **changes)
  assert Card.from_json(json.loads(json.dumps(card.to_json()))) == card


def test_images_of_a_card_that_does_not_say_are_held_upright():
  values = CARD.to_json()
  del values['exif']
  assert Card.from_json(values).exif == 'upright'


def test_lists_are_tuples_again_at_any_depth():
  assert with_tuples({'a': [1, [2, {'b': [3]}]]}) == {'a': (1, (2, {'b': (3,)}))}


def test_its_network_has_the_classes_and_arguments():
  network = CARD.build_network()
  assert network.param_shapes['classifier/conv/kernel'].shape[-1] == 2
  assert network.options['depth'] == TINY['depth']


def test_code_that_a_card_names_is_not_imported_unless_it_is_given():
  card = dataclasses.replace(CARD, network={'num_classes': 2, 'name': 'nowhere.own:Own'})
  with pytest.raises(UserError, match=r'weights are those of nowhere\.own:Own.*--model=nowhere'):
    card.build_network()
  assert card.title == 'Own' and CARD.title == 'PSPNet-10'


def changed(path, value):
  """The card as JSON with another value at `path`; None: without it."""
  values = json.loads(json.dumps(CARD.to_json()))
  *groups, last = path
  inner = values
  for name in groups:
    inner = inner[name]
  inner[last] = value
  return values


@pytest.mark.parametrize(
  ('path', 'value', 'says'),
  [
    (['network', 'depth'], 'x', "its depth is 'x', and not a whole number"),
    (['network', 'dept'], 18, 'a PSPNet has no argument dept'),
    (['network', 'num_classes'], 3, 'num_classes=3 for 2 classes'),
    (['network', 'pooling'], 'mean', "and not 'avg' or 'max'"),
    (['network', 'bins'], [1] * 2000, 'its bins is'),
    (['network', 'name'], 7, 'is no text'),
    (['network'], [], 'its network is'),
    (['spec', 'class_names'], 'sky', 'class_names'),
    (['spec', 'palette'], [[1, 2], [3, 4]], 'palette'),
    (['spec'], 5, 'its spec is no dictionary'),
    (['protocol', 'scales'], ['a'], 'scales'),
    (['protocol', 'stridde'], 1, 'its protocol knows no stridde'),
    (['crop_size'], [0, 41], 'crop_size'),
    (['std'], [1, 2, 0], 'std'),
    (['mean'], [1, 2, float('nan')], 'mean'),
    (['mean'], None, 'mean'),
    (['extra'], 1, 'knows no extra'),
  ],
)
def test_a_card_that_describes_nothing_is_refused(path, value, says):
  with pytest.raises(UserError, match=f'card of the weights is damaged, .*{re.escape(says)}'):
    Card.from_json(changed(path, value))


@pytest.mark.parametrize('values', [None, [], 7, 'x', {}, {'spec': None}, [[[]]] * 3])
def test_what_is_no_card_is_refused(values):
  with pytest.raises(UserError, match='card of the weights is damaged'):
    Card.from_json(values)


@fuzz
@given(st.lists(EDITS, min_size=1, max_size=3))
def test_a_card_of_nonsense_ends_in_a_sentence(edits):
  values = edited(json.loads(json.dumps(CARD.to_json())), edits)
  assert ends_well(Card.from_json, values) is None or values
