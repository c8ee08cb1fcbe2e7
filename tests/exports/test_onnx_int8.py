"""Quantised by images of its kind a network answers nearly as before, from fewer bytes."""

import json

import numpy as np
import pytest

from tests.exports.programs import images, program

onnx = pytest.importorskip('onnx')
onnx_file = pytest.importorskip('pspnet_jax.exports.onnx_file')
from pspnet_jax.exports import onnx_int8  # noqa: E402


@pytest.mark.parametrize('size', [(41, 57), None])
def test_convolutions_are_int8_and_the_rest_stays(size):
  made = program(size, width=16)
  content = onnx_file.make(made)
  small = onnx_int8.quantized(content, images((41, 57), 6, seed=0))
  model = onnx.load_from_string(small)
  [entry] = model.metadata_props
  assert json.loads(entry.value)['class_names'] == list(made.card.spec.class_names)
  kernels = {x.name: x for x in model.graph.initializer if x.data_type == onnx.TensorProto.INT8}
  assert len(kernels) > 10 and len(small) < len(content)
  image = images((41, 57), 2, seed=9)
  ours, floats = onnx_file.runner(small)(image), onnx_file.runner(content)(image)
  assert ours.keys() == floats.keys()
  assert (ours['labels'] == floats['labels']).mean() > 0.8
  assert 0 < np.abs(ours['probabilities'] - floats['probabilities']).max() < 0.3
