"""Blobs of .caffemodel files, as they are stored."""

import numpy as np
import pytest
from hypothesis import given

from pspnet_jax.errors import UserError
from pspnet_jax.weights.foreign import caffemodel
from tests.mutations import ends_well, fuzz, mutated
from tests.weights.foreign.files import content_of, values_of


def net(*layers, legacy=False, double=False):
  """A NetParameter of (name, arrays) by the same descriptions, filled with other values."""
  made = caffemodel._net_parameter()()
  for name, arrays in layers:
    layer = (made.layers if legacy else made.layer).add()
    layer.name = name
    for array in arrays:
      blob = layer.blobs.add()
      if legacy:
        shape = (1,) * (4 - array.ndim) + array.shape
        for field, side in zip(('num', 'channels', 'height', 'width'), shape, strict=True):
          setattr(blob, field, side)
      else:
        blob.shape.dim.extend(array.shape)
      field, dtype = ('double_data', '<f8') if double else ('data', '<f4')
      setattr(blob, field, array.astype(dtype).tobytes())
  return made


ARRAY = np.arange(24.0).reshape(2, 3, 2, 2)


@pytest.mark.parametrize('double', [False, True])
def test_blobs_are_numbered_and_keep_their_shapes(double):
  data = net(('conv', [ARRAY, np.ones(2)]), ('relu', []), double=double).SerializeToString()
  arrays = values_of(caffemodel.parse(data, 'a.caffemodel'))
  assert list(arrays) == ['conv[0]', 'conv[1]']
  np.testing.assert_array_equal(arrays['conv[0]'], ARRAY)
  assert arrays['conv[1]'].shape == (2,)


def test_the_layout_before_2014_has_four_axes():
  data = net(('conv', [ARRAY, np.ones(2)]), legacy=True).SerializeToString()
  arrays = values_of(caffemodel.parse(data, 'a.caffemodel'))
  np.testing.assert_array_equal(arrays['conv[0]'], ARRAY)
  assert arrays['conv[1]'].shape == (1, 1, 1, 2)


def test_two_layers_of_one_name_are_refused():
  data = net(('conv', [ARRAY]), ('conv', [ARRAY])).SerializeToString()
  with pytest.raises(UserError, match='a has two layers conv'):
    caffemodel.parse(data, 'a')


def test_values_that_do_not_fill_the_shape_are_counted():
  made = net(('conv', [ARRAY]))
  made.layer[0].blobs[0].shape.dim[0] = 5
  with pytest.raises(UserError, match=r'a: conv\[0\] has 24 values, and its shape \(5, 3, 2, 2\)'):
    caffemodel.parse(made.SerializeToString(), 'a')


def test_files_cut_short_and_files_of_nothing_are_told_apart():
  data = net(('conv', [ARRAY])).SerializeToString()
  with pytest.raises(UserError, match=r'a is not a \.caffemodel or is cut short'):
    caffemodel.parse(data[:-3], 'a')
  with pytest.raises(UserError, match='a holds no layer with weights'):
    caffemodel.parse(net(('relu', [])).SerializeToString(), 'a')


@pytest.mark.parametrize(
  'dims', [[1] * 70, [0, 1 << 62], [1 << 62, 1 << 62, 0], [-1, -24], [0], [24, 2]]
)
def test_shapes_that_lie_are_refused(dims):
  made = net(('conv', [ARRAY]))
  del made.layer[0].blobs[0].shape.dim[:]
  made.layer[0].blobs[0].shape.dim.extend(dims)
  with pytest.raises(UserError, match='is not of that many'):
    caffemodel.parse(made.SerializeToString(), 'a')


def test_an_empty_blob_is_refused():
  with pytest.raises(UserError, match='has 0 values'):
    caffemodel.parse(net(('conv', [np.zeros(0)])).SerializeToString(), 'a')


@fuzz
def test_mutated_files(tmp_path_factory):
  path = tmp_path_factory.mktemp('fuzz') / 'a.caffemodel'
  seeds = [net(('conv', [ARRAY, np.ones(2)]), legacy=old).SerializeToString() for old in (0, 1)]

  @given(mutated(seeds))
  def one(data):
    path.write_bytes(data)
    ends_well(content_of, path)

  one()
