"""Networks under wrappers and prefixes, beside other things, and several in one file."""

import collections
import sys
import types

import numpy as np
import pytest
import torch

from pspnet_jax.errors import UserError
from pspnet_jax.weights.foreign import choosing, reading
from pspnet_jax.weights.foreign.stored import Inert
from pspnet_jax.weights.importing import read_weights
from tests.conftest import TINY
from tests.weights import state_dicts
from tests.weights.state_dicts import MMSEG, NARROW


@pytest.fixture(scope='module')
def state():
  return dict(state_dicts.model(**TINY).state_dict())


@pytest.fixture(scope='module')
def backbone():
  made = state_dicts.model(**dict(NARROW, depth=18, stem_channels=(8,))).state_dict()
  return state_dicts.imagenet(made, 'torchvision')


@pytest.fixture
def found(tmp_path):
  """What is found in a file that holds this content."""

  def find(content, **options):
    torch.save(content, tmp_path / 'a.pth')
    with reading.opened(tmp_path / 'a.pth') as opened:
      return choosing.find(opened, 'a.pth', **options)

  return find


def prefixed(prefix, state):
  return {prefix + name: x for name, x in state.items()}


def assert_same(arrays, state):
  wanted = {n: x for n, x in state.items() if not n.endswith('num_batches_tracked')}
  wanted = {n: x for n, x in wanted.items() if not n.startswith('fc.')}
  assert arrays.keys() == wanted.keys()
  for name, x in wanted.items():
    np.testing.assert_array_equal(arrays[name], x.numpy())


CHAINS = (
  *('module.', '_orig_mod.', 'model.', 'net.', 'network.', 'module._orig_mod.'),
  *('_orig_mod.module.', 'module.module.', 'model.module.', 'student.model.net.'),
)


@pytest.mark.parametrize('prefix', CHAINS)
def test_any_chain_of_prefixes_is_taken_off(prefix, state, found):
  result = found({'state_dict': prefixed(prefix, state)})
  assert result.origin.name == 'semseg' and result.notes() == []
  assert_same(result.arrays, state)


@pytest.mark.parametrize('prefix', ['', 'model.', 'module._orig_mod.'])
def test_a_prefix_that_belongs_to_the_names_stays(prefix, found):
  mmseg = state_dicts.mmseg(state_dicts.model(**MMSEG).state_dict())
  result = found({'state_dict': prefixed(prefix, mmseg)})
  assert result.origin.name == 'mmseg' and 'backbone.stem.0.weight' in result.arrays
  assert result.others == ()


WRAPPERS = (
  *('state_dict', 'model', 'model_state', 'model_state_dict', 'net', 'network', 'ema', 'state'),
  *('params', 'weights', 'teacher', 'student', 'module', 'state_dict_ema', 'model.state_dict'),
  'checkpoint.model.state_dict',
)


@pytest.mark.parametrize('wrapper', WRAPPERS)
def test_weights_are_found_in_any_wrapper(wrapper, state, found):
  content = state
  for name in reversed(wrapper.split('.')):
    content = {name: content, 'epoch': 3}
  result = found(content)
  assert result.label == wrapper and result.notes() == []
  assert_same(result.arrays, state)


@pytest.mark.parametrize(
  'prefix',
  ['backbone.', 'encoder.', 'encoder_q.', 'module.encoder_q.', 'encoder_q.0.', 'model.', ''],
)
def test_backbones_are_found_under_any_prefix(prefix, backbone, found):
  beside = {'head.fc.weight': torch.ones(10, 64), 'queue': torch.ones(4, 8), 'predictor.0': 3}
  result = found({'state_dict': prefixed(prefix, backbone) | beside})
  assert result.origin.name == 'imagenet'
  assert_same(result.arrays, backbone)
  assert 'queue' in result.notes()[0]


def test_one_foreign_array_beside_the_network_is_left_out_and_named(state, tmp_path):
  ema = {f'ema_{name.replace(".", "_")}': x for name, x in state.items()}
  path = tmp_path / 'a.pth'
  torch.save({**state, **ema, 'criterion.weight': torch.ones(5), 'lr': 0.1, 'it': 3}, path)
  weights = read_weights([path])
  [note] = weights.notes
  assert note.startswith('Left out, being no part of the network: criterion.weight, ema_')
  torch.save(state, path)
  for name, x in read_weights([path]).arrays.items():
    np.testing.assert_array_equal(x, weights.arrays[name])


@pytest.mark.parametrize('name', ['layer1.0.attention.weight', 'cls.7.weight', 'layer5.0.bias'])
def test_an_array_within_the_network_that_fits_nowhere_is_an_error(name, state, tmp_path):
  torch.save({**state, name: torch.ones(2)}, tmp_path / 'a.pth')
  with pytest.raises(UserError, match=rf'{name} belong\(s\) to no layer'):
    read_weights([tmp_path / 'a.pth'])


def test_a_part_of_the_network_that_is_no_array_is_named(state, found):
  for value, kind in ((torch.eye(2).to_sparse(), 'sparse'), (3, 'int'), ('text', 'str')):
    with pytest.raises(UserError, match=rf'a\.pth: cls\.4\.bias is a .*{kind}.* not an array'):
      found({**state, 'cls.4.bias': value})


def test_numpy_arrays_are_arrays(state, found):
  assert_same(found({n: x.numpy() for n, x in state.items()}).arrays, state)


def doubled(state):
  return {name: 2 * x for name, x in state.items()}


