import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from pspnet_jax.errors import UserError
from pspnet_jax.ops.images import resize
from pspnet_jax.training import region_losses
from pspnet_jax.training.losses import Loss, SegmentationLoss
from pspnet_jax.training.pixel_losses import (
  count_valid,
  denominator,
  pixel_losses,
  pixel_losses_of_upsampled,
  sum_losses,
)

CLASSES = 5
ALL = {'cross_entropy': 0.5, 'dice': 1.0, 'focal': 2.0, 'lovasz': 0.25}
WEIGHTS = (0.2, 3.0, 1.0, 0.0, 7.5)
MINED = {'class_weights': WEIGHTS, 'ohem_threshold': 0.25, 'ohem_min_kept': 20}


def draw(ignored=0.3, shape=(4, 11, 13), size=None, seed=0):
  """Logits and labels; the second image has no valid pixel. `size`: of the logits, (h, w)."""
  rng = np.random.default_rng(seed)
  label = rng.integers(0, CLASSES, shape).astype(np.uint8)
  label[rng.random(shape) < ignored] = 255
  label[1] = 255
  logits = rng.normal(size=(shape[0], *(size or shape[1:]), CLASSES)) * 3
  return logits.astype(np.float32), label


def whole(loss: Loss, logits, label, **options):
  """The values and the gradient of a batch in one piece."""

  def total(x):
    values = loss(x, label, loss.denominators(label), **options)
    return values['loss'], values

  gradient, values = jax.jit(jax.grad(total, has_aux=True))(jnp.asarray(logits))
  return {name: float(value) for name, value in values.items()}, np.asarray(gradient)


def in_torch(logits, label, weights):
  """Cross-entropy and focal loss, weighted sum of both with its gradient, in float64."""
  leaf = torch.tensor(logits, dtype=torch.float64).requires_grad_()
  valid = torch.tensor(label != 255)
  ids = torch.tensor(label.astype(np.int64))[valid]
  p = torch.softmax(leaf, -1)[valid].gather(1, ids[:, None])
  values = [-p.log().mean(), ((1 - p) ** 2 * -p.log()).mean()]
  total = sum(w * x for w, x in zip(weights, values, strict=True))
  total.backward()
  return [float(x.detach()) for x in (*values, total)], leaf.grad.numpy()


def test_terms_are_means_over_valid_pixels_and_add_up_by_their_weights(x64):
  logits, label = draw()
  logits = logits.astype(np.float64)
  values, gradient = whole(SegmentationLoss(cross_entropy=0.5, focal=2.0), logits, label)
  (cross_entropy, focal, total), wanted = in_torch(logits, label, (0.5, 2.0))
  assert list(values) == ['cross_entropy', 'focal', 'loss']
  np.testing.assert_allclose(list(values.values()), [cross_entropy, focal, total], rtol=1e-12)
  np.testing.assert_allclose(gradient, wanted, atol=1e-14)


def test_a_mean_over_all_pixels_counts_the_ignored_ones_as_zero(x64):
  logits, label = draw()
  logits = logits.astype(np.float64)
  over_valid, gradient = whole(SegmentationLoss(cross_entropy=0.5, focal=2.0), logits, label)
  loss = SegmentationLoss(cross_entropy=0.5, focal=2.0, avg_non_ignore=False)
  over_all, smaller = whole(loss, logits, label)
  share = (label != 255).mean()
  assert 0 < share < 1
  for name, value in over_valid.items():
    np.testing.assert_allclose(over_all[name], share * value, rtol=1e-12)
  np.testing.assert_allclose(smaller, share * gradient, atol=1e-14)


def test_terms_of_regions_are_means_over_images_with_a_valid_pixel(x64):
  logits, label = draw()
  logits = logits.astype(np.float64)
  values, _ = whole(SegmentationLoss(**ALL, dice_smooth=2.0), logits, label)
  images = [0, 2, 3]
  overlaps = region_losses.overlaps(logits[images], label[images])
  dice = float(region_losses.dice(*overlaps, smooth=2.0).mean())
  lovasz = float(region_losses.lovasz_softmax(logits[images], label[images]).mean())
  np.testing.assert_allclose([values['dice'], values['lovasz']], [dice, lovasz], rtol=1e-12)
  total = sum(weight * values[name] for name, weight in ALL.items())
  np.testing.assert_allclose(values['loss'], total, rtol=1e-12)


