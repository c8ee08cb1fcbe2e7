import functools
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from pspnet_jax.errors import UserError
from pspnet_jax.models.layers import ConvBN
from pspnet_jax.models.network import Network
from pspnet_jax.models.pspnet import PSPNet
from pspnet_jax.ops.images import resize
from pspnet_jax.training import optim
from pspnet_jax.training.state import TrainState
from pspnet_jax.training.step import make_train_step
from tests.models.heads import AsppNet
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
    run = jax.jit(lambda *args: network.apply(*args, train=True, key=key))
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

  @jax.jit
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

  @jax.jit
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
    jax.eval_shape(lambda x: network.apply(*arrays, x, train=True), np.ones((2, 8, 8, 3), 'f'))


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
    results.append(jax.jit(grad)(params))
  (plain, plain_stats), (again, again_stats) = results
  for arrays, expected in ((again, plain), (again_stats, plain_stats)):
    for name, value in expected.items():
      error = np.abs(arrays[name] - value).max() / np.abs(value).max()
      assert error < 1e-11, name


class WithDropout(PSPNet):
  def __init__(self, num_classes, *, rngs, **options):
    super().__init__(num_classes, rngs=rngs, **options)
    self.drop = nnx.Dropout(0.5, rngs=rngs)


class Tuple(PSPNet):
  def __call__(self, image, **options):
    return tuple(super().__call__(image, **options).values())


class Small(PSPNet):
  """Forgets to resize."""

  def __call__(self, image, *, upsample=True, **options):
    return super().__call__(image, upsample=False, **options)


class SmallAux(PSPNet):
  def __call__(self, image, **options):
    outputs = super().__call__(image, **options)
    return outputs | {'aux_logits': outputs['logits'][:, ::2]}


class Nameless(PSPNet):
  def __call__(self, image, **options):
    return {'out': super().__call__(image, **options)['logits']}


class Plain(nnx.Module):
  def __init__(self, num_classes, *, rngs):
    self.conv = nnx.Conv(3, num_classes, (1, 1), rngs=rngs)


def test_a_network_that_keeps_random_state_is_refused(tiny):
  with pytest.raises(UserError, match=r'^the network WithDropout keeps state of the kind Rng\w+, '):
    Network(5, model=WithDropout, **tiny)


@pytest.mark.parametrize(
  ('model', 'says'),
  [
    (Tuple, r'returns a tuple for an image of 33×49: return'),
    (Small, r"returns \{.*'logits': \(2, 5, 7, 5\)"),
    (SmallAux, r"'aux_logits': \(2, 17, 49, 5\)"),
    (Nameless, r"returns \{'out': "),
  ],
)
def test_outputs_that_are_not_those_of_a_pspnet_are_refused(tiny, model, says):
  with pytest.raises(UserError, match=says):
    Network(5, model=model, **tiny).check_outputs((33, 49))


def test_outputs_of_a_pspnet_pass(tiny):
  Network(5, **tiny).check_outputs((33, 49))
  Network(5, aux_head=False, **tiny).check_outputs((33, 49))


class WholeMap(nnx.Module):
  """Adds the mean of the whole map, as the image pooling of an ASPP does."""

  def __init__(self, in_channels, out_channels, *, rngs):
    self.whole = ConvBN(in_channels, out_channels, 1, rngs=rngs)
    self.local = ConvBN(in_channels, out_channels, 1, rngs=rngs)

  def __call__(self, x, grids, *, train):
    return self.local(x, train=train) + self.whole(x.mean((1, 2), keepdims=True), train=train)


class WholeMapNet(PSPNet):
  def __init__(self, num_classes, *, head_channels, rngs, **options):
    super().__init__(num_classes, bins=(), head_channels=head_channels, rngs=rngs, **options)
    self.bottleneck = WholeMap(self.backbone.channels, head_channels, rngs=rngs)


@pytest.mark.parametrize(
  ('changes', 'size', 'says'),
  [
    (
      {},
      (33, 49),
      r'^pyramid/reductions/0/bn gets .*accumulation_.* leave 1 out of model',
    ),
    ({'bins': (2, 1)}, (33, 49), r'^pyramid/reductions/1/bn gets .*fixed_batch_stats=pyramid\.'),
    ({'bins': ()}, (8, 8), r'^backbone/.*/bn gets .* enlarge crop_size, .*_stats=backbone\.'),
    ({'model': WholeMapNet}, (33, 49), r'^bottleneck/whole/bn gets .*_batch_stats=bottleneck\.'),
  ],
)
def test_one_value_a_channel_is_refused_by_the_name_of_its_layer(tiny, changes, size, says):
  check = Network(5, **tiny | changes).check_outputs
  with pytest.raises(UserError, match=says):
    check(size, images=1)
  check(size, images=2)


@pytest.mark.parametrize('changes', [{'bins': (2, 3)}, {'fixed_batch_stats': ('pyramid',)}])
def test_one_image_is_enough_where_nothing_is_normalised_by_one_value(tiny, changes):
  Network(5, **tiny | changes).check_outputs((33, 49), images=1)


@pytest.mark.parametrize(
  ('size', 'images', 'says'),
  [
    (1, 4, r'^pyramid/reductions/0/bn gets .*: raise model\.ghost_batch_size, leave 1 out'),
    (3, 4, r'^4 images do not divide into groups of 3 '),
    (-1, 4, r'^model\.ghost_batch_size is -1: give'),
  ],
)
def test_groups_of_images_that_cannot_be_normalised_are_refused(tiny, size, images, says):
  with pytest.raises(UserError, match=says):
    Network(5, ghost_batch_size=size, **tiny).check_outputs((33, 49), images)
  Network(5, ghost_batch_size=2, **tiny).check_outputs((33, 49), images)


