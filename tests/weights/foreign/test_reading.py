"""Files as they come: hostile, cut short, of something else."""

import os
import pickle
import sys

import numpy as np
import pytest
import torch

from pspnet_jax.errors import UserError
from pspnet_jax.weights.foreign import reading
from tests.weights import caffe_files, state_dicts


class Hostile:
  """Makes the file `path` when it is unpickled."""

  def __init__(self, path):
    self.path = path

  def __reduce__(self):
    return os.system, (f'touch {self.path}',)


@pytest.mark.parametrize('zipped', [True, False])
def test_a_pickle_that_runs_code_is_refused(tmp_path, zipped):
  trace, path = tmp_path / 'trace', tmp_path / 'hostile.pth'
  content = {'state_dict': {'a': torch.ones(1), 'b': Hostile(trace)}}
  torch.save(content, path, _use_new_zipfile_serialization=zipped)
  with pytest.raises(
    UserError, match=r'hostile\.pth is refused: .* posix\.system, which could run'
  ):
    reading.read(path)
  assert not trace.exists()
  torch.load(path, weights_only=False)
  assert trace.exists()  # it would have


@pytest.mark.parametrize('protocol', [2, 4])
def test_a_plain_pickle_is_refused(tmp_path, protocol):
  trace, path = tmp_path / 'trace', tmp_path / 'plain.pth'
  path.write_bytes(pickle.dumps(Hostile(trace), protocol))
  with pytest.raises(UserError, match=r'plain\.pth is (refused|cut short or no PyTorch)'):
    reading.read(path)
  assert not trace.exists()


def test_a_whole_module_is_refused(tmp_path):
  torch.save(torch.nn.Linear(2, 2), tmp_path / 'm.pth')
  with pytest.raises(UserError, match=r'Linear, which could run code; save only the state_dict'):
    reading.read(tmp_path / 'm.pth')


STATE = {'a': torch.arange(20000.0).reshape(2, 100, 100), 'n': torch.tensor(3)}


@pytest.fixture(params=['zip.pth', 'legacy.pth', 'x.safetensors', 'x.caffemodel', 'old.caffemodel'])
def whole(request, tmp_path):
  path = tmp_path / request.param
  if path.suffix == '.pth':
    torch.save(STATE, path, _use_new_zipfile_serialization=request.param == 'zip.pth')
  elif path.suffix == '.safetensors':
    state_dicts.safetensors(path, STATE)
  else:
    blobs = {'a': [STATE['a'].numpy()], 'n': [np.float32([3])]}
    caffe_files.caffemodel(path, blobs, old_layers=path.stem == 'old')
  return path


def test_whole_files_are_read(whole):
  arrays, _ = reading.read(whole)
  first = arrays.get('a', arrays.get('a[0]'))
  np.testing.assert_array_equal(first, STATE['a'].numpy())
  assert len(arrays) == 2


@pytest.mark.parametrize('share', [0.0002, 0.5, 0.999])
def test_a_file_cut_short_is_named(whole, share):
  whole.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * share)])
  with pytest.raises(UserError, match=f'{whole.name} is .*cut short') as caught:
    reading.read(whole)
  assert '\n' not in str(caught.value)


@pytest.mark.parametrize('suffix', ['.pth', '.safetensors', '.caffemodel'])
@pytest.mark.parametrize('content', [b'<html>not found</html>', b'\x89PNG\r\n\x1a\n' + bytes(60)])
def test_something_else_is_named(tmp_path, suffix, content):
  path = tmp_path / f'other{suffix}'
  path.write_bytes(content)
  with pytest.raises(UserError, match=rf'other{suffix} is .*cut short'):
    reading.read(path)


@pytest.mark.parametrize(
  ('content', 'message'),
  [
    ({}, 'holds no arrays by name'),
    ([torch.ones(1)], 'holds no arrays by name'),
    ({'state_dict': {}}, 'holds no arrays by name'),
    ({'a': torch.ones(1), 'epoch': 3}, 'epoch is a int, not an array'),
    ({'a': torch.ones(2, 2).to_sparse()}, 'a cannot become an array'),
  ],
)
def test_contents_that_are_no_state_dict(tmp_path, content, message):
  torch.save(content, tmp_path / 'c.pth')
  with pytest.raises(UserError, match=f'c.pth.*{message}'):
    reading.read(tmp_path / 'c.pth')


def test_paths_that_are_no_weights(tmp_path):
  (tmp_path / 'dir.pth').mkdir()
  (tmp_path / 'empty.pth').write_bytes(b'')
  for name, message in (
    ('gone.pth', 'cannot read .*gone.pth: No such file'),
    ('dir.pth', 'empty or no file'),
    ('empty.pth', 'empty or no file'),
    ('x.zip', 'no weight file by its name'),
  ):
    with pytest.raises(UserError, match=message):
      reading.read(tmp_path / name)


def test_files_beyond_the_limit_are_not_read(tmp_path, monkeypatch):
  monkeypatch.setattr(reading, 'LARGEST', 1000)
  torch.save(STATE, tmp_path / 'l.pth')
  with pytest.raises(UserError, match='and 1,000 is the limit'):
    reading.read(tmp_path / 'l.pth')


def test_without_torch_the_extra_is_named(tmp_path, monkeypatch):
  torch.save(STATE, tmp_path / 't.pth')
  monkeypatch.setitem(sys.modules, 'torch', None)
  with pytest.raises(UserError, match=r'needs PyTorch: pip install .pspnet_jax\[convert\]'):
    reading.read(tmp_path / 't.pth')


def test_caffemodels_without_weights(tmp_path):
  with pytest.raises(UserError, match='holds no layer with weights'):
    reading.read(caffe_files.caffemodel(tmp_path / 'none.caffemodel', {}))