@pytest.mark.parametrize('options', [{}, MINED, {'ohem_min_kept': 30}], ids=str)
def test_cross_entropy_alone_is_computed_bit_for_bit_as_without_terms(options):
  logits, label = draw()
  loss = SegmentationLoss(**options)
  weights = options.get('class_weights', ())

  def plain(logits, label):
    divisor = denominator(label, weights)
    return sum_losses(pixel_losses(logits, label), label, **options) / divisor

  def ours(logits, label):
    values = loss(logits, label, loss.denominators(label))
    assert list(values) == ['cross_entropy', 'loss']
    return values['loss']

  found, wanted = (jax.jit(jax.value_and_grad(f))(logits, label) for f in (ours, plain))
  assert found[0] == wanted[0]
  np.testing.assert_array_equal(found[1], wanted[1])


# Terms, and the map that is resized to the label's 11×13.
ON_ACCELERATORS = {
  'plain': ({}, (3, 4)),
  'weighted and mined': (MINED, (2, 13)),
  'more mined than there are': ({'ohem_min_kept': 10**6, 'ohem_threshold': 0.0}, (5, 2)),
  'focal': ({'cross_entropy': 0.0, 'focal': 1.0}, (1, 1)),
  'all': ({**ALL, **MINED}, (4, 3)),
  'of its size': ({}, (11, 13)),
}


@pytest.mark.parametrize('flat', [True, False])
@pytest.mark.parametrize('align_corners', [True, False])
@pytest.mark.parametrize('case', ON_ACCELERATORS)
def test_losses_in_cells_are_those_of_resized_logits(x64, case, align_corners, flat):
  options, size = ON_ACCELERATORS[case]
  loss = SegmentationLoss(**options)
  logits, label = draw(size=size)
  logits = jnp.asarray(logits, jnp.float64)

  def total(sums, **how):
    def weighted(x):
      found = sums(x, label, align_corners, **how)
      assert found.keys() == loss.weights.keys()
      return sum(loss.weights[name] * value for name, value in found.items())

    return jax.jit(jax.value_and_grad(weighted))(logits)

  wanted, wanted_gradient = total(loss._sums)
  value, gradient = total(loss._sums_in_cells, flat=flat)
  np.testing.assert_allclose(value, wanted, rtol=1e-12)
  np.testing.assert_allclose(gradient, wanted_gradient, atol=1e-12)


@pytest.mark.parametrize('size', [1e4, 1e30])
def test_extreme_logits_stay_finite_in_cells(size):
  logits = np.zeros((1, 1, 2, 3), np.float32)
  logits[..., 0], logits[..., 1] = size, -size
  label = np.array([[[0, 1, 2, 255]]], np.uint8)
  loss = SegmentationLoss()
  sums = (loss._sums, functools.partial(loss._sums_in_cells, flat=False))
  found = [
    jax.value_and_grad(lambda x, f=f: f(x, label, True)['cross_entropy'])(logits) for f in sums
  ]
  (wanted, wanted_gradient), (value, gradient) = found
  assert float(value) == pytest.approx(float(wanted), rel=1e-6)
  np.testing.assert_allclose(gradient, wanted_gradient, atol=1e-6)


@pytest.mark.parametrize('platform', ['cuda', 'tpu'])
def test_accelerators_are_given_no_gather_no_scatter_and_no_batch_of_full_logits(platform):
  """All that reads [K, J, P, C] is elementwise or a sum, so that XLA can fuse it."""
  loss = SegmentationLoss(focal=1.0, class_weights=(1.0,) * 5)
  label = jax.ShapeDtypeStruct((2, 33, 52), jnp.uint8)
  logits = jax.ShapeDtypeStruct((2, 5, 7, 5), jnp.float32)

  def total(logits, label):
    return loss(logits, label, {'cross_entropy': 1, 'focal': 1})['loss']

  lowered = jax.jit(jax.grad(total)).trace(logits, label).lower(lowering_platforms=(platform,))
  text = lowered.as_text()
  assert 'stablehlo.gather' not in text and 'stablehlo.scatter' not in text
  # Zeros stand for what only a CPU's gradient needs; nothing reads them.
  made = [line for line in text.splitlines() if line.rstrip().endswith('-> tensor<2x33x52x5xf32>')]
  assert all('broadcast_in_dim %cst' in line for line in made)
  on_cpu = jax.jit(jax.grad(total)).trace(logits, label).lower(lowering_platforms=('cpu',))
  assert 'tensor<2x33x52x5xf32>' in on_cpu.as_text()


