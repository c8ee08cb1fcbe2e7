import pytest

from pspnet_jax.errors import UserError
from pspnet_jax.models.network import Network
from pspnet_jax.training.parameter_groups import decayed, is_head, multipliers, trained
from tests.conftest import TINY

NAMES = list(Network(4, **TINY).param_shapes)
OWN = ['attention/conv/kernel', 'attention/norm/scale', 'attention/norm/bias', 'attention/gamma']


def test_whatever_is_not_backbone_is_head():
  assert {name.split('/')[0] for name in NAMES if not is_head(name)} == {'backbone'}
  assert {name.split('/')[0] for name in NAMES if is_head(name)} == {
    *('pyramid', 'bottleneck', 'classifier', 'aux_head'),
  }
  assert all(map(is_head, [*OWN, 'backbones/kernel', 'backbone_attention/kernel']))
  assert set(multipliers(OWN, 10.0).values()) == {10.0}


def test_every_stage_has_a_power_of_its_own():
  rates = multipliers(NAMES, 10.0, 20.0, layer_decay=0.5)
  for name, rate in rates.items():
    part = name.split('/')[1]
    powers = {'stem': 5, 'stage1': 4, 'stage2': 3, 'stage3': 2, 'stage4': 1}
    head = 20 if name.endswith('classifier/conv/bias') else 10
    assert rate == (head if is_head(name) else 0.5 ** powers[part]), name
  assert len(set(rates.values())) == 7


def test_without_layer_decay_the_backbone_has_exactly_one():
  assert {rate for name, rate in multipliers(NAMES, 10.0).items() if not is_head(name)} == {1.0}


def test_layer_decay_of_a_backbone_of_ones_own_is_refused():
  names = ['backbone/blocks/0/kernel', 'classifier/conv/kernel']
  assert multipliers(names, 10.0) == {names[0]: 1.0, names[1]: 10.0}
  with pytest.raises(UserError, match='has no stage for the parameter backbone/blocks/0/kernel'):
    multipliers(names, 10.0, layer_decay=0.9)


def test_normalisation_and_biases_are_told_apart_by_who_owns_them():
  found = decayed([*NAMES, *OWN], norm=False, bias=True)
  assert {name for name, decays in found.items() if not decays} == {
    *(name for name in NAMES if '/bn/' in name),
    *('attention/norm/scale', 'attention/norm/bias'),
  }
  found = decayed([*NAMES, *OWN], norm=True, bias=False)
  assert {name for name, decays in found.items() if not decays} == {
    *('classifier/conv/bias', 'aux_head/classifier/conv/bias'),
  }


def test_parts_are_frozen_by_whole_components_of_their_names():
  names = ['backbone/stage1/0/kernel', 'backbone/stage1/10/kernel', 'backbone/stage10/kernel', 'a']
  assert trained(names, ()) == names
  assert trained(names, ('backbone/stage1',)) == names[2:]
  assert trained(names, ('backbone/stage1/10',)) == [names[0], *names[2:]]
  assert trained(names, ('backbone', 'backbone/stage1')) == ['a']
  assert trained(names, ('a',)) == names[:3]
