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
  dtype = jax.dtypes.canonicalize_dtype(np.float64)  # float32, but for tests in float64
  return {name: rng.normal(size=shape).astype(dtype) for name, shape in SHAPES.items()}


def torch_steps(make, multiplier, decays, *, weight_decay, **options):
  """torch's optimiser with one group a parameter, its learning rate set before each step."""
  params = {name: torch.tensor(value).requires_grad_() for name, value in draw(0).items()}
  groups = [
    {'params': [p], 'lr': LR, 'weight_decay': weight_decay * decays(name), 'name': name}
    for name, p in params.items()
  ]
  optimizer = make(groups, **options)
  for step in range(STEPS):
    for group in optimizer.param_groups:
      group['lr'] = LR * (1 - step / TOTAL) ** 0.9 * multiplier(group['name'])
    for name, gradient in draw(1 + step).items():
      params[name].grad = torch.tensor(gradient)
    optimizer.step()
  return {name: p.detach().numpy() for name, p in params.items()}


def steps_of(tx, params):
  """The parameters and the state after some steps."""

  @jax.jit
  def step(params, state, gradients):
    updates, state = tx.update(gradients, state, params)
    return optax.apply_updates(params, updates), state

  params = {name: jnp.asarray(value) for name, value in params.items()}
  state = tx.init(params)
  for i in range(STEPS):
    params, state = step(params, state, draw(1 + i))
  return params, state


def our_steps(make=optim.sgd, **options):
  return steps_of(make(SHAPES, optim.learning_rate(LR, TOTAL), **options), draw(0))[0]


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
  assert error(ours, torch_steps(torch.optim.SGD, multiplier, decays, **hyper)) < 1e-6


@pytest.mark.parametrize(
  ('options', 'multiplier', 'decays'),
  [
    ({}, SEMSEG[1], lambda n: not n.endswith(('bias', 'scale'))),
    ({'decay_norm': True, 'decay_bias': True}, SEMSEG[1], SEMSEG[2]),
    ({'decay_norm': True}, SEMSEG[1], NO_BIAS[2]),
    (
      {'head_multiplier': 1.0, 'head_bias_multiplier': 2.0, 'decay_bias': True},
      lambda n: 2 if n in BIASES else 1,
      lambda n: '/bn/' not in n,
    ),
  ],
  ids=['plain', 'all-decay', 'norm-decay', 'multipliers'],
)
@pytest.mark.parametrize('hyper', [{}, {'b1': 0.5, 'b2': 0.9, 'eps': 1e-3, 'weight_decay': 0.3}])
def test_five_steps_of_adamw_match_torch(x64, options, multiplier, decays, hyper):
  ours = our_steps(optim.adamw, **options, **hyper)
  hyper = {'b1': 0.9, 'b2': 0.999, 'eps': 1e-8, 'weight_decay': 0.01} | hyper
  options = {
    'betas': (hyper['b1'], hyper['b2']),
    'eps': hyper['eps'],
    'weight_decay': hyper['weight_decay'],
  }
  # The learning rate is float32 and not exact, everything else is float64.
  assert error(ours, torch_steps(torch.optim.AdamW, multiplier, decays, **options)) < 5e-8


def stage_multiplier(name):
  """0.5 to the power of the stages that lie between a parameter and the head."""
  stages = ['stage4', 'stage3', 'stage2', 'stage1', 'stem']
  return 0.5 ** (1 + stages.index(name.split('/')[1])) if name.startswith('backbone/') else 10


def test_layer_decay_matches_torchs_groups(x64):
  for make, in_torch, hyper in (
    (optim.sgd, torch.optim.SGD, {'momentum': 0.9, 'weight_decay': 0.1}),
    (optim.adamw, torch.optim.AdamW, {'weight_decay': 0.1}),
  ):
    ours = our_steps(make, layer_decay=0.5, decay_norm=True, decay_bias=True, **hyper)
    theirs = torch_steps(in_torch, stage_multiplier, lambda n: True, **hyper)
    assert error(ours, theirs) < 5e-8  # the rounding of the learning rate