@pytest.mark.parametrize('align_corners', [True, False])
def test_chunks_of_cross_entropy_alone_are_as_without_terms(align_corners):
  logits, label = draw(size=(3, 4))
  loss = SegmentationLoss(chunk_rows=4)
  options = {'align_corners': align_corners}

  def plain(x):
    total = pixel_losses_of_upsampled(x, label, 4, **options)
    return sum_losses(total, label) / denominator(label)

  values, gradient = whole(loss, logits, label, **options)
  wanted, wanted_gradient = jax.jit(jax.value_and_grad(plain))(logits)
  assert values['loss'] == wanted
  np.testing.assert_array_equal(gradient, wanted_gradient)


@pytest.mark.parametrize('rows', [1, 4, 11, 50])  # 4 does not divide 11 rows
@pytest.mark.parametrize('align_corners', [True, False])
@pytest.mark.parametrize('weights', [ALL | {'lovasz': 0.0}, {'cross_entropy': 0.0, 'dice': 1.0}])
def test_chunks_of_rows_change_nothing(x64, weights, align_corners, rows):
  logits, label = draw(size=(3, 4))
  logits = jnp.asarray(logits, jnp.float64)

  def upsampled(x):
    loss = SegmentationLoss(**weights, **MINED)
    x = resize(x, label.shape[1:], align_corners=align_corners)
    return loss(x, label, loss.denominators(label))['loss']

  wanted, wanted_gradient = jax.jit(jax.value_and_grad(upsampled))(logits)
  chunked = SegmentationLoss(**weights, **MINED, chunk_rows=rows)
  values, gradient = whole(chunked, logits, label, align_corners=align_corners)
  np.testing.assert_allclose(values['loss'], wanted, rtol=1e-12)
  np.testing.assert_allclose(gradient, wanted_gradient, atol=1e-14)


class SquaredError:
  """A loss of one's own, as the docstring of `Loss` has it."""

  def denominators(self, label):
    return jnp.maximum(count_valid(label), 1)

  def __call__(self, logits, label, denominators, *, align_corners=True):
    wanted = jax.nn.one_hot(label, logits.shape[-1])
    errors = jnp.square(jax.nn.softmax(logits) - wanted).sum(-1)
    return {'loss': jnp.where(label != 255, errors, 0).sum() / denominators}


LOSSES: list[Loss] = [
  SegmentationLoss(**ALL, **MINED),
  SegmentationLoss(avg_non_ignore=False),
  SquaredError(),
]


@pytest.mark.parametrize('loss', LOSSES, ids=['terms', 'all pixels', 'own'])
@pytest.mark.parametrize('parts', [[[0], [1], [2], [3]], [[3, 1], [2, 0]]], ids=str)
def test_parts_add_up_to_the_batch(x64, loss, parts):
  """The parts have unlike numbers of valid pixels, one of them none: a mean of means is wrong."""
  logits, label = draw()
  label[2, 1:] = 255
  logits = logits.astype(np.float64)
  values, gradient = whole(loss, logits, label)

  @jax.jit
  def of_part(logits, label, denominators):
    def total(x):
      values = loss(x, label, denominators)
      return values['loss'], values

    return jax.grad(total, has_aux=True)(logits)

  denominators = loss.denominators(label)
  results = [of_part(logits[part], label[part], denominators) for part in parts]
  for name, value in values.items():
    np.testing.assert_allclose(sum(part[name] for _, part in results), value, rtol=1e-12)
  for part, (own, _) in zip(parts, results, strict=True):
    np.testing.assert_allclose(own, gradient[part], atol=1e-15)


