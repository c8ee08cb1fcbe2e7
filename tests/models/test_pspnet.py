"""Our network against the independent torch one: every published option, both directions."""

import jax
import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from pspnet_jax.errors import UserError
from pspnet_jax.models.network import Network
from pspnet_jax.training.pixel_losses import cross_entropy
from tests.conftest import TINY
from tests.torch_pspnet import (
  TorchPSPNet,
  from_torch,
  keep_biased_variance,
  load,
  nchw,
  nhwc,
  random_arrays,
)

CLASSES = 5
DEEP = dict(TINY, depth=50)  # bottleneck blocks, several a stage
BASIC = dict(TINY, depth=18)
V1C, ONE_7X7 = (2, 2, 4), (8,)

OPTIONS = {
  'caffe50': dict(DEEP, stride_in_1x1=True, dropout_kind='element'),
  'semseg50': DEEP,
  'mmseg50-v1c': dict(DEEP, stem_channels=V1C, contract_dilation=True, align_corners=False),
  'mmseg50-v1c-769': dict(DEEP, stem_channels=V1C, contract_dilation=True),
  'mmseg50-b': dict(DEEP, stem_channels=ONE_7X7, contract_dilation=True, align_corners=False),
  'mmseg50-d32': dict(
    DEEP,
    output_stride=32,
    dilations=(1, 1, 2, 4),
    stem_channels=V1C,
    contract_dilation=True,
    align_corners=False,
  ),
  'mit50': dict(DEEP, contract_dilation=True, align_corners=False),
  'mit18': dict(BASIC, contract_dilation=True, dilate_conv2=True, align_corners=False),
  'mmseg18': dict(BASIC, stem_channels=V1C, contract_dilation=True, align_corners=False),
  'semseg18': BASIC,
  'vd50': dict(DEEP, stem_channels=V1C, avg_down=True, align_corners=False),
  'vd18-stride32': dict(BASIC, output_stride=32, avg_down=True),
  'stride16': dict(DEEP, output_stride=16),
  'stride16-contracted': dict(DEEP, output_stride=16, contract_dilation=True, stride_in_1x1=True),
  'stride32': dict(DEEP, output_stride=32, align_corners=False),
  'basic-stride32': dict(BASIC, output_stride=32, stem_channels=ONE_7X7),
  'B1-max-noDR': dict(TINY, bins=(1,), pooling='max', reduce_dimension=False),
  'B1-avg-noDR': dict(TINY, bins=(1,), reduce_dimension=False),
  'B1236-max-noDR': dict(TINY, pooling='max', reduce_dimension=False),
  'B1236-avg-noDR': dict(TINY, reduce_dimension=False, align_corners=False),
  'B1236-max-DR': dict(TINY, pooling='max'),
  'no-pyramid': dict(TINY, bins=()),
  'other-bins': dict(TINY, bins=(2, 5, 9), pyramid_channels=7),
  'no-aux': dict(TINY, aux_head=False),
  'wide': dict(TINY, width=6, stem_channels=(3, 5, 7), head_channels=9, aux_channels=4),
}
TRAINED = [
  'caffe50',
  'mmseg18',
  'B1236-max-noDR',
  'no-pyramid',
  'no-aux',
  'stride32',
  'mmseg50-b',
  'vd18-stride32',
]
DIGITS = ['B1236-max-noDR']  # with optimised programs, too


def pair(options, dtype=np.float32):
  """The same network twice, no value of it trivial."""
  network = Network(CLASSES, dtype=np.dtype(dtype).name, **options)
  params = random_arrays(network.param_shapes, 0, dtype)
  stats = random_arrays(network.batch_stat_shapes, 1, dtype)
  return network, params, stats, load(TorchPSPNet(CLASSES, **options), params, stats)


def draw(*shape, dtype=np.float32):
  return np.random.default_rng(7).normal(size=shape).astype(dtype)


def error(ours, theirs) -> float:
  ours, theirs = np.asarray(ours), np.asarray(theirs)
  assert ours.shape == theirs.shape and ours.dtype == theirs.dtype
  return np.abs(ours - theirs).max() / np.abs(theirs).max()


def evaluate_both(options, image):
  network, params, stats, model = pair(options)
  outputs, same = jax.jit(network.apply)(params, stats, image)
  with torch.no_grad():
    theirs = nhwc(model.eval()(nchw(image))['logits'])
  assert set(outputs) == {'logits'}
  for name, value in same.items():
    np.testing.assert_array_equal(value, stats[name])
  return outputs['logits'], theirs


