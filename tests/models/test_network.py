import functools
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pspnet_jax.models.network import Network
from tests.conftest import COMPILE_FAST as FAST
from tests.torch_pspnet import random_arrays, torch_name


def count(network: Network) -> int:
  return sum(int(np.prod(x.shape)) for x in network.param_shapes.values())


@pytest.mark.parametrize(
  ('num_classes', 'options', 'expected'),
  [  # from the released prototxts
    (21, {'depth': 101}, 68_073_706),
    (21, {'depth': 101, 'aux_head': False}, 65_708_501),
    (19, {'depth': 101}, 68_072_166),
    (19, {'depth': 101, 'aux_head': False}, 65_707_475),
    (150, {'depth': 50}, 49_180_908),
    (150, {'depth': 50, 'aux_head': False}, 46_782_550),
    (150, {'depth': 50, 'aux_head': False, 'stride_in_1x1': True}, 46_782_550),
  ],
)
def test_parameter_counts_are_the_published_ones(num_classes, options, expected):
  assert count(Network(num_classes, **options)) == expected


def test_resnet269_builds_without_allocating():
  network = Network(150, depth=269)
  assert all(isinstance(x, jax.ShapeDtypeStruct) for x in network.param_shapes.values())
  blocks = {name.split('/')[2] for name in network.param_shapes if '/stage3/' in name}
  assert len(blocks) == 48


def test_arrays_are_called_by_their_layers(tiny):
  network = Network(5, **tiny)
  names = {*network.param_shapes, *network.batch_stat_shapes}
  assert {
    'backbone/stem/convs/0/conv/kernel',
    'backbone/stage1/0/conv1/bn/scale',
    'backbone/stage4/0/projection/bn/var',
    'pyramid/reductions/3/conv/kernel',
    'bottleneck/kernel',
    'bottleneck/level_kernels/3',
    'bottleneck/bn/mean',
    'classifier/conv/bias',
    'aux_head/bottleneck/conv/kernel',
    'aux_head/classifier/conv/kernel',
  } <= names
  assert all(torch_name(name) for name in names)


def test_initial_values_depend_on_the_seed_alone(tiny):
  network = Network(5, **tiny)
  params, stats = network.init(3)
  jitted = jax.jit(lambda: network.init(3))()
  again = Network(5, **dict(tiny, dtype='bfloat16')).init(3)
  for values in (jitted, again):
    for ours, theirs in zip((params, stats), values, strict=True):
      assert ours.keys() == theirs.keys()
      for name, array in ours.items():
        assert array.dtype == theirs[name].dtype == jnp.float32
        np.testing.assert_array_equal(array, theirs[name])
  other, _ = network.init(4)
  kernels = [name for name in params if name.endswith('kernel')]
  assert all((params[name] != other[name]).any() for name in kernels)


def test_initial_kernels_are_all_different(tiny):
  params, _ = Network(5, **tiny).init(0)
  firsts = [float(x.ravel()[0]) / float(x.std()) for n, x in params.items() if 'kernel' in n]
  assert len(set(np.round(firsts, 5))) == len(firsts)


def test_initial_values_have_the_declared_shapes(tiny):
  network = Network(5, **tiny)
  for arrays, shapes in zip(
    network.init(0), (network.param_shapes, network.batch_stat_shapes), strict=True
  ):
    assert {n: x.shape for n, x in arrays.items()} == {n: x.shape for n, x in shapes.items()}


def test_a_full_size_network_is_initialised_in_seconds():
  network, start = Network(150, depth=50), time.monotonic()
  params, _ = network.init(0)
  assert time.monotonic() - start < 60
  assert sum(x.size for x in params.values()) == 49_180_908
  del params


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16', 'float64'])
def test_logits_and_statistics_are_float32_or_wider(tiny, dtype):
  with jax.enable_x64(dtype == 'float64'):
    wide = jnp.promote_types(dtype, jnp.float32)
    network = Network(5, dtype=dtype, **tiny)
    params = random_arrays(network.param_shapes, 0, wide)
    stats = random_arrays(network.batch_stat_shapes, 1, wide)
    image, key = np.ones((2, 17, 9, 3), wide), jax.random.key(0)
    run = jax.jit(lambda *args: network.apply(*args, train=True, key=key), compiler_options=FAST)
    outputs, new = run(params, stats, image)
    assert {x.dtype for x in (*outputs.values(), *new.values())} == {wide}
    program = run.lower(params, stats, image).as_text().splitlines()
    dots = [line for line in program if 'stablehlo.convolution' in line]
    element = {'float32': 'xf32>', 'bfloat16': 'xbf16>', 'float64': 'xf64>'}[dtype]
    assert dots and all(element in line for line in dots)  # the convolutions run in `dtype`


