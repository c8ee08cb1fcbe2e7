"""A card comes back from JSON as it was, and builds the network of its weights."""

import dataclasses
import json

import pytest

from pspnet_jax.data.spec import DatasetSpec
from pspnet_jax.errors import UserError
from pspnet_jax.inference.card import Card, with_tuples
from pspnet_jax.inference.protocol import SEMSEG, Protocol
from tests.conftest import TINY

SPEC = DatasetSpec(('sky', 'road'), ((1, 2, 3), (4, 5, 6)))
CARD = Card(network={'num_classes': 2, **TINY}, spec=SPEC, crop_size=(33, 41))


@pytest.mark.parametrize(
  'changes',
  [
    {},
    {'protocol': Protocol(window=(33, 41), flip=True)},
    {'protocol': SEMSEG.changed(base_size=(2048,), scales=(0.5, 1.0))},
    {'source': {'name': 'mmseg', 'files': {'a.pth': 'sha256:0'}}, 'published': {'mIoU': 78.5}},
  ],
)
def test_it_survives_json(changes):
  card = dataclasses.replace(CARD, **changes)
  assert Card.from_json(json.loads(json.dumps(card.to_json()))) == card


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
