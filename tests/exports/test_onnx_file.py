"""The ONNX file is whole: plain operators, metadata, any number of images, always float32."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest

from pspnet_jax.errors import UserError
from tests import tiny
from tests.exports.programs import NAMES, images, program, reference
from tests.models.heads import AsppNet

onnx = pytest.importorskip('onnx')
onnx_file = pytest.importorskip('pspnet_jax.exports.onnx_file')

SNIPPET = re.compile(r'```python\n(# needs only onnxruntime\n.*?)```', re.DOTALL)
DEPLOYING = tiny.ROOT / 'docs' / 'deploying.md'


@pytest.fixture(scope='module')
def made():
  return program()


@pytest.fixture(scope='module')
def content(made):
  return onnx_file.make(made)


def test_the_documented_loader_needs_only_onnxruntime(made, content, tmp_path):
  (tmp_path / 'pspnet50.onnx').write_bytes(content)
  image = images(made.size, 3)
  np.save(tmp_path / 'image.npy', image)
  [loader] = SNIPPET.findall(DEPLOYING.read_text(encoding='utf-8'))
  blocked = 'import sys; sys.modules["pspnet_jax"] = sys.modules["jax"] = None\n'
  kept = '\nnumpy.save("labels.npy", labels); print(names)'
  result = subprocess.run(
    [sys.executable, '-c', blocked + loader + kept],
    capture_output=True,
    text=True,
    cwd=tmp_path,
    check=False,
  )
  assert result.returncode == 0, result.stderr
  assert result.stdout.strip() == str(list(NAMES))
  expected = reference(made)(image)['labels']
  np.testing.assert_array_equal(np.load(tmp_path / 'labels.npy'), expected)


def test_it_has_the_documented_operators_alone(content):
  documented = DEPLOYING.read_text(encoding='utf-8')
  for made in (content, onnx_file.make(program(size=None, pooling='max', avg_down=True))):
    model = onnx.load_from_string(made)
    assert {i.version for i in model.opset_import} == {17}
    names = {node.op_type for node in model.graph.node}
    for name in names - {'GreaterOrEqual', 'Less', 'And', 'Squeeze', 'Unsqueeze'}:
      assert re.search(rf'\b{name}\b', documented), name


def test_metadata_names_the_classes_and_what_it_is(content):
  model = onnx.load_from_string(content)
  [entry] = model.metadata_props
  told = json.loads(entry.value)
  assert entry.key == onnx_file.METADATA_KEY and tuple(told['class_names']) == NAMES
  assert 'the network on one image' in told['note'] and told['weights'] == 'step 7'


def test_labels_alone_are_put_out_unless_more_is_asked_for(made):
  alone = onnx_file.runner(onnx_file.make(program(probabilities=False)), threads=1)
  image = images(made.size, 1)
  assert alone(image).keys() == {'labels'}
  np.testing.assert_array_equal(alone(image)['labels'], reference(made)(image)['labels'])


def test_a_network_that_computes_in_less_than_float32_is_not_taken_as_it_is():
  with pytest.raises(ValueError, match='not bfloat16'):
    onnx_file.make(program(dtype='bfloat16'))


def test_a_network_of_ones_own_is_refused_with_what_takes_it():
  with pytest.raises(UserError, match=r'the network is tests.models.heads:AsppNet .*stablehlo --m'):
    onnx_file.make(program(model=AsppNet))


def test_more_weights_than_a_file_holds_are_refused(monkeypatch):
  from pspnet_jax.exports import onnx_graph

  monkeypatch.setattr(onnx_graph, '_MOST_BYTES', 1000)
  with pytest.raises(UserError, match='an ONNX file holds less than 2: write --format=stablehlo'):
    onnx_file.make(program())
