"""Networks out of workdirs: which may label together, and what each is built of."""

import dataclasses

import numpy as np
import pytest

from pspnet_jax.data.palettes import default_palette
from pspnet_jax.data.spec import DatasetSpec
from pspnet_jax.errors import UserError
from pspnet_jax.inference.card import Card
from pspnet_jax.models.network import Network
from pspnet_jax.models.pspnet import PSPNet
from pspnet_jax.weights import members
from pspnet_jax.weights.checkpoints import Checkpoints
from tests.conftest import TINY

CARD = Card(
  network={'num_classes': 3, **TINY},
  spec=DatasetSpec(('sky', 'road', 'car'), default_palette(3)),
  crop_size=(33, 33),
)
NETWORK = Network(**CARD.network)


class Mine(PSPNet):
  """A network of one's own."""


def write(folder, value, **changes):
  """A workdir whose weights are all `value`."""
  items = {
    name: {key: np.full(x.shape, value, x.dtype) for key, x in shapes.items()}
    for name, shapes in (
      ('params', NETWORK.param_shapes),
      ('batch_stats', NETWORK.batch_stat_shapes),
    )
  }
  with Checkpoints(folder) as checkpoints:
    checkpoints.save(3, items, dataclasses.replace(CARD, **changes), 0.5)
  return folder


def test_each_keeps_its_card_but_for_what_is_changed_for_all(tmp_path):
  a = write(tmp_path / 'a', 1.0, crop_size=(41, 33))
  b = write(tmp_path / 'b', 2.0, mean=(1.0, 2.0, 3.0))
  found = list(members.load([a, str(b)], changes={'flip': True}))
  assert [x.card.crop_size for x in found] == [(41, 33), (33, 33)]
  assert [x.card.mean[0] for x in found] == [CARD.mean[0], 1.0]
  assert all(x.card.protocol.flip for x in found)
  assert [x.params['classifier/conv/bias'][0] for x in found] == [1.0, 2.0]
  assert [x.origin for x in found] == [f'step 3 of {a}', f'step 3 of {b}']


def test_one_network_twice_is_refused_under_any_name(tmp_path):
  a, b = (write(tmp_path / name, 1.0) for name in 'ab')
  for pair in ([a, a], [a, tmp_path / 'b' / '..' / 'a'], [a, b]):
    with pytest.raises(UserError, match='hold the same weights, which would weigh double: name'):
      list(members.load(pair))


def test_networks_of_other_classes_are_refused_before_their_weights_are_read(tmp_path):
  spec = DatasetSpec(('sky', 'car', 'road'), default_palette(3))
  a, b = write(tmp_path / 'a', 1.0), write(tmp_path / 'b', 2.0, spec=spec)
  read = members.load([a, b])
  assert next(read).origin.endswith('a')
  with pytest.raises(UserError, match='class 1 of the one is road, of the other car'):
    next(read)


def test_a_note_on_names_is_said_once_for_each(tmp_path):
  spec = DatasetSpec(('air', 'road', 'car'), default_palette(3))
  theirs = {'spec': spec, 'source': {'name': 'semseg'}}
  a, b = write(tmp_path / 'a', 1.0), write(tmp_path / 'b', 2.0)
  c = write(tmp_path / 'c', 3.0, **theirs)
  *same, found = members.load([a, b, c])
  assert [member.note for member in same] == [None, None]
  assert found.note.startswith(f'{a} and {c} call 1 of 3 classes by other words')
  asked = []

  def check(card, name):
    asked.append((card.spec.class_names[0], name))
    return f'note on {name}'

  assert [x.note for x in members.load([a, c], check=check)] == [f'note on {a}', f'note on {c}']
  assert asked == [('sky', str(a)), ('air', str(c))]


def test_a_network_of_ones_own_and_a_pspnet_go_together(tmp_path):
  own = {'name': 'mine:Mine', **CARD.network}
  a, b = write(tmp_path / 'a', 1.0), write(tmp_path / 'b', 2.0, network=own)
  with pytest.raises(UserError, match='--model=mine:Mine'):
    list(members.load([a, b]))
  found = list(members.load([a, b], model=Mine))
  assert [x.network.model for x in found] == [PSPNet, Mine]