BOTH = pytest.mark.parametrize('make', [optim.sgd, optim.adamw])


@BOTH
def test_frozen_parameters_keep_their_bits_and_the_others_train_as_before(make):
  params = draw(0)
  params['backbone/stage1/0/conv1/bn/bias'][:2] = -0.0, 1e-45
  schedule = optim.learning_rate(LR, TOTAL)
  frozen = ('backbone', 'bottleneck/kernel')
  options = {'weight_decay': 0.1, 'decay_norm': True, 'frozen': frozen}
  ours, state = steps_of(make(SHAPES, schedule, **options), params)
  free, _ = steps_of(make(SHAPES, schedule, **options | {'frozen': ()}), params)
  stay = {name for name in SHAPES if name.startswith('backbone/') or name == 'bottleneck/kernel'}
  for name, value in ours.items():
    expected = params[name] if name in stay else np.asarray(free[name])
    assert np.asarray(value).tobytes() == expected.tobytes(), name
  kept = [
    set(x)
    for x in jax.tree.leaves(state, is_leaf=lambda x: isinstance(x, dict))
    if isinstance(x, dict)
  ]
  assert kept and all(names == SHAPES.keys() - stay for names in kept)  # no momentum


@BOTH
def test_gradients_of_frozen_parameters_are_not_computed(make):
  """XLA drops what nobody asks for: the backward pass ends where everything is frozen."""
  tx = make({'backbone/a': 0, 'head/b': 0}, optim.learning_rate(LR, TOTAL), frozen=('backbone',))
  params = {'backbone/a': jnp.ones((8, 8)), 'head/b': jnp.ones((8, 8))}

  def step(params, state):
    gradients = jax.grad(lambda p: jnp.sin(p['head/b'] @ jnp.tanh(p['backbone/a'])).sum())(params)
    return tx.update(gradients, state, params)

  # One product forward and one for the gradient of the head's.
  assert jax.jit(step).lower(params, tx.init(params)).compile().as_text().count(' dot(') == 2


def test_what_is_kept_for_the_recipe_is_what_earlier_runs_have_saved():
  tx = optim.sgd(SHAPES, optim.learning_rate(LR, TOTAL))
  params = {name: jnp.zeros(shape) for name, shape in SHAPES.items()}
  decay, trace, schedule, multiplier = tx.init(params)
  assert not jax.tree.leaves((decay, multiplier))
  assert trace.trace.keys() == SHAPES.keys()
  assert isinstance(schedule, optax.ScaleByScheduleState)


@BOTH
@pytest.mark.parametrize(
  ('frozen', 'named'),
  [
    (('backbone/stage9',), r"'backbone/stage9' .* did you mean 'backbone/stage1'\?"),
    (('backbone/stage1/0/conv',), "did you mean 'backbone/stage1/0/conv1'"),  # no component
    (('backbone/',), "did you mean 'backbone'"),
    (('backbone', 'pyramid', 'bottleneck', 'classifier', 'aux_head'), 'every parameter is frozen'),
    ('backbone', r"write \('backbone',\)"),
  ],
)
def test_bad_frozen_parts_are_named(make, frozen, named):
  with pytest.raises(UserError, match=named):
    make(SHAPES, optim.learning_rate(LR, TOTAL), frozen=frozen)


@pytest.mark.parametrize('start', [1e-6, 1 / 3, 1.0])
@pytest.mark.parametrize('steps', [2, 5])
def test_warm_up_is_torchs_and_the_schedule_begins_after_it(start, steps):
  schedule = optim.learning_rate(LR, 12, min_lr=1e-4, warmup_steps=steps, warmup_start=start)
  optimizer = torch.optim.SGD([torch.zeros(1)], lr=LR)
  warmup = torch.optim.lr_scheduler.LinearLR(optimizer, start, total_iters=steps - 1)
  for step in range(steps):
    expected = optimizer.param_groups[0]['lr']
    assert float(schedule(step)) == pytest.approx(expected, abs=2e-7 * LR)  # float32's rounding
    optimizer.step()
    warmup.step()
  after = optim.learning_rate(LR, 12 - steps, min_lr=1e-4)
  for step in range(steps, 14):
    assert float(schedule(step)) == float(after(step - steps))
  assert float(schedule(steps - 1)) == float(schedule(steps)) == np.float32(LR)


