"""Files of paddle.save: what stands beside the arrays, backbones alone, and damage."""

import pickle

import numpy as np
import pytest
import scipy.special
from hypothesis import given

import pspnet_jax
from pspnet_jax.errors import UserError
from pspnet_jax.weights import importing
from tests.mutations import ends_well, fuzz, mutated
from tests.weights.rebuilt_more import Paddle, paddle_file
from tests.weights.test_importing import draw


@pytest.fixture(scope='module')
def state():
  rng = np.random.default_rng(0)
  shapes = {name: x.shape for name, x in Paddle(50, 5, width=4).state().items()}
  return {name: rng.uniform(0.5, 1, shape).astype(np.float32) for name, shape in shapes.items()}


@pytest.mark.parametrize('protocol', [2, 4])
def test_the_table_of_names_is_no_second_network(protocol, state, tmp_path):
  converted = importing.convert([paddle_file(tmp_path / 'model.pdparams', state, protocol)])
  assert converted.notes == () and converted.card.source['name'] == 'paddleseg'
  network = converted.card.network
  assert (network['avg_down'], network['head_channels'], network['aux_channels']) == (True, 64, 16)
  means, biases = converted.batch_stats['bottleneck/bn/mean'], 'head.psp_module.conv_bn_relu2'
  expected = state[f'{biases}._batch_norm._mean'] - state[f'{biases}._conv.bias']
  np.testing.assert_array_equal(means, expected)
  levels = state[f'{biases}._conv.weight'].transpose(2, 3, 1, 0)[:, :, 128:]  # 6, 3, 2, 1
  np.testing.assert_array_equal(
    converted.params['bottleneck/level_kernels/3'], levels[:, :, : levels.shape[2] // 4]
  )


def test_a_backbone_alone_is_one(state, tmp_path):
  whole = importing.read_weights([paddle_file(tmp_path / 'whole.pdparams', state)])
  alone = {
    name.removeprefix('backbone.'): x for name, x in state.items() if name.startswith('backbone.')
  }
  alone |= {'out.weight': np.ones((128, 10), np.float32), 'out.bias': np.ones(10, np.float32)}
  found = importing.read_weights([paddle_file(tmp_path / 'model.pdparams', alone)])
  assert found.origin.avg_down and found.notes == ()
  assert found.arrays.keys() == {n for n in whole.arrays if n.startswith('backbone/')}
  for name, x in found.arrays.items():
    np.testing.assert_array_equal(x, whole.arrays[name])
  with pytest.raises(UserError, match='is a backbone without the head of a PSPNet'):
    importing.convert([tmp_path / 'model.pdparams'])


def test_an_image_of_voc_is_padded_as_its_configs_say(tmp_path):
  image = draw(70, 90)
  peer = Paddle(50, 21, width=4).fill(image)
  predictor = pspnet_jax.load_pretrained(peer.write(tmp_path)[0])
  padded = np.pad(image.astype(np.float32), ((0, 442), (0, 422), (0, 0)), constant_values=127.5)
  theirs = scipy.special.softmax(peer.logits(padded)[:70, :90], -1)
  np.testing.assert_allclose(predictor.probabilities(image), theirs, atol=1e-5)
  assert (predictor(image) == theirs.argmax(-1)).mean() > 0.999


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    (lambda s: s.pop('head.conv.weight'), 'lacks head.conv.weight'),
    (
      lambda s: s.pop('backbone.bb_1_0.short._conv.weight'),
      r'lacks backbone\.bb_1_0\.short\._conv',
    ),
    (lambda s: s.update({'head.own.weight': s['head.conv.weight']}), r'head\.own\.weight belong'),
    (
      lambda s: s.update({'head.conv.weight': s['head.conv.weight'].astype(np.uint16)}),
      r'head\.conv\.weight holds uint16, not floats',
    ),
    (
      lambda s: s.update({'head.auxlayer.conv_bn_relu._conv.bias': np.ones(3, np.float32)}),
      r'_conv\.bias has shape \(3,\)',
    ),
  ],
)
def test_files_that_do_not_fit_name_the_key(change, message, state, tmp_path):
  changed = dict(state)
  change(changed)
  with pytest.raises(UserError, match=message):
    importing.convert([paddle_file(tmp_path / 'model.pdparams', changed)])


@fuzz
def test_mutated_files(tmp_path_factory):
  path = tmp_path_factory.mktemp('fuzz') / 'model.pdparams'
  names = ('head.psp_module.stages.0.1._conv.weight', 'backbone.bb_0_0.conv0._conv.weight')
  names += ('head.psp_module.stages.0.1._conv.bias', 'head.psp_module.stages.0.1._batch_norm._mean')
  small = {
    name: np.ones((2,) if 'bias' in name or 'mean' in name else (2, 2, 1, 1)) for name in names
  }
  seeds = [pickle.dumps(small | {'StructuredToParameterName@@': {'a': 'b'}}, p) for p in (2, 4)]

  @given(mutated(seeds))
  def one(data):
    path.write_bytes(data)
    ends_well(importing.convert, [path])

  one()
