import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

from pspnet_jax.errors import UserError
from pspnet_jax.training import optim

SHAPES = {
  'backbone/stage1/0/conv1/conv/kernel': (3, 3, 2, 4),
  'backbone/stage1/0/conv1/bn/scale': (4,),
  'backbone/stage1/0/conv1/bn/bias': (4,),
  'pyramid/reductions/0/conv/kernel': (1, 1, 4, 2),
  'bottleneck/kernel': (3, 3, 4, 2),
  'bottleneck/level_kernels/0': (3, 3, 2, 2),
  'bottleneck/bn/bias': (2,),
  'classifier/conv/kernel': (1, 1, 2, 5),
  'classifier/conv/bias': (5,),
  'aux_head/classifier/conv/bias': (5,),
}
STEPS, TOTAL, LR = 5, 7, 0.01
BIASES = ('classifier/conv/bias', 'aux_head/classifier/conv/bias')


def draw(seed):
  rng = np.random.default_rng(seed)
  return {name: rng.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()}


def torch_steps(multiplier, decays, *, momentum, weight_decay):
  """torch.optim.SGD with one group a parameter, its learning rate set before each step."""
  params = {name: torch.tensor(value).requires_grad_() for name, value in draw(0).items()}
  groups = [
    {'params': [p], 'lr': LR, 'weight_decay': weight_decay * decays(name), 'name': name}
    for name, p in params.items()
  ]
  optimizer = torch.optim.SGD(groups, momentum=momentum)
  for step in range(STEPS):
    for group in optimizer.param_groups:
      group['lr'] = LR * (1 - step / TOTAL) ** 0.9 * multiplier(group['name'])
    for name, gradient in draw(1 + step).items():
      params[name].grad = torch.tensor(gradient)
    optimizer.step()
  return {name: p.detach().numpy() for name, p in params.items()}


def our_steps(**options):
  params = {name: jnp.asarray(value) for name, value in draw(0).items()}
  tx = optim.sgd(params, optim.learning_rate(LR, TOTAL), **options)

  @jax.jit
  def step(params, state, gradients):
    updates, state = tx.update(gradients, state, params)
    return optax.apply_updates(params, updates), state

  state = tx.init(params)
  for i in range(STEPS):
    params, state = step(params, state, draw(1 + i))
  return params


def in_head(name):
  return not name.startswith('backbone')


def error(ours, theirs) -> float:
  return max(np.abs(ours[n] - theirs[n]).max() / np.abs(theirs[n]).max() for n in SHAPES)


SEMSEG = ({}, lambda n: 10 if in_head(n) else 1, lambda n: True)
CAFFE = (
  {'head_bias_multiplier': 20.0, 'decay_norm': False},
  lambda n: 20 if n in BIASES else 10 if in_head(n) else 1,
  lambda n: '/bn/' not in n,
)
MMSEG = ({'head_multiplier': 1.0, 'weight_decay': 5e-4}, lambda n: 1, lambda n: True)
NO_BIAS = ({'decay_bias': False}, SEMSEG[1], lambda n: n not in BIASES)
PLAIN = ({'momentum': 0.0, 'weight_decay': 0.0}, SEMSEG[1], SEMSEG[2])


@pytest.mark.parametrize(
  ('options', 'multiplier', 'decays'),
  [SEMSEG, CAFFE, MMSEG, NO_BIAS, PLAIN],
  ids=['semseg', 'caffe', 'mmseg', 'no-bias-decay', 'plain'],
)
@pytest.mark.parametrize('weight_decay', [None, 0.1])  # 0.1: where a wrong decay would show
def test_five_steps_match_torch(options, multiplier, decays, weight_decay):
  options = {'momentum': 0.9, 'weight_decay': 1e-4, **options}
  if weight_decay is not None:
    options['weight_decay'] = weight_decay
  ours = our_steps(**options)
  hyper = {key: options[key] for key in ('momentum', 'weight_decay')}
  assert error(ours, torch_steps(multiplier, decays, **hyper)) < 1e-6


@pytest.mark.parametrize('min_lr', [0.0, 1e-4])
def test_schedule_ends(min_lr):
  schedule = optim.learning_rate(LR, 100, min_lr=min_lr)
  assert float(schedule(0)) == pytest.approx(LR, rel=1e-7)
  for step in (1, 50, 99):
    expected = (LR - min_lr) * (1 - step / 100) ** 0.9 + min_lr
    assert float(schedule(step)) == pytest.approx(expected, rel=1e-5)
  assert float(schedule(100)) == pytest.approx(min_lr, abs=1e-9)
  assert float(schedule(101)) == pytest.approx(min_lr, abs=1e-9)


def test_power_shapes_the_schedule():
  assert float(optim.learning_rate(1.0, 4, power=2.0)(1)) == pytest.approx(0.5625)


@pytest.mark.parametrize(
  ('options', 'named'),
  [
    ({'momentum': 1.0}, 'momentum 1.0'),
    ({'momentum': -0.5}, 'momentum -0.5'),
    ({'weight_decay': -1e-4}, 'weight decay -0.0001'),
  ],
)
def test_bad_values_are_named(options, named):
  with pytest.raises(UserError, match=named):
    optim.sgd(SHAPES, optim.learning_rate(LR, TOTAL), **options)


def test_ema():
  average = optim.ema(jnp.array([1.0, 2.0]), jnp.array([3.0, 2.0], jnp.bfloat16), 0.75)
  np.testing.assert_array_equal(average, [1.5, 2.0])
  assert average.dtype == jnp.float32