def test_a_warm_up_of_one_step_is_its_start():
  schedule = optim.learning_rate(LR, 10, warmup_steps=1, warmup_start=0.25)
  assert float(schedule(0)) == pytest.approx(0.25 * LR)
  assert float(schedule(1)) == pytest.approx(LR)


@pytest.mark.parametrize(
  ('options', 'named'),
  [
    ({'warmup_steps': -1}, 'warm-up of -1 steps'),
    ({'warmup_steps': 7}, 'leaves nothing of 7 steps'),
    ({'warmup_steps': 9}, 'leaves nothing of 7 steps'),
    ({'warmup_steps': 2, 'warmup_start': 1.5}, 'warmup_start 1.5'),
    ({'warmup_steps': 2, 'warmup_start': -0.5}, 'warmup_start -0.5'),
  ],
)
def test_bad_warm_ups_are_named(options, named):
  with pytest.raises(UserError, match=named):
    optim.learning_rate(LR, TOTAL, **options)


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


def test_milestones_are_mmsegmentations_linear_lr_with_multi_step_lr():
  # Its MultiStepLR begins with the warm-up's end, and counts from there; so does torch's here.
  options = {'power': 0.0, 'warmup_steps': 3, 'warmup_start': 0.001}
  schedule = optim.learning_rate(LR, 12, milestones=(4, 6), milestone_factor=0.5, **options)
  optimizer = torch.optim.SGD([torch.zeros(1)], lr=LR)
  steps = torch.optim.lr_scheduler.MultiStepLR(optimizer, [4, 6], gamma=0.5)
  plain = optim.learning_rate(LR, 12, **options)
  assert [float(schedule(n)) for n in range(3)] == [float(plain(n)) for n in range(3)]
  for step in range(3, 12):
    assert float(schedule(step)) == pytest.approx(optimizer.param_groups[0]['lr'], rel=1e-6)
    optimizer.step()
    steps.step()


def test_milestones_lower_a_polynomial_schedule_too():
  schedule = optim.learning_rate(LR, 10, milestones=(5,), milestone_factor=0.1)
  plain = optim.learning_rate(LR, 10)
  assert float(schedule(4)) == float(plain(4))
  assert float(schedule(7)) == pytest.approx(0.1 * float(plain(7)), rel=1e-6)


@pytest.mark.parametrize(
  ('options', 'named'),
  [
    ({'milestones': (0,)}, r'milestones \(0,\) do not rise from 1 to below the 7 steps'),
    ({'milestones': (4, 3)}, r'milestones \(4, 3\)'),
    ({'milestones': (7,)}, r'milestones \(7,\)'),
    ({'milestones': (5,), 'warmup_steps': 2}, 'below the 5 steps'),
    ({'milestones': (5,), 'milestone_factor': 10.0}, 'milestone_factor 10.0'),
  ],
)
def test_bad_milestones_are_named(options, named):
  with pytest.raises(UserError, match=named):
    optim.learning_rate(LR, TOTAL, **options)


