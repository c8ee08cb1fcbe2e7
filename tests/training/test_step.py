import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from pspnet_jax.data.spec import IMAGENET_MEAN, IMAGENET_STD
from pspnet_jax.errors import UserError
from pspnet_jax.models.network import Network
from pspnet_jax.ops.images import normalize
from pspnet_jax.training import optim
from pspnet_jax.training.losses import SegmentationLoss
from pspnet_jax.training.pixel_losses import count_valid, pixel_losses, sum_losses
from pspnet_jax.training.sampled import EVERY
from pspnet_jax.training.state import TrainState
from pspnet_jax.training.step import (
  jit_options,
  make_train_step,
)
from pspnet_jax.training.window import merge, start
from tests.conftest import TINY

CLASSES, SEED = 4, 3
PARTS = ('backbone', 'pyramid', 'bottleneck', 'aux_head')  # all that have batch statistics
PIXELS = {'mean': IMAGENET_MEAN, 'std': IMAGENET_STD}
MINED = {'class_weights': (0.2, 3.0, 1.0, 0.5), 'ohem_threshold': 0.25, 'ohem_min_kept': 50}


def make_batch(seed=0, n=8, ignored=0.2):
  rng = np.random.default_rng(seed)
  label = rng.integers(0, CLASSES, (n, 25, 33)).astype(np.uint8)
  label[rng.random(label.shape) < ignored] = 255
  return {'image': rng.integers(0, 256, (n, 25, 33, 3), np.uint8), 'label': label}


def setup(
  options=None, *, dtype='float32', ema_decay=0.0, sgd=None, jit=None, accumulation_steps=1, **loss
):
  """A small network's step, compiled quickly, and its state."""
  network = Network(CLASSES, dtype=dtype, **dict(TINY, **(options or {})))
  tx = optim.sgd(network.param_shapes, optim.learning_rate(0.01, 10), **(sgd or {}))
  state = TrainState.create(network, tx, seed=SEED, ema_decay=ema_decay)
  if dtype == 'float64':
    state = jax.tree.map(lambda x: x.astype(dtype) if x.dtype == jnp.float32 else x, state)
  step = make_train_step(
    network,
    tx,
    loss=SegmentationLoss(**loss),
    seed=SEED,
    ema_decay=ema_decay,
    accumulation_steps=accumulation_steps,
    **PIXELS,
  )
  step = jax.jit(step, **(jit or {}))
  return network, step, state


def run(step, state, batches):
  total = None
  for batch in batches:
    state, measured = step(state, batch)
    total = start(measured) if total is None else merge(total, measured)
  return state, total


def error(ours, theirs) -> float:
  """Largest difference of any array, relative to that array's largest value."""
  return max(
    float(np.abs(np.asarray(ours[n]) - np.asarray(x)).max() / np.abs(np.asarray(x)).max())
    for n, x in theirs.items()
    if np.any(x)
  )


def sharded_and_single(dtype, ghost_batch_size=0, n=8, **loss):
  options = {'dropout_rate': 0.3, 'ghost_batch_size': ghost_batch_size}
  _, step, state = setup(options, dtype=dtype, **loss)
  batches = [make_batch(i, n) for i in range(3)]
  single = run(step, state, batches)
  mesh = Mesh(np.array(jax.devices()), ('data',))
  state = jax.device_put(state, NamedSharding(mesh, P()))
  split = [jax.device_put(batch, NamedSharding(mesh, P('data'))) for batch in batches]
  assert len(split[0]['image'].addressable_shards) == 8
  return run(step, state, split), single


def all_reduces(**options):
  """What is reduced over eight devices in a compiled step, as the program writes it."""
  _, step, state = setup({'bins': (1, 2), **options})
  mesh = Mesh(np.array(jax.devices()), ('data',))
  state = jax.device_put(state, NamedSharding(mesh, P()))
  batch = jax.device_put(make_batch(n=16), NamedSharding(mesh, P('data')))
  text = step.lower(state, batch).compile().as_text()
  return [line for line in text.splitlines() if ' all-reduce(' in line]


@pytest.mark.slow
def test_images_normalised_on_their_device_need_no_messages_between_layers():
  layers = 1 + sum('scale' in name for name in Network(CLASSES, **TINY).param_shapes)
  synchronised, ghost = all_reduces(), all_reduces(ghost_batch_size=2)
  assert len(synchronised) >= layers > 10 > len(ghost)
  assert len(all_reduces(ghost_batch_size=4)) >= layers  # of two devices, so these talk


