"""State dicts for other implementations, and the file they are written to."""

import dataclasses
import os
import subprocess
import sys

import jax
import numpy as np
import pytest
import torch

from pspnet_jax.data.spec import DatasetSpec
from pspnet_jax.errors import UserError
from pspnet_jax.inference.card import Card
from pspnet_jax.inference.protocol import Protocol
from pspnet_jax.weights import exporting, importing, written_card
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


SMALL = {**TINY, 'num_classes': 3, 'head_channels': 8}
SPEC = DatasetSpec(('sky', 'road', 'a|b'), ((0, 0, 0), (9, 8, 7), (255, 0, 1)))
# What the format has a setting for comes back; what it has not is refused by this word.
THERE_AND_BACK = {
  'default': ({}, {}),
  'pyramid_channels': ({'pyramid_channels': 5}, {}),
  'no aux_head': ({'aux_head': False, 'aux_channels': 256}, {}),
  'bins': ({'bins': (1, 2, 4, 8)}, {}),
  'three bins': ({'bins': (1, 3, 6), 'pyramid_channels': 4}, {}),
  'output_stride 16': ({'output_stride': 16}, {'semseg': 'output_stride=16'}),
  'align_corners': ({'align_corners': False}, {'semseg': 'align_corners=False'}),
  'contract_dilation': ({'contract_dilation': True}, {'semseg': 'contract_dilation=True'}),
  'dilations': (
    {'output_stride': 32, 'dilations': (1, 1, 2, 4)},
    {'semseg': 'output_stride=32'},
  ),
  'stride_in_1x1': ({'depth': 50, 'stride_in_1x1': True}, {'semseg': 'stride_in_1x1=True'}),
  'avg_down': ({'avg_down': True}, {'semseg': 'avg_down=True'}),
  'avg_down 7x7': ({'avg_down': True, 'stem_channels': (8,)}, {'semseg': 'stem_channels'}),
  '7x7': ({'stem_channels': (8,)}, {'semseg': r'stem_channels=\(8,\)'}),
  'dilate_conv2': ({'dilate_conv2': True}, dict.fromkeys(('semseg', 'mmseg'), 'dilate_conv2=True')),
  'max': ({'pooling': 'max'}, dict.fromkeys(('semseg', 'mmseg'), 'pooling=max')),
  'no reduction': (
    {'reduce_dimension': False},
    dict.fromkeys(('semseg', 'mmseg'), 'reduce_dimension=False'),
  ),
  'no pyramid': ({'bins': ()}, dict.fromkeys(('semseg', 'mmseg'), r'bins=\(\)')),
}


@pytest.mark.parametrize('format_name', exporting.FORMATS)
@pytest.mark.parametrize('name', THERE_AND_BACK)
def test_there_and_back_is_the_same_network_or_an_error(name, format_name, tmp_path):
  changes, refusals = THERE_AND_BACK[name]
  protocol = Protocol(window=(33, 65), scales=(0.5, 1.0), flip=True)
  card = Card({**SMALL, **changes}, SPEC, (33, 65), protocol, (1.0, 2.0, 3.0), (4.0, 5.0, 6.5))
  network = card.build_network()
  params, batch_stats = network.init(0)
  path = tmp_path / 'x.pth'
  if format_name in refusals:
    with pytest.raises(UserError, match=refusals[format_name]):
      exporting.check_fits(card, format_name)
    return
  exporting.check_fits(card, format_name)
  avg_down = changes.get('avg_down', False)
  tensors = exporting.state_dict({**params, **batch_stats}, format_name, avg_down=avg_down)
  exporting.write(tensors, path, format_name, card)
  back = importing.convert([path])
  assert dataclasses.replace(back.card, network={}, source=None) == dataclasses.replace(
    card, network={}
  )
  # The same arguments and the same arrays are the same function; one is run.
  assert written_card.options_of(back.card) == written_card.options_of(card)
  for ours, theirs in ((params, back.params), (batch_stats, back.batch_stats)):
    assert ours.keys() == theirs.keys()
    for key, x in ours.items():
      np.testing.assert_array_equal(x, theirs[key])
  if name == 'bins':
    x = np.random.default_rng(0).normal(size=(1, 41, 41, 3)).astype(np.float32)
    logits, _ = jax.jit(network.apply)(params, batch_stats, x)
    again, _ = jax.jit(back.card.build_network().apply)(back.params, back.batch_stats, x)
    np.testing.assert_array_equal(logits['logits'], again['logits'])


def test_flags_go_before_the_card_in_the_file(tmp_path):
  card = Card({**SMALL, 'output_stride': 8}, SPEC, (33, 65))
  network = card.build_network()
  params, batch_stats = network.init(0)
  path = tmp_path / 'x.pth'
  tensors = exporting.state_dict({**params, **batch_stats}, 'semseg')
  exporting.write(tensors, path, 'semseg', card)
  other = DatasetSpec(('a', 'b', 'c'), SPEC.palette)
  back = importing.convert([path], align_corners=False, output_stride=32, classes=other)
  assert not back.card.network['align_corners'] and back.card.network['output_stride'] == 32
  assert back.card.spec == other


@pytest.mark.parametrize('format_name', exporting.FORMATS)
def test_other_programs_see_plain_tensors_and_text(format_name, tmp_path):
  card = Card(SMALL, SPEC, (33, 65))
  params, batch_stats = card.build_network().init(0)
  tensors = exporting.state_dict({**params, **batch_stats}, format_name)
  exporting.write(tensors, tmp_path / 'x.pth', format_name, card)
  content = torch.load(tmp_path / 'x.pth', weights_only=True)
  assert isinstance(content['pspnet_jax'], str) and len(content['state_dict']) == len(tensors)


def test_a_7x7_stem_is_no_semseg_network():
  with pytest.raises(UserError, match='--format=mmseg'):
    exporting.state_dict({'backbone/stem/convs/0/bn/bias': np.ones(1)}, 'semseg')


def test_a_name_that_is_no_format_is_refused():
  with pytest.raises(UserError, match='--format=caffe is none of semseg, mmseg'):
    exporting.check_fits(Card(SMALL, SPEC, (33, 65)), 'caffe')


def test_a_full_disk_is_named_and_leaves_the_old_file(tmp_path):
  program = (
    'import resource, sys; from pathlib import Path; import numpy as np\n'
    'from pspnet_jax.weights import exporting\n'
    'resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))  # as if no more fitted\n'
    'from pspnet_jax.inference.card import Card; from pspnet_jax.data.spec import DatasetSpec\n'
    'card = Card({}, DatasetSpec(("a", "b"), ((0, 0, 0), (1, 1, 1))), (33, 33))\n'
    'exporting.write({"a": np.zeros(10_000)}, Path(sys.argv[1]), "semseg", card)\n'
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
  assert 'bins=(1, 2, 3, 6), pooling=avg, dropout_rate=0.1' in exporting.conventions(card)
  assert 'RGB mean (123.675, 116.28, 103.53)' in exporting.conventions(card)
