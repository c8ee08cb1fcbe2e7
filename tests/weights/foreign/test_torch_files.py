"""Files of torch.save, of either age, and of pickle.dump: what is in them, and what is wrong."""

import pickle
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import given

from pspnet_jax.errors import UserError
from tests.mutations import ends_well, fuzz, mutated
from tests.weights.foreign.files import content_of

ZIPPED = pytest.mark.parametrize('zipped', [True, False], ids=['zip', 'legacy'])


def save(path, content, zipped=True):
  torch.save(content, path, _use_new_zipfile_serialization=zipped)
  return path


@ZIPPED
@pytest.mark.parametrize(
  'dtype',
  [
    *('float64', 'float32', 'float16', 'bfloat16', 'float8_e4m3fn', 'float8_e5m2'),
    *('int64', 'int32', 'int16', 'int8', 'uint8', 'bool'),
  ],
)
def test_dtypes(dtype, zipped, tmp_path):
  tensor = torch.tensor([[0, 1, 1], [1, 0, 1]]).to(getattr(torch, dtype))
  found = content_of(save(tmp_path / 'a.pth', {'a': tensor}, zipped))['a']
  wanted = tensor.float() if dtype.startswith(('bfloat', 'float8')) else tensor
  np.testing.assert_array_equal(found, wanted.numpy())
  assert found.dtype == wanted.numpy().dtype


@ZIPPED
def test_views_parameters_and_what_else_a_tensor_may_be(zipped, tmp_path):
  base = torch.arange(24.0).reshape(2, 3, 4)
  tagged = torch.ones(2)
  tagged.tag = 'an attribute'
  state = {
    'parameter': torch.nn.Parameter(base),
    'turned': base.permute(2, 0, 1),
    'part': base[1, 1:, ::2],
    'last': base.to(memory_format=torch.contiguous_format)[1],
    'expanded': torch.ones(1).expand(5),
    'scalar': torch.tensor(2.5),
    'empty': torch.ones(0, 3),
    'tagged': tagged,
  }
  found = content_of(save(tmp_path / 'a.pth', state, zipped))
  for name, tensor in state.items():
    np.testing.assert_array_equal(found[name].reshape(tensor.shape), tensor.detach().numpy())


@ZIPPED
def test_optimisers_and_schedules_are_plain_data(zipped, tmp_path):
  model = torch.nn.Linear(2, 2)
  optimiser = torch.optim.AdamW(model.parameters())
  model(torch.ones(1, 2)).sum().backward()
  optimiser.step()
  content = {'model': model.state_dict(), 'optimizer': optimiser.state_dict(), 'epoch': 3}
  found = content_of(save(tmp_path / 'a.pth', content, zipped))
  assert found['epoch'] == 3 and found['optimizer']['param_groups'][0]['lr'] == 1e-3
  np.testing.assert_array_equal(found['model']['bias'], content['model']['bias'].numpy())


@ZIPPED
def test_what_is_not_dense_numbers_is_inert(zipped, tmp_path):
  content = {'sparse': torch.eye(2).to_sparse(), 'module': torch.nn.ReLU(), 'kind': torch.float32}
  found = content_of(save(tmp_path / 'a.pth', content, zipped))
  assert found['sparse'].name == 'torch._utils._rebuild_sparse_tensor'
  assert found['module'].name == 'torch.nn.modules.activation.ReLU'
  assert found['kind'].name == 'torch.float32'


@pytest.mark.parametrize('protocol', [0, 2, 5])
def test_pickles_of_numpy_arrays(protocol, tmp_path):
  path = tmp_path / 'a.pkl'
  path.write_bytes(pickle.dumps({'a': np.arange(6.0).reshape(2, 3)}, protocol))
  np.testing.assert_array_equal(content_of(path)['a'], np.arange(6.0).reshape(2, 3))


@pytest.mark.parametrize('bit', range(0, 8, 3))
@pytest.mark.parametrize('which', ['weights', 'data.pkl'])
def test_a_flipped_bit_is_damage(which, bit, tmp_path):
  path = save(tmp_path / 'a.pth', {'a': torch.arange(1000.0)})
  with zipfile.ZipFile(path) as archive:
    [name] = (
      n for n in archive.namelist() if n.endswith('data/0' if which == 'weights' else which)
    )
    content = archive.read(name)
  data = bytearray(path.read_bytes())
  data[data.find(content) + len(content) // 2] ^= 1 << bit
  path.write_bytes(data)
  with pytest.raises(UserError, match=r'a\.pth is damaged, cut short \(Bad CRC-32'):
    content_of(path)


def rezipped(path, change, method=zipfile.ZIP_STORED):
  """Writes the archive anew, its members changed."""
  with zipfile.ZipFile(path) as archive:
    members = {name: archive.read(name) for name in archive.namelist()}
  change(members)
  with zipfile.ZipFile(path, 'w', method) as archive:
    for name, content in members.items():
      archive.writestr(name, content)
  return path


def test_an_archive_packed_again_is_read(tmp_path):
  path = save(tmp_path / 'a.pth', {'a': torch.arange(1000.0)})
  rezipped(path, lambda members: None, zipfile.ZIP_DEFLATED)
  np.testing.assert_array_equal(content_of(path)['a'], np.arange(1000))


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    (lambda m: m.pop('a/data/0'), 'damaged'),
    (lambda m: m.update({'a/data/0': bytes(3999)}), 'damaged'),
    (lambda m: m.pop('a/data.pkl'), r'an archive without a data\.pkl'),
    (lambda m: m.update({'a/data.pkl': b''}), 'damaged'),
    (lambda m: m.update({'a/byteorder': b'big'}), 'big-endian'),
    (lambda m: m.update({'a/constants.pkl': b''}), 'TorchScript .*state_dict'),
  ],
)
def test_archives_that_lack_something(change, message, tmp_path):
  path = rezipped(save(tmp_path / 'a.pth', {'a': torch.arange(1000.0)}), change)
  with pytest.raises(UserError, match=message):
    content_of(path)


def test_a_program_of_torchscript_is_named(tmp_path):
  torch.jit.script(torch.nn.Linear(2, 2)).save(tmp_path / 'a.pt')
  with pytest.raises(UserError, match=r"TorchScript program .*torch\.jit\.load\('a\.pt'\)"):
    content_of(tmp_path / 'a.pt')


def test_what_unpacks_to_too_much_is_not_unpacked(tmp_path, monkeypatch):
  path = save(tmp_path / 'a.pth', {'a': torch.zeros(1 << 20)})
  rezipped(path, lambda members: None, zipfile.ZIP_DEFLATED)
  assert path.stat().st_size < 20_000
  monkeypatch.setenv('PSPNET_JAX_MAX_BYTES', '1000000')
  with pytest.raises(UserError, match=r'unpacks to 4,.*1,000,000 is the limit'):
    content_of(path)


@fuzz
@ZIPPED
def test_mutated_files(zipped, tmp_path_factory):
  folder = tmp_path_factory.mktemp('fuzz')
  state = {f'layer{i}.0.conv1.weight': torch.ones(1, 2, 1, 1) for i in (1, 2)}
  state['half'] = torch.ones(3).half()
  content = {'state_dict': state, 'meta': {'CLASSES': ('a', 'b'), 'x': np.ones(2)}, 'epoch': 1.5}
  path = save(folder / 'a.pth', content, zipped)
  seeds = [path.read_bytes()]

  @given(mutated(seeds))
  def one(data):
    path.write_bytes(data)
    ends_well(content_of, path)

  one()
