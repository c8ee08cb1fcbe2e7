"""One StableHLO file holds the network of every platform, and JAX alone runs it."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from jax import export

from pspnet_jax.errors import UserError
from pspnet_jax.exports import stablehlo
from pspnet_jax.models.pspnet import PSPNet
from tests import tiny
from tests.exports.programs import images, program, reference

SNIPPET = re.compile(r'```python\n(# needs only jax\n.*?)```', re.DOTALL)


@pytest.fixture(scope='module')
def made():
  return program()


@pytest.fixture(scope='module')
def content(made):
  return stablehlo.make(made)


def test_the_documented_loader_needs_only_jax(made, content, tmp_path):
  """It runs in a process that cannot import pspnet_jax."""
  (tmp_path / 'pspnet50.stablehlo').write_bytes(content)
  (tmp_path / 'pspnet50.stablehlo.json').write_text(made.described(), encoding='utf-8')
  image = images(made.size, 3)
  np.save(tmp_path / 'image.npy', image)
  [loader] = SNIPPET.findall((tiny.ROOT / 'docs' / 'deploying.md').read_text(encoding='utf-8'))
  assert len(loader.strip().splitlines()) <= 11  # ten, and the comment
  blocked = 'import sys; sys.modules["pspnet_jax"] = sys.modules["flax"] = None\n'
  kept = '\nnumpy.save("labels.npy", labels); print(names[0])'
  environment = {**tiny.environment(), 'PYTHONPATH': ''}
  result = subprocess.run(
    [sys.executable, '-c', blocked + loader + kept],
    capture_output=True,
    text=True,
    cwd=tmp_path,
    env=environment,
    check=False,
  )
  assert result.returncode == 0, result.stderr
  assert result.stdout.strip() == 'thing 0'
  expected = reference(made)(image)
  np.testing.assert_array_equal(np.load(tmp_path / 'labels.npy'), expected['labels'])


def test_any_number_of_images_gets_the_probabilities_of_the_network(made, content):
  run = stablehlo.runner(content)
  image = images(made.size, 1)  # three in the test above
  ours, expected = run(image), reference(made)(image)
  np.testing.assert_allclose(ours['probabilities'], expected['probabilities'], atol=2e-5)
  np.testing.assert_array_equal(ours['labels'], expected['labels'])
  assert ours['labels'].dtype == np.uint8


def test_each_platform_has_what_it_computes_best():
  made = program((33, 33), probabilities=False, width=32, head_channels=256, bins=())
  exported = export.deserialize(bytearray(stablehlo.make(made)))
  assert exported.platforms == stablehlo.PLATFORMS == ('cpu', 'cuda', 'tpu')
  text = exported.mlir_module()
  assert '_platform_index' in text and 'stablehlo.case' in text
  # The CPU's branch of a wide convolution is Winograd's; the others' is a convolution.
  assert re.search(r'stablehlo.dot_general.*tensor<256x256xf32>', text)
  assert re.search(r'stablehlo.convolution.*tensor<3x3x256x256xf32>', text)
  assert 'reduce_window' in text  # the maxima of a TPU


class LooksAtTheBatch(PSPNet):
  """Does something else with many images than with few."""

  def __call__(self, image, **options):
    return super().__call__(image if image.shape[0] > 4 else image * 2, **options)


def test_a_network_that_looks_at_the_number_of_images_is_refused():
  with pytest.raises(UserError, match=r'^the network LooksAtTheBatch looks at the number of imag'):
    stablehlo.make(program(model=LooksAtTheBatch, bins=()))


def test_a_free_size_is_refused_with_its_reason():
  with pytest.raises(UserError, match=r'^--size=any: StableHLO holds .*--size=HEIGHT,WIDTH'):
    stablehlo.make(program(size=None))


def test_what_has_to_be_known_stands_beside_it(made):
  told = json.loads(made.described())
  assert told['class_names'][1] == 'thing 1' and len(told['palette']) == 5
  assert told['size'] == [41, 57] and 'windows' in told['note']
  assert told['labels'] == 'uint8 [batch, 41, 57]'
  assert str(Path.cwd()) not in made.described()