@pytest.mark.parametrize(
  ('names', 'taken'),
  [
    (('state_dict_ema', 'state_dict'), 'state_dict'),
    (('ema', 'model'), 'model'),
    (('model', 'state_dict'), 'state_dict'),
    (('teacher', 'student'), 'student'),
    (('model_ema', 'net'), 'net'),
    (('first', 'second'), 'first'),
  ],
)
def test_of_several_networks_one_is_taken_and_the_others_are_named(names, taken, state, found):
  content = {name: state if name == taken else doubled(state) for name in names}
  result = found(content)
  [other] = set(names) - {taken}
  assert result.label == taken and result.others == (other,)
  assert result.notes() == [
    f'Taken: {taken}. The file has {other} as well; --key=NAME takes another.'
  ]
  assert_same(result.arrays, state)
  assert_same(found(content, key=other).arrays, doubled(state))


def test_two_prefixes_in_one_dictionary_are_two_networks(backbone, found):
  content = prefixed('encoder_k.', doubled(backbone)) | prefixed('encoder_q.', backbone)
  result = found({'state_dict': content})
  assert result.label == 'state_dict.encoder_q' and result.others == ('state_dict.encoder_k',)
  assert_same(result.arrays, backbone)
  assert_same(found({'state_dict': content}, key='state_dict.encoder_k').arrays, doubled(backbone))


def test_a_key_that_leads_nowhere_is_refused_with_those_that_lead_somewhere(state, found):
  with pytest.raises(UserError, match=r'no network at --key=emma, but at ema, model: name one'):
    found({'model': state, 'ema': doubled(state)}, key='emma')


def test_a_network_goes_before_a_backbone(state, backbone, found):
  result = found({'state_dict': backbone, 'model': state})
  assert result.origin.name == 'semseg'


def test_mit_in_one_file_is_put_together(found):
  encoder, decoder = state_dicts.mit(state_dicts.model(**TINY).state_dict())
  result = found(prefixed('encoder.', encoder) | prefixed('decoder.', decoder))
  assert result.origin.name == 'mit' and result.notes() == []
  assert {'conv1.weight', 'conv_last.0.weight'} < result.arrays.keys()


def test_a_source_that_is_forced_takes_what_it_would_name_so(found, backbone):
  del backbone['layer1.0.conv1.weight'], backbone['layer1.0.conv2.weight']
  assert found(backbone, source='imagenet').origin.name == 'imagenet'
  with pytest.raises(UserError, match='no array that caffe would name so: leave out --source'):
    found(backbone, source='caffe')


@pytest.mark.parametrize(
  ('content', 'message'),
  [
    ({}, 'holds no arrays by name: write'),
    ([torch.ones(1)], 'holds no arrays by name, but a list'),
    ({'state_dict': {}, 'epoch': 3}, 'holds no arrays by name: write'),
    ({1: torch.ones(1), (1, 2): torch.ones(1)}, 'holds no arrays by name: write'),
    ({'a': torch.eye(2).to_sparse()}, r'but torch\._utils\._rebuild_sparse_tensor \(a\)'),
    (torch.nn.Linear(2, 2), r'but torch\.nn\.modules\.linear\.Linear: write'),
    ({'model': torch.nn.Linear(2, 2)}, r'Linear \(model\): write a dense state_dict\(\) where'),
    ({'a\n\x1b[2J': torch.ones(1)}, r'arrays named a..\[2J are of none of the sources known'),
  ],
  ids=range(8),
)
def test_files_without_a_network(content, message, found):
  with pytest.raises(UserError, match=message) as caught:
    found(content)
  assert str(caught.value).isprintable() and '--source' not in str(caught.value)


def test_dictionaries_that_hold_each_other_end(state, found):
  content = {'state_dict': state}
  content['again'] = content
  state_of_none = {'a': {}}
  state_of_none['a']['b'] = state_of_none
  assert found(content).label == 'state_dict'
  with pytest.raises(UserError, match='no arrays'):
    found(state_of_none)


def test_the_networks_of_one_dictionary_are_bounded():
  content = {f'{i}.layer0.0.weight': Inert('x.Y') for i in range(1000)}
  with pytest.raises(UserError, match=r'no network at --key=x, but at 0, 1, 10, 11 and 96 more'):
    choosing.find(content, 'a.pth', key='x')


def test_arrays_of_stride_0_count_in_full(state, found, monkeypatch):
  monkeypatch.setenv('PSPNET_JAX_MAX_BYTES', '1000000')
  huge = torch.ones(1, dtype=torch.half).expand(1 << 40)
  with pytest.raises(UserError, match=r'the arrays of the network take 4,398,.*MAX_BYTES'):
    found({**state, 'cls.4.bias': huge})
  assert_same(found({**state, 'queue': huge}).arrays, state)  # nobody reads it


def test_training_checkpoints_of_mmsegmentation_1_are_read(found, tmp_path):
  """Its message hub holds objects of a class of its own, NumPy arrays and scalars."""
  module = types.ModuleType('hub_of_a_test')

  class HistoryBuffer:
    def __init__(self):
      self._log_history = np.array([0.5, 0.25])
      self._statistics_methods = collections.OrderedDict()

    def __setstate__(self, state):
      raise AssertionError('it was run')

  HistoryBuffer.__module__, HistoryBuffer.__qualname__ = 'hub_of_a_test', 'HistoryBuffer'
  module.HistoryBuffer = HistoryBuffer
  sys.modules['hub_of_a_test'] = module
  try:
    mmseg = state_dicts.mmseg(state_dicts.model(**MMSEG).state_dict())
    hub = {'log_scalars': {'loss': HistoryBuffer()}, 'runtime_info': {'iter': np.int64(3)}}
    content = {
      'meta': {'iter': 3, 'best': np.float32(0.5)},
      'state_dict': mmseg,
      'message_hub': hub,
    }
    result = found(content)
  finally:
    del sys.modules['hub_of_a_test']
  assert_same(result.arrays, mmseg)
  assert result.notes() == []