@pytest.mark.parametrize(
  'name', [pytest.param(x, marks=pytest.mark.digits) if x in DIGITS else x for x in OPTIONS]
)
def test_logits_match_torch(name):
  assert error(*evaluate_both(OPTIONS[name], draw(2, 57, 73, 3))) < 2e-5


@pytest.mark.parametrize('align_corners', [True, False])
@pytest.mark.parametrize('size', [(1, 1), (2, 3), (8, 8), (65, 97), (64, 40)])
def test_any_size_matches_torch(size, align_corners):
  ours, theirs = evaluate_both(dict(TINY, align_corners=align_corners), draw(1, *size, 3))
  assert ours.shape == (1, *size, CLASSES)
  assert error(ours, theirs) < 2e-5


def train_both(options, dtype):
  """Losses, gradients and new statistics of one training pass, dropout off: ours, torch's."""
  network, params, stats, model = pair(dict(options, dropout_rate=0.0), dtype)
  image = draw(3, 41, 57, 3, dtype=dtype)
  label = np.random.default_rng(8).integers(0, CLASSES + 1, image.shape[:3])
  label[label == CLASSES] = 255

  def loss_fn(params):
    outputs, new = network.apply(params, stats, image, train=True, key=jax.random.key(0))
    losses = [cross_entropy(x, label) for x in outputs.values()]
    return losses[0] + 0.4 * sum(losses[1:]), new

  run = jax.jit(jax.value_and_grad(loss_fn, has_aux=True))
  (loss, new), gradients = run(params)
  outputs = keep_biased_variance(model).train()(nchw(image))
  target = torch.tensor(label)
  losses = [F.cross_entropy(x, target, ignore_index=255) for x in outputs.values()]
  total = losses[0] + 0.4 * sum(losses[1:])
  total.backward()
  expected = from_torch({n: p.grad for n, p in model.named_parameters()}, params)
  running = {n: b for n, b in model.named_buffers() if 'running' in n}
  theirs = (total.detach().numpy(), expected, from_torch(running, stats))
  return (loss, gradients, new), theirs


@pytest.mark.parametrize(
  'name', [pytest.param(x, marks=pytest.mark.digits) if x in DIGITS else x for x in TRAINED]
)
def test_training_pass_matches_torch_in_float64(name, x64):
  ours, theirs = train_both(OPTIONS[name], np.float64)
  assert error(ours[0], theirs[0]) < 1e-12
  for key, gradient in ours[1].items():
    assert error(gradient, theirs[1][key]) < 1e-10, key
  for key, value in ours[2].items():
    assert error(value, theirs[2][key]) < 1e-12, key


@pytest.mark.parametrize(
  'name',
  ['semseg18', 'mmseg18', 'B1236-avg-noDR', pytest.param('no-aux', marks=pytest.mark.digits)],
)
def test_training_loss_matches_torch_in_float32(name):
  ours, theirs = train_both(OPTIONS[name], np.float32)
  assert error(ours[0], theirs[0]) < 1e-6


@pytest.mark.parametrize(
  ('options', 'named'),
  [
    ({'depth': 51}, '51'),
    ({'output_stride': 4}, '4'),
    ({'dilations': (1, 2)}, r'\(1, 2\): give four'),
    ({'stem_channels': (8, 8)}, r'\(8, 8\)'),
    ({'pooling': 'sum'}, 'sum'),
    ({'dropout_rate': 1.0}, '1.0'),
    ({'dropout_rate': -0.1}, '-0.1'),
    ({'dropout_kind': 'spatial'}, 'spatial'),
    ({'bins': (0, 1)}, r'\(0, 1\)'),
    ({'num_classes': 0}, 'num_classes=0'),
    ({'head_channels': -4}, 'head_channels=-4'),
    ({'pyramid_channels': 0}, 'pyramid_channels=0'),
    ({'bins': (1, 2, 3)}, '32 feature channels .* 3 pyramid levels'),
  ],
)
def test_bad_options_are_named(options, named):
  with pytest.raises(UserError, match=named):
    Network(**dict(TINY, num_classes=CLASSES) | options)


def test_the_copy_to_torch_is_strict():
  _, params, stats, model = pair(TINY)
  name = 'pyramid/reductions/2/conv/kernel'
  with pytest.raises(RuntimeError, match=r'ppm\.features\.2\.1\.weight'):
    load(model, {n: x for n, x in params.items() if n != name}, stats)
  with pytest.raises(KeyError, match='bottleneck/level_kernel/0'):
    load(model, {**params, 'bottleneck/level_kernel/0': params[name]}, stats)
  state = {n: x for n, x in model.state_dict().items() if 'num_batches' not in n}
  back = from_torch(state, {**params, **stats})
  assert all((back[n] == x).all() for n, x in {**params, **stats}.items())