@pytest.mark.slow
@pytest.mark.parametrize(
  # In float64 nothing but the order of summation differs. In float32 three steps of training carry
  # that difference through batch normalisation of 8 values (the 1×1 bin).
  ('dtype', 'bound', 'loss'),
  [
    ('float64', 1e-11, {}),
    # Two parts of 16 images, each in groups of a device's own two.
    ('float64', 1e-11, {**MINED, 'ghost_batch_size': 2, 'accumulation_steps': 2, 'n': 32}),
    ('float64', 1e-11, {'ghost_batch_size': 4}),  # of four devices
    ('float32', 3e-5, {}),
  ],
)
def test_eight_devices_train_as_one(dtype, bound, loss):
  with jax.enable_x64(dtype == 'float64'):
    (sharded, sharded_metrics), (single, metrics) = sharded_and_single(dtype, **loss)
    assert sharded.step == single.step == 3
    assert error(sharded.params, single.params) < bound
    assert error(sharded.batch_stats, single.batch_stats) < bound  # synchronised statistics
    np.testing.assert_allclose(
      sharded_metrics['loss'].compute(), metrics['loss'].compute(), rtol=max(bound, 1e-6)
    )
    ours, theirs = sharded_metrics['confusion'].compute(), metrics['confusion'].compute()
    assert ours.sum() == theirs.sum() > 0
    if dtype == 'float64':
      np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
  'loss',
  [pytest.param({}, marks=pytest.mark.digits), MINED],
  ids=['plain', 'weighted and mined'],
)
def test_accumulated_gradients_are_those_of_the_whole_batch(x64, loss):
  """Both parts see the same images, hence the same statistics, but labels of their own."""
  half = make_batch(0, n=4)
  batch = {'image': half['image'].repeat(2, axis=0), 'label': make_batch(1)['label']}
  batch['label'][1::2, 3:] = 255  # part 1 has few valid pixels: a mean of means would be wrong
  options = {'dropout_rate': 0.0}
  results = []
  for parts in (1, 2):
    _, step, state = setup(options, dtype='float64', accumulation_steps=parts, **loss)
    results.append(step(state, batch))
  (whole, whole_metrics), (parts, parts_metrics) = results
  assert error(parts.opt_state[1].trace, whole.opt_state[1].trace) < 1e-11  # the gradients
  assert error(parts.params, whole.params) < 1e-11
  for name in ('loss', 'main_loss', 'aux_loss'):
    ours, theirs = (m[name].compute() for m in (parts_metrics, whole_metrics))
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)
  np.testing.assert_array_equal(
    parts_metrics['confusion'].compute(), whole_metrics['confusion'].compute()
  )


@pytest.mark.parametrize('loss', [{}, MINED], ids=['plain', 'weighted and mined'])
def test_logits_in_chunks_of_rows_change_nothing(x64, loss):
  """Among them chunks that do not divide the 25 rows."""
  results = []
  for rows in (0, 7):
    _, step, state = setup(dtype='float64', chunk_rows=rows, **loss)
    results.append(step(state, make_batch(n=2)))
  (whole, whole_metrics), (chunks, chunks_metrics) = results
  assert error(chunks.opt_state[1].trace, whole.opt_state[1].trace) < 1e-11  # the gradients
  np.testing.assert_allclose(
    chunks_metrics['loss'].compute(), whole_metrics['loss'].compute(), rtol=1e-6
  )
  np.testing.assert_array_equal(
    chunks_metrics['confusion'].compute(), whole_metrics['confusion'].compute()
  )


@pytest.mark.slow
@pytest.mark.parametrize('options', [{}, {'ghost_batch_size': 2}, {'fixed_batch_stats': PARTS}])
def test_accumulation_matches_a_loop_by_hand(options, x64):
  """Parts take every other row, a dropout key each, and statistics one after the other."""
  options = {'dropout_rate': 0.5, **options}
  network, step, state = setup(
    options, dtype='float64', accumulation_steps=2, sgd={'weight_decay': 0.0}
  )
  batch = make_batch()
  ours, _ = step(state, batch)
  key = jax.random.fold_in(jax.random.key(SEED), 0)

  @jax.jit
  def part(stats, image, label, key):
    def loss_fn(params):
      outputs, new = network.apply(params, stats, image, train=True, key=key)
      main, aux = (
        sum_losses(pixel_losses(outputs[n], label), label) for n in ('logits', 'aux_logits')
      )
      return (main + 0.4 * aux) / count_valid(batch['label']), new

    return jax.grad(loss_fn, has_aux=True)(state.params)

  total, stats = None, state.batch_stats
  for i in range(2):
    image = normalize(batch['image'][i::2], IMAGENET_MEAN, IMAGENET_STD)
    gradients, stats = part(stats, image, batch['label'][i::2], jax.random.fold_in(key, i))
    total = gradients if total is None else jax.tree.map(jnp.add, total, gradients)
  assert error(ours.opt_state[1].trace, total) < 1e-11
  assert error(ours.batch_stats, stats) < 1e-12
  moved = {name for name, x in state.batch_stats.items() if (x != ours.batch_stats[name]).any()}
  assert moved == (set() if 'fixed_batch_stats' in options else {*state.batch_stats})


