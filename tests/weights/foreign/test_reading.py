"""Files as they come: hostile, cut short, of something else."""

import pickle
import sys
import tarfile

import numpy as np
import pytest
import torch

from pspnet_jax.errors import UserError
from tests.weights import array_lists, caffe_files, state_dicts
from tests.weights.foreign.files import content_of

STATE = {'a': torch.arange(20000.0).reshape(2, 100, 100), 'n': torch.tensor(3)}
ARRAYS = {'a': STATE['a'].numpy(), 'n': np.int64([3])}


@pytest.fixture(
  params=[
    *('zip.pth', 'legacy.pth', 'x.safetensors', 'x.caffemodel', 'old.caffemodel'),
    *('x.pdparams', 'x.params'),
  ]
)
def whole(request, tmp_path):
  path = tmp_path / request.param
  if path.suffix == '.pth':
    torch.save(STATE, path, _use_new_zipfile_serialization=request.param == 'zip.pth')
  elif path.suffix == '.safetensors':
    state_dicts.safetensors(path, STATE)
  elif path.suffix == '.pdparams':
    path.write_bytes(pickle.dumps(ARRAYS, 2))
  elif path.suffix == '.params':
    array_lists.write(path, ARRAYS)
  else:
    blobs = {'a': [STATE['a'].numpy()], 'n': [np.float32([3])]}
    caffe_files.caffemodel(path, blobs, old_layers=path.stem == 'old')
  return path


def test_whole_files_are_read(whole):
  arrays = content_of(whole)
  first = arrays.get('a', arrays.get('a[0]'))
  np.testing.assert_array_equal(first, STATE['a'].numpy())
  assert len(arrays) == 2


@pytest.mark.parametrize('share', [0.0002, 0.5, 0.999])
def test_a_file_cut_short_is_named(whole, share):
  whole.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * share)])
  with pytest.raises(UserError, match=f'{whole.name} is .*cut short') as caught:
    content_of(whole)
  assert '\n' not in str(caught.value)


@pytest.mark.parametrize('suffix', ['.pth', '.safetensors', '.caffemodel'])
@pytest.mark.parametrize('content', [b'not found', b'\x89PNG\r\n\x1a\n' + bytes(60)])
def test_something_else_is_named(tmp_path, suffix, content):
  path = tmp_path / f'other{suffix}'
  path.write_bytes(content)
  with pytest.raises(UserError, match=rf'other{suffix} is .*cut short'):
    content_of(path)


def test_paths_that_are_no_weights(tmp_path):
  (tmp_path / 'dir.pth').mkdir()
  (tmp_path / 'empty.pth').write_bytes(b'')
  for name, message in (
    ('gone.pth', 'cannot read .*gone.pth: No such file'),
    ('dir.pth', 'empty or no file'),
    ('empty.pth', 'empty or no file'),
  ):
    with pytest.raises(UserError, match=message):
      content_of(tmp_path / name)


def test_files_beyond_the_limit_are_not_read(tmp_path, monkeypatch):
  monkeypatch.setenv('PSPNET_JAX_MAX_BYTES', '1000')
  torch.save(STATE, tmp_path / 'l.pth')
  with pytest.raises(UserError, match=r'and 1,000 is the limit.*PSPNET_JAX_MAX_BYTES'):
    content_of(tmp_path / 'l.pth')


def test_nothing_of_pytorch_is_needed(tmp_path, monkeypatch):
  torch.save(STATE, tmp_path / 't.pth')
  monkeypatch.setitem(sys.modules, 'torch', None)
  np.testing.assert_array_equal(content_of(tmp_path / 't.pth')['a'], STATE['a'].numpy())


@pytest.mark.parametrize('name', ['net.pkl', 'net.model', 'PSPNet_last', 'NET.PTH', 'net.h5'])
def test_files_of_pytorch_are_told_by_what_is_in_them(name, tmp_path):
  torch.save(STATE, tmp_path / name)
  assert content_of(tmp_path / name).keys() == STATE.keys()


OTHERS = {
  'net.h5': (b'\x89HDF\r\n\x1a\n' + bytes(99), 'HDF5 file, as Keras writes them'),
  'net.pth': (b'\x89HDF\r\n\x1a\n' + bytes(99), 'HDF5 file'),
  'net.pdparams': (b'}q\x00.', 'PaddlePaddle'),
  'net.pdiparams': (bytes(99), 'PaddlePaddle'),
  'net.params': (bytes(99), 'no list of arrays of MXNet, or one that is cut short'),
  'net.npy': (b'\x93NUMPY\x01\x00' + bytes(99), 'NumPy'),
  'net.npz': (b'PK\x03\x04' + bytes(99), 'NumPy'),
  'net.onnx': (bytes(99), 'ONNX'),
  'model.ckpt.index': (bytes(99), 'TensorFlow'),
  'model.ckpt.data-00000-of-00001': (bytes(99), 'TensorFlow'),
  'net.prototxt': (b'layer {}', 'without its weights'),
  'pointer.pth': (b'version https://git-lfs.github.com/spec/v1\n', 'Git LFS'),
  'page.pth': (b'<!DOCTYPE html><html></html>', 'a web page'),
  'packed.pth': (b'\x1f\x8b\x08' + bytes(99), 'gunzip'),
}


@pytest.mark.parametrize('name', OTHERS)
def test_files_of_others_are_named_as_what_they_are(name, tmp_path):
  content, what = OTHERS[name]
  (tmp_path / name).write_bytes(content)
  with pytest.raises(UserError, match=f'{what}.*which is not read: give a .pth'):
    content_of(tmp_path / name)


def test_a_tar_archive_is_named(tmp_path):
  with tarfile.open(tmp_path / 'a.tar', 'w') as archive:
    archive.add(__file__, 'x')
  with pytest.raises(UserError, match='is a tar archive: unpack it'):
    content_of(tmp_path / 'a.tar')


def test_caffemodels_without_weights(tmp_path):
  with pytest.raises(UserError, match='holds no layer with weights'):
    content_of(caffe_files.caffemodel(tmp_path / 'none.caffemodel', {}))