@pytest.mark.parametrize('norm', [0.5, 1e6])
def test_clipping_is_torchs_and_comes_before_weight_decay(x64, norm):
  params = {name: torch.tensor(value).requires_grad_() for name, value in draw(0).items()}
  optimizer = torch.optim.SGD(params.values(), lr=LR, momentum=0.9, weight_decay=1e-2)
  for step in range(STEPS):
    for group in optimizer.param_groups:
      group['lr'] = LR * (1 - step / TOTAL) ** 0.9
    for name, gradient in draw(1 + step).items():
      params[name].grad = torch.tensor(gradient)
    torch.nn.utils.clip_grad_norm_(params.values(), norm)
    optimizer.step()
  wanted = {name: p.detach().numpy() for name, p in params.items()}
  ours = our_steps(clip_norm=norm, weight_decay=1e-2, head_multiplier=1.0)
  assert error(ours, wanted) < 1e-5  # torch divides by norm + 1e-6


@pytest.mark.parametrize('make', [optim.sgd, optim.adamw])
def test_clipping_sees_no_gradient_of_what_is_frozen(make):
  schedule = optim.learning_rate(LR, TOTAL)
  tx = make(SHAPES, schedule, clip_norm=0.5, frozen=('backbone',))
  params = {name: jnp.asarray(value) for name, value in draw(0).items()}
  gradients = draw(1)
  changed = {n: g if in_head(n) else 100 * g for n, g in gradients.items()}
  update = jax.jit(lambda g: tx.update(g, tx.init(params), params)[0])
  updates, large = update(gradients), update(changed)
  assert all(np.array_equal(updates[n], large[n]) for n in SHAPES)


@pytest.mark.parametrize(
  ('options', 'named'),
  [
    ({'clip_norm': -1.0}, 'clip_norm -1.0'),
    ({'momentum': 1.0}, 'momentum 1.0'),
    ({'momentum': -0.5}, 'momentum -0.5'),
    ({'weight_decay': -1e-4}, 'weight decay -0.0001'),
    ({'head_multiplier': -10.0}, 'head_multiplier -10.0'),
    ({'head_bias_multiplier': -1.0}, 'head_bias_multiplier -1.0'),
    ({'layer_decay': 0.0}, 'layer_decay 0.0'),
    ({'layer_decay': 1.5}, 'layer_decay 1.5'),
  ],
)
def test_bad_values_are_named(options, named):
  with pytest.raises(UserError, match=named):
    optim.sgd(SHAPES, optim.learning_rate(LR, TOTAL), **options)


@pytest.mark.parametrize(
  ('options', 'named'),
  [
    ({'b1': 1.0}, 'b1 1.0'),
    ({'b2': -0.1}, 'b2 -0.1'),
    ({'eps': 0.0}, 'eps 0.0'),
    ({'weight_decay': -0.01}, 'weight decay -0.01'),
    ({'layer_decay': -1.0}, 'layer_decay -1.0'),
  ],
)
def test_bad_values_of_adamw_are_named(options, named):
  with pytest.raises(UserError, match=named):
    optim.adamw(SHAPES, optim.learning_rate(LR, TOTAL), **options)


def test_ema():
  average = optim.ema(jnp.array([1.0, 2.0]), jnp.array([3.0, 2.0], jnp.bfloat16), 0.75)
  np.testing.assert_array_equal(average, [1.5, 2.0])
  assert average.dtype == jnp.float32


@pytest.mark.parametrize('steps', [1, 10, 150])
def test_the_average_of_a_short_run_is_near_its_end(steps):
  """Values that go from 0 to 1 as a network does that learns in a hundred steps."""
  values = 1 - 0.97 ** np.arange(1, steps + 1, dtype=np.float64)
  average = jnp.float32(0)
  for n, value in enumerate(values):
    average = optim.ema(average, jnp.float32(value), optim.ema_decay_at(jnp.int32(n), 0.999))
  assert abs(float(average) - values[-1]) < 0.11 * values[-1] + 0.02


def test_the_average_of_a_long_run_has_the_decay_that_was_asked_for():
  decays = [float(optim.ema_decay_at(jnp.int32(n), 0.99)) for n in (0, 1, 90, 889, 891, 100_000)]
  np.testing.assert_allclose(decays, [0.1, 2 / 11, 0.91, 890 / 899, 0.99, 0.99], rtol=1e-6)
