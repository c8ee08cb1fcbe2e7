"""Every network that the package has is the same in ONNX, at a fixed size and at any size."""

import dataclasses

import numpy as np
import pytest

from tests.exports.programs import images, program, reference

onnx_file = pytest.importorskip('pspnet_jax.exports.onnx_file')

NETWORKS = {
  'as published, but narrow': {},
  'bottlenecks, 7×7, half-pixel rule': {
    'depth': 50,
    'width': 2,
    'stem_channels': (4,),
    'align_corners': False,
  },
  'stride in the 1×1': {'depth': 50, 'width': 2, 'stride_in_1x1': True, 'output_stride': 32},
  'stride 16, contracted dilation': {'output_stride': 16, 'contract_dilation': True},
  'stride 32, dilated, pooled shortcuts': {
    'output_stride': 32,
    'dilations': (1, 1, 2, 4),
    'avg_down': True,
    'bins': (1, 2),
  },
  'dilated second convolutions': {'depth': 18, 'dilate_conv2': True},
  'maxima': {'pooling': 'max', 'bins': (1, 3)},
  'no pyramid': {'bins': ()},
  'no reduction': {'reduce_dimension': False, 'bins': (2, 5)},
  'another width of the levels': {'pyramid_channels': 3, 'align_corners': False},
}


def assert_same(ours, theirs):
  assert ours['labels'].dtype == np.uint8 and ours['probabilities'].dtype == np.float32
  assert ours['probabilities'].shape == theirs['probabilities'].shape
  assert np.ptp(theirs['probabilities']) > 0.2  # or any error would pass
  np.testing.assert_allclose(ours['probabilities'], theirs['probabilities'], atol=2e-5)
  np.testing.assert_array_equal(ours['labels'], theirs['labels'])


@pytest.mark.parametrize('name', NETWORKS)
def test_a_network_is_the_same(name):
  made = program(**NETWORKS[name])
  image = images(made.size)
  expected = reference(made)(image)
  assert_same(onnx_file.runner(onnx_file.make(made))(image), expected)
  free = dataclasses.replace(made, size=None)
  run = onnx_file.runner(onnx_file.make(free))
  assert_same(run(image), expected)
  again = run(images((33, 24), 1))  # of another size
  assert again['labels'].shape == (1, 33, 24)


@pytest.mark.parametrize('pooling', ['avg', 'max'])
def test_a_map_that_all_grids_divide_is_pooled_by_blocks(pooling):
  made = program((96, 48), pooling=pooling)  # a map of 12×6
  image = images(made.size, 3)
  content = onnx_file.make(made)
  assert (b'AveragePool' in content) == (pooling == 'avg')
  assert_same(onnx_file.runner(content)(image), reference(made)(image))
  free = onnx_file.runner(onnx_file.make(dataclasses.replace(made, size=None)))
  assert_same(free(image), reference(made)(image))


def test_a_map_of_one_cell_is_pooled_and_resized():
  made = program((8, 8))
  image = images(made.size)
  expected = reference(made)(image)
  assert_same(onnx_file.runner(onnx_file.make(made))(image), expected)
  free = dataclasses.replace(made, size=None)
  assert_same(onnx_file.runner(onnx_file.make(free))(image), expected)