def test_bfloat16_logits_are_near_float32(tiny):
  network, half = Network(5, **tiny), Network(5, dtype='bfloat16', **tiny)
  params, stats = random_arrays(network.param_shapes), random_arrays(network.batch_stat_shapes, 1)
  image = np.random.default_rng(0).normal(size=(2, 33, 41, 3)).astype(np.float32)
  exact, rounded = (jax.jit(n.apply)(params, stats, image)[0]['logits'] for n in (network, half))
  # About 15 roundings to 8 bits on the way, each 2^-9 of its value.
  assert 0 < float(jnp.abs(exact - rounded).max() / jnp.abs(exact).max()) < 15 * 2**-9


def test_apply_changes_no_argument(tiny):
  network = Network(5, dropout_rate=0.5, **tiny)
  params, stats = random_arrays(network.param_shapes), random_arrays(network.batch_stat_shapes, 1)
  before = {name: array.copy() for name, array in stats.items()}
  image = np.random.default_rng(0).normal(size=(2, 9, 9, 3)).astype(np.float32)

  @functools.partial(jax.jit, compiler_options=FAST)
  def run(image):
    return network.apply(params, stats, image, train=True, key=jax.random.key(0))

  _, new = run(image)
  assert all((new[name] != stats[name]).any() for name in stats)
  for name, array in before.items():
    np.testing.assert_array_equal(array, stats[name])


def test_dropout_of_both_heads_follows_the_key(tiny):
  network = Network(5, dropout_rate=0.5, **dict(tiny, aux_channels=12))
  params, stats = random_arrays(network.param_shapes), random_arrays(network.batch_stat_shapes, 1)
  image = np.random.default_rng(0).normal(size=(2, 9, 9, 3)).astype(np.float32)

  @functools.partial(jax.jit, compiler_options=FAST)
  def run(key):
    return network.apply(params, stats, image, train=True, key=key)[0]

  first, again, other = (run(jax.random.key(k)) for k in (0, 0, 1))
  for name in ('logits', 'aux_logits'):
    np.testing.assert_array_equal(first[name], again[name])
    assert (first[name] != other[name]).any()


def test_training_without_a_key_is_refused(tiny):
  network = Network(5, **tiny)
  arrays = random_arrays(network.param_shapes), random_arrays(network.batch_stat_shapes)
  with pytest.raises(ValueError, match='key'):
    jax.eval_shape(lambda x: network.apply(*arrays, x, train=True), np.ones((1, 8, 8, 3), 'f'))


def test_a_missing_parameter_is_named(tiny):
  network = Network(5, **tiny)
  params = random_arrays(network.param_shapes)
  del params['classifier/conv/bias']
  with pytest.raises(KeyError, match='classifier/conv/bias'):
    network.apply(params, random_arrays(network.batch_stat_shapes), np.ones((1, 8, 8, 3), 'f'))


@pytest.mark.parametrize('depth', [18, 50])
def test_computing_activations_again_changes_no_gradient(depth, tiny, x64):
  results = []
  for remat in (False, True):
    network = Network(5, dtype='float64', remat=remat, **dict(tiny, depth=depth))
    params = random_arrays(network.param_shapes, 0, np.float64)
    stats = random_arrays(network.batch_stat_shapes, 1, np.float64)
    image = np.random.default_rng(0).normal(size=(2, 33, 25, 3))

    def loss(params, network=network, stats=stats, image=image):
      outputs, new = network.apply(params, stats, image, train=True, key=jax.random.key(0))
      return sum((x**2).sum() for x in outputs.values()), new

    grad = jax.grad(loss, has_aux=True)
    assert ('remat' in str(jax.make_jaxpr(grad)(params))) == remat
    results.append(jax.jit(grad, compiler_options=FAST)(params))
  (plain, plain_stats), (again, again_stats) = results
  for arrays, expected in ((again, plain), (again_stats, plain_stats)):
    for name, value in expected.items():
      error = np.abs(arrays[name] - value).max() / np.abs(value).max()
      assert error < 1e-11, name