def test_a_network_without_our_batch_normalisation_has_no_groups():
  with pytest.raises(UserError, match=r'Unnormalised has no batch normalisation .*: set it to 0'):
    Network(5, model=Unnormalised, ghost_batch_size=2)
  Network(5, model=Unnormalised)


class Unnormalised(nnx.Module):
  def __init__(self, num_classes, *, dtype, rngs):
    self.kernel = nnx.Param(jnp.zeros((3, num_classes), dtype))


class Broken(nnx.Module):
  def __init__(self, num_classes, *, dtype, rngs):
    len(num_classes)


def test_a_mistake_within_a_network_keeps_its_traceback():
  with pytest.raises(TypeError, match='has no len') as caught:
    Network(5, model=Broken)
  assert not isinstance(caught.value, UserError)


@pytest.mark.parametrize(
  ('model', 'options', 'says'),
  [
    (Plain, {}, r"^the network Plain cannot be made: .*'dtype'"),
    (PSPNet, {'depht': 50}, r"^the network PSPNet cannot be made: .*'depht'"),
    (AsppNet, {'depht': 50}, r"^the network AsppNet cannot be made: .*'depht'"),
    (AsppNet, {'bins': (1,)}, r"cannot be made: .*multiple values for keyword argument 'bins': it"),
    (AsppNet, {'rngs': 1}, r"cannot be made: .*multiple values for keyword argument 'rngs': it"),
  ],
)
def test_arguments_that_a_network_does_not_take_are_named(model, options, says):
  with pytest.raises(UserError, match=says):
    Network(5, model=model, **options)


def test_fixed_statistics_are_used_in_training_and_left_alone(tiny):
  fixed = Network(5, fixed_batch_stats=('backbone', 'bottleneck'), dropout_rate=0.0, **tiny)
  params, stats = random_arrays(fixed.param_shapes), random_arrays(fixed.batch_stat_shapes, 1)
  image = np.random.default_rng(0).normal(size=(2, 33, 33, 3)).astype('f')

  def run(network, train):
    apply = functools.partial(network.apply, train=train, key=jax.random.key(0))
    return jax.jit(apply)(params, stats, image)

  _, new = run(fixed, train=True)
  for name in stats:
    untouched = name.startswith(('backbone/', 'bottleneck/'))
    assert (new[name] == stats[name]).all() == untouched, name
  everything = Network(
    5, fixed_batch_stats=('backbone', 'bottleneck', 'pyramid', 'aux_head'), dropout_rate=0.0, **tiny
  )
  # All fixed, a training pass computes what inference does; as it is trained, it does not.
  trained, evaluated = run(everything, train=True)[0], run(everything, train=False)[0]
  np.testing.assert_allclose(trained['logits'], evaluated['logits'], rtol=1e-4, atol=1e-4)
  free = run(Network(5, dropout_rate=0.0, **tiny), train=True)[0]
  assert np.abs(free['logits'] - evaluated['logits']).max() > 0.1
  assert fixed.folded().param_shapes.keys() == Network(5, **tiny).folded().param_shapes.keys()


@pytest.mark.parametrize('part', ['backbon', 'back', 'classifier', ''])
def test_a_part_without_normalisation_cannot_be_fixed(tiny, part):
  with pytest.raises(UserError, match=f'fixed_batch_stats names {part!r}, where there is no batch'):
    Network(5, fixed_batch_stats=('backbone', part), **tiny)


class Narrow(nnx.Module):
  """Answers in its compute dtype, at the size of its map unless it is told to resize."""

  align_corners = False

  def __init__(self, num_classes, *, dtype, rngs):
    self.features = ConvBN(3, 8, 3, stride=2, rngs=rngs)
    self.classifier = nnx.Conv(8, num_classes, (1, 1), dtype=dtype, rngs=rngs)
    self.dtype = dtype

  def __call__(self, image, *, train=False, key=None, upsample=True):
    logits = self.classifier(self.features(image.astype(self.dtype), train=train))
    if upsample:
      logits = resize(logits, image.shape[1:3], align_corners=self.align_corners)
    return {'logits': logits}


class Untold(Narrow):
  align_corners = None


def test_outputs_are_wide_whatever_a_network_answers_in():
  """The forms of a loss for other platforms would differ in type else."""
  network = Network(5, model=Narrow, dtype='bfloat16')
  tx = optim.sgd(network.param_shapes, optim.learning_rate(0.01, 10))
  batch = {
    'image': np.full((2, 9, 9, 3), 100, np.uint8),
    'label': np.zeros((2, 9, 9), np.uint8),
  }
  state = TrainState.create(network, tx, seed=0)
  _, measured = jax.jit(make_train_step(network, tx))(state, batch)
  assert measured['loss'].compute() > 0
  outputs, _ = network.apply(*network.init(0), jnp.zeros((1, 9, 9, 3)), upsample=False)
  assert outputs['logits'].dtype == jnp.float32


def test_a_network_that_leaves_resizing_to_others_says_how():
  network = Network(5, model=Untold)
  image = jnp.zeros((1, 9, 9, 3))
  with pytest.raises(UserError, match=r'^the network Untold leaves its logits .* align_corners'):
    network.apply(*network.init(0), image, upsample=False)


@pytest.mark.parametrize('size', [-1, 1.5, '2'])
def test_groups_of_images_are_whole(size, tiny):
  with pytest.raises(UserError, match=r'^model\.ghost_batch_size is .*: give 0'):
    Network(5, ghost_batch_size=size, **tiny)