def test_all_ignored_batch_gives_zero_loss_and_no_update():
  _, step, state = setup(sgd={'weight_decay': 0.0})
  new, metrics = step(state, make_batch(ignored=1.1))
  assert metrics['loss'].compute() == 0 and not metrics['confusion'].compute().any()
  for name, value in state.params.items():
    np.testing.assert_array_equal(new.params[name], value)


def test_ema_follows_the_updated_parameters():
  _, step, state = setup(ema_decay=0.9)
  new, _ = step(state, make_batch())
  for name, before in state.params.items():
    # Its first decay is 0.1, so that one step gives nearly the parameters.
    expected = 0.1 * np.asarray(before, np.float64) + 0.9 * np.asarray(new.params[name], np.float64)
    np.testing.assert_allclose(new.ema_params[name], expected, rtol=1e-5, atol=1e-8)


@pytest.fixture(scope='module')
def noisy():
  """A step with much dropout, shared by the tests below: (network, step, state)."""
  return setup({'dropout_rate': 0.5})


def test_dropout_is_a_function_of_the_step(noisy):
  _, step, state = noisy
  batch = make_batch()
  losses = [
    float(step(TrainState(jnp.int32(n), *rest), batch)[1]['loss'].compute())
    for rest in [(state.params, state.batch_stats, state.opt_state)]
    for n in (0, 0, 1)
  ]
  assert losses[0] == losses[1] != losses[2]


def test_what_is_to_be_computed_again_is():
  def convolutions(remat: bool) -> int:
    network, _, state = setup({'remat': remat})
    options = jit_options(network)
    tx = optim.sgd(network.param_shapes, optim.learning_rate(0.01, 10))
    step = jax.jit(make_train_step(network, tx, seed=SEED, **PIXELS), **options)
    program = step.lower(state, make_batch()).compile().as_text()
    return program.count(' convolution(') + program.count(' dot(')

  assert convolutions(True) > convolutions(False)


def test_loss_falls_and_metrics_add_up(noisy):
  _, step, state = noisy
  batch = make_batch()
  batch['label'] = np.where(batch['label'] == 255, 255, batch['image'][..., 0] // 64)
  losses = []
  for _ in range(8):
    state, one = step(state, batch)
    np.testing.assert_allclose(
      one['loss'].compute(), one['main_loss'].compute() + 0.4 * one['aux_loss'].compute(), rtol=1e-6
    )
    losses.append(float(one['loss'].compute()))
  assert losses[-1] < losses[0]
  sampled = batch['label'][:, ::EVERY, ::EVERY]
  np.testing.assert_array_equal(
    one['confusion'].compute().sum(1), [(sampled == c).sum() for c in range(CLASSES)]
  )


def test_metrics_average_over_steps(noisy):
  _, step, state = noisy
  state1, first = step(state, make_batch(0))
  _, second = step(state1, make_batch(1))
  _, both = run(step, state, [make_batch(0), make_batch(1)])
  expected = (first['loss'].compute() + second['loss'].compute()) / 2
  np.testing.assert_allclose(both['loss'].compute(), expected, rtol=1e-6)


def test_no_auxiliary_head_has_no_auxiliary_loss():
  _, step, state = setup({'aux_head': False})
  _, metrics = step(state, make_batch())
  assert 'aux_loss' not in metrics
  assert metrics['loss'].compute() == metrics['main_loss'].compute() > 0


@pytest.mark.parametrize('mesh', [False, True], ids=['one-device', 'mesh'])
def test_bfloat16_step_is_donated_compiled_once_and_keeps_float32(mesh):
  jit = {'donate_argnums': 0}
  _, step, state = setup(dtype='bfloat16', ema_decay=0.9, jit=jit)
  batches = [make_batch(i) for i in range(3)]
  if mesh:
    mesh = Mesh(np.array(jax.devices()), ('data',))
    state = jax.device_put(state, NamedSharding(mesh, P()))
    batches = [jax.device_put(batch, NamedSharding(mesh, P('data'))) for batch in batches]
  kernel, kinds = state.params['bottleneck/kernel'], jax.tree.map(lambda x: x.dtype, state)
  state, metrics = run(step, state, batches)
  assert kernel.is_deleted() and step._cache_size() == 1
  assert jax.tree.map(lambda x: x.dtype, state) == kinds
  arrays = [*state.params.values(), *state.batch_stats.values(), *state.ema_params.values()]
  assert {x.dtype for x in arrays} == {jnp.dtype('float32')}
  assert all(np.isfinite(x).all() for x in arrays) and np.isfinite(metrics['loss'].compute())


def test_weights_for_another_number_of_classes_are_refused():
  with pytest.raises(UserError, match='class_weights has 3 numbers for 4 classes'):
    setup(class_weights=(1, 2, 3))