def test_devices_add_up_to_the_batch_without_an_image_leaving_its_own():
  logits, label = draw(shape=(8, 11, 13))
  loss = SegmentationLoss(**ALL, **MINED)
  values, gradient = whole(loss, logits, label)
  mesh = Mesh(np.array(jax.devices()), ('data',))
  spread = jax.device_put((logits, label), NamedSharding(mesh, P('data')))

  def total(x, y):
    return loss(x, y, loss.denominators(y))['loss']

  program = jax.jit(jax.value_and_grad(total)).lower(*spread).compile()
  for name in ('all-gather', 'all-to-all', 'collective-permute'):
    assert name not in program.as_text()
  total, spread_gradient = program(*spread)
  np.testing.assert_allclose(total, values['loss'], rtol=1e-6)
  np.testing.assert_allclose(spread_gradient, gradient, atol=1e-7)


@pytest.mark.parametrize('chunk_rows', [0, 4])
@pytest.mark.parametrize('weight', ['cross_entropy', 'dice', 'focal', 'lovasz'])
def test_ignored_pixels_and_images_have_no_gradient(weight, chunk_rows):
  if weight == 'lovasz' and chunk_rows:
    return
  logits, label = draw()
  loss = SegmentationLoss(**{'cross_entropy': 0.0, weight: 1.0}, chunk_rows=chunk_rows)
  values, gradient = whole(loss, logits, label)
  assert values['loss'] > 0 and np.isfinite(gradient).all()
  assert not gradient[label == 255].any() and gradient[label != 255].any(-1).all()
  kept = [0, 2, 3]  # the image without a valid pixel does not count
  assert values['loss'] == pytest.approx(whole(loss, logits[kept], label[kept])[0]['loss'], 1e-6)
  nothing, gradient = whole(loss, logits, np.full_like(label, 255))
  assert nothing == {weight: 0, 'loss': 0} and not gradient.any()


def test_labels_of_any_integer_dtype():
  logits, label = draw()
  loss = SegmentationLoss(**ALL)
  assert whole(loss, logits, label.astype(np.int32))[0] == whole(loss, logits, label)[0]


def test_extreme_logits_stay_finite():
  logits, label = draw()
  for scale in (1e4, -1e4):
    values, gradient = whole(SegmentationLoss(**ALL), np.float32(scale) * np.sign(logits), label)
    assert np.isfinite(list(values.values())).all() and np.isfinite(gradient).all()


def test_class_weights_may_be_a_list_and_must_be_as_many_as_classes():
  logits, label = draw()
  as_list = SegmentationLoss(class_weights=list(WEIGHTS))  # as JSON has it
  assert hash(as_list) == hash(SegmentationLoss(class_weights=WEIGHTS))
  with pytest.raises(UserError, match='class_weights has 2 numbers for 5 classes'):
    whole(SegmentationLoss(class_weights=(1.0, 2.0)), logits, label)


@pytest.mark.parametrize(
  ('options', 'named'),
  [
    *[({name: -1.0}, rf'config\.loss\.{name} is -1.0: make it 0 or more') for name in ALL],
    ({'dice': float('nan')}, r'config\.loss\.dice is nan'),
    ({'cross_entropy': 0.0}, r'config\.loss\.cross_entropy, config\.loss\.dice'),
    ({'ohem_min_kept': -1}, 'ohem_min_kept is -1'),
    ({'ohem_threshold': 1.5}, 'ohem_threshold is 1.5'),
    ({'class_weights': (1.0, -1.0)}, 'class_weights is'),
    ({'class_weights': (0.0, 0.0)}, 'class_weights is'),
    ({'focal_gamma': -2.0}, 'focal_gamma is -2.0'),
    ({'dice_smooth': -1.0}, 'dice_smooth is -1.0'),
    ({'chunk_rows': -1}, 'chunk_rows is -1'),
    ({'avg_non_ignore': False, 'class_weights': WEIGHTS}, 'avg_non_ignore is False: class_weights'),
    ({'lovasz': 1.0, 'chunk_rows': 32}, r'config\.loss\.chunk_rows is 32: Lovász-softmax'),
  ],
)
def test_impossible_values_are_named(options, named):
  with pytest.raises(UserError, match=named):
    SegmentationLoss(**options)
