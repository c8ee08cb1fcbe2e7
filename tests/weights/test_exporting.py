"""State dicts for other implementations, and the file they are written to."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from pspnet_jax.data.spec import DatasetSpec
from pspnet_jax.errors import UserError
from pspnet_jax.inference.card import Card
from pspnet_jax.weights import exporting, importing
from tests import tiny
from tests.conftest import TINY
from tests.weights import state_dicts
from tests.weights.state_dicts import MMSEG, NARROW

EXPORTED = {
  'semseg': (NARROW, 'semseg'),
  'semseg-269': (dict(NARROW, depth=269), 'semseg'),
  'mmseg-v1c': (MMSEG, 'mmseg'),
  'mmseg-18-7x7': (dict(MMSEG, depth=18, stem_channels=(8,)), 'mmseg'),
}


@pytest.mark.parametrize('case', EXPORTED)
def test_export_gives_back_every_bit(case, tmp_path):
  options, source = EXPORTED[case]
  state = state_dicts.model(**options).state_dict()
  state = state_dicts.mmseg(state) if source == 'mmseg' else state
  state = {k: x for k, x in state.items() if not k.endswith('num_batches_tracked')}
  torch.save({'state_dict': state}, tmp_path / 'x.pth')
  converted = importing.convert([tmp_path / 'x.pth'])
  back = exporting.state_dict({**converted.params, **converted.batch_stats}, source)
  assert back.keys() == state.keys()
  for key, x in state.items():
    assert back[key].tobytes() == x.numpy().tobytes() and back[key].shape == tuple(x.shape), key
  exporting.write(back, tmp_path / 'back.pth', source, converted.card)
  again = importing.convert([tmp_path / 'back.pth'])
  for name, x in converted.params.items():
    np.testing.assert_array_equal(x, again.params[name])


def test_semseg_has_no_7x7_stem():
  with pytest.raises(UserError, match='--format=mmseg'):
    exporting.state_dict({'backbone/stem/convs/0/bn/bias': np.ones(1)}, 'semseg')


def test_a_name_that_is_no_format_is_refused():
  with pytest.raises(UserError, match='--format=caffe is none of semseg, mmseg'):
    exporting.state_dict({'backbone/stem/convs/0/bn/bias': np.ones(1)}, 'caffe')


def test_a_full_disk_is_named_and_leaves_the_old_file(tmp_path):
  program = (
    'import resource, sys; from pathlib import Path; import numpy as np\n'
    'from pspnet_jax.weights import exporting\n'
    'resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))  # as if no more fitted\n'
    'exporting.write({"a": np.zeros(10_000)}, Path(sys.argv[1]), "semseg", None)\n'
  )
  path = tmp_path / 'net.pth'
  path.write_text('old')
  result = subprocess.run(
    [sys.executable, '-c', program, str(path)],
    capture_output=True,
    text=True,
    cwd=tiny.ROOT,
    env=tiny.environment(),
    check=False,
  )
  assert result.stderr.endswith(f'UserError: cannot write to {path}: File too large.\n')
  assert path.read_text() == 'old' and os.listdir(tmp_path) == ['net.pth']


def test_what_no_shape_tells_is_said():
  spec = DatasetSpec(('a', 'b'), ((0, 0, 0), (1, 1, 1)))
  card = Card({'num_classes': 2, **TINY, 'align_corners': True}, spec, crop_size=(41, 41))
  assert 'align_corners=True' in exporting.conventions(card)
  assert 'RGB mean (123.675, 116.28, 103.53)' in exporting.conventions(card)
