import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from pspnet_jax.training.region_losses import denominator, dice, lovasz_softmax, overlaps

CLASSES = 5


def dice_loss(logits, label, smooth=0.0):
  return dice(*overlaps(logits, label), smooth=smooth)


def draw(scale=3.0, ignored=0.3, shape=(3, 11, 13), seed=0):
  """Images without class 4; the first has no class 2 either."""
  rng = np.random.default_rng(seed)
  label = rng.integers(0, CLASSES - 1, shape).astype(np.uint8)
  label[0][label[0] == 2] = 0
  label[rng.random(shape) < ignored] = 255
  return (rng.normal(size=(*shape, CLASSES)) * scale).astype(np.float32), label


def pixels_of(logits, label):
  """An image's probabilities and ids on its valid pixels, float64 torch tensors."""
  valid = torch.tensor(label != 255)
  return torch.softmax(logits, -1)[valid], torch.tensor(label.astype(np.int64))[valid]


def dice_by_hand(logits, label, smooth=0.0):
  p, ids = pixels_of(logits, label)
  losses = []
  for k in ids.unique():
    g = (ids == k).double()
    above, below = 2 * (p[:, k] * g).sum(), (p[:, k] ** 2).sum() + (g**2).sum()
    losses.append(1 - (above + smooth) / (below + smooth))
  return torch.stack(losses).mean() if losses else logits.sum() * 0


def jaccard_loss(wrong, own):
  """1 - |own and right| / |own or wrong|, of a set of wrong pixels (Berman et al., equation 5)."""
  return 1 - (own & ~wrong).sum() / (own | wrong).sum()


def lovasz_by_hand(logits, label):
  """Equation 3 of Berman et al. as it stands: one set after the other, each with one pixel more."""
  p, ids = pixels_of(logits, label)
  losses = []
  for k in ids.unique():
    own = ids == k
    errors = torch.where(own, 1 - p[:, k], p[:, k])
    wrong, before, total = torch.zeros_like(own), 0.0, 0.0
    for i in errors.argsort(descending=True):
      wrong[i] = True
      after = jaccard_loss(wrong.numpy(), own.numpy())
      total, before = total + errors[i] * (after - before), after
    losses.append(total)
  return torch.stack(losses).mean() if losses else logits.sum() * 0


def by_hand(function, logits, label):
  """The losses of all images, and the gradient of their sum."""
  leaf = torch.tensor(np.asarray(logits, np.float64)).requires_grad_()
  losses = [function(x, y) for x, y in zip(leaf, label, strict=True)]
  sum(losses).backward()
  return np.array([float(x.detach()) for x in losses]), leaf.grad.numpy()


@functools.cache
def compiled(function):
  def both(logits, label):
    return function(logits, label), jax.grad(lambda x: function(x, label).sum())(logits)

  return jax.jit(both)


def ours(function, logits, label):
  losses, gradient = compiled(function)(logits, label)
  return np.asarray(losses), np.asarray(gradient)


BOTH = pytest.mark.parametrize(
  ('function', 'wanted'),
  [(dice_loss, dice_by_hand), (lovasz_softmax, lovasz_by_hand)],
  ids=['dice', 'lovasz'],
)


@BOTH
@pytest.mark.parametrize('ignored', [0.0, 0.3, 0.97])
@pytest.mark.parametrize('scale', [0.1, 3.0, 30.0])
def test_equals_the_formula_and_its_gradient(x64, function, wanted, scale, ignored):
  logits, label = draw(scale, ignored)
  losses, gradient = ours(function, logits.astype(np.float64), label)
  wanted_losses, wanted_gradient = by_hand(wanted, logits, label)
  assert losses.min() > 0 and losses.max() < 1
  np.testing.assert_allclose(losses, wanted_losses, rtol=1e-12)
  np.testing.assert_allclose(gradient, wanted_gradient, atol=1e-14)


@BOTH
def test_float32_is_right_to_its_rounding(function, wanted):
  logits, label = draw()
  losses, gradient = ours(function, logits, label)
  wanted_losses, wanted_gradient = by_hand(wanted, logits, label)
  assert losses.dtype == gradient.dtype == np.float32
  np.testing.assert_allclose(losses, wanted_losses, rtol=1e-6)
  assert np.abs(gradient - wanted_gradient).max() < 1e-6 * np.abs(wanted_gradient).max()


def test_growth_of_the_jaccard_loss_is_right_in_large_images(x64):
  """Its differences, in float32, would be off by 1 %: one of 150,000 pixels adds 7e-6 to almost 1.

  What is left is pixels that rounding puts in another order: their growth is that of a neighbour.
  """
  rng = np.random.default_rng(0)
  label = (rng.random((1, 300, 500)) < 0.6).astype(np.uint8)
  logits = rng.normal(size=(1, 300, 500, 2))
  narrow, wide = (
    ours(lovasz_softmax, logits.astype(dtype), label)[1] for dtype in (np.float32, np.float64)
  )
  assert np.abs(narrow - wide).max() < 3e-5 * np.abs(wide).max()


@BOTH
def test_gradient_equals_differences(x64, function, wanted):
  logits, label = draw(shape=(1, 3, 4), ignored=0.2)
  logits = logits.astype(np.float64)
  gradient = ours(function, logits, label)[1]
  steps = 1e-6 * np.eye(logits.size).reshape(-1, *logits.shape[1:])  # one logit of each image
  labels = label.repeat(len(steps), 0)
  change = function(logits + steps, labels) - function(logits - steps, labels)
  np.testing.assert_allclose(change / 2e-6, gradient.ravel(), atol=1e-9)


@BOTH
def test_ignored_pixels_have_no_say_and_no_gradient(function, wanted):
  """The faults of mmsegmentation #2996, PaddleSeg #2270, kornia #839 and smp #366."""
  logits, label = draw()
  ignored = (label == 255)[..., None]
  losses, gradient = ours(function, logits, label)
  assert not gradient[np.broadcast_to(ignored, logits.shape)].any()
  for other in (1e4, np.nan):
    changed, gradient = ours(function, np.where(ignored, np.float32(other), logits), label)
    np.testing.assert_array_equal(changed, losses)
    assert np.isfinite(gradient).all()
  for image, ids, loss in zip(logits, label, losses, strict=True):
    valid = ids != 255
    without = function(image[valid][None, None], ids[valid][None, None])  # one row of valid pixels
    np.testing.assert_allclose(without, [loss], rtol=2e-6)


@BOTH
def test_an_image_without_a_valid_pixel_counts_nothing(function, wanted):
  logits, label = draw()
  losses, gradient = ours(function, logits, label)
  empty = label.copy()
  empty[1] = 255
  some, some_gradient = ours(function, logits, empty)
  np.testing.assert_array_equal(some, np.where([True, False, True], losses, 0))
  np.testing.assert_array_equal(some_gradient[[0, 2]], gradient[[0, 2]])
  assert not some_gradient[1].any()
  assert denominator(label) == 3 and denominator(empty) == 2
  none, gradient = ours(function, logits, np.full_like(label, 255))
  assert not none.any() and not gradient.any()
  assert denominator(np.full_like(label, 255)) == 1


@BOTH
def test_extreme_logits_stay_finite(function, wanted):
  right, label = draw(ignored=0.2)
  right[:] = -1e4
  np.put_along_axis(right, np.where(label == 255, 0, label)[..., None].astype(int), 1e4, -1)
  for logits, loss in ((right, 0), (-right, 1)):
    losses, gradient = ours(function, logits, label)
    np.testing.assert_allclose(losses, loss, atol=1 / 4 if loss else 0)  # wrong: no class is sure
    assert np.isfinite(gradient).all()


@BOTH
def test_ties_have_a_gradient(function, wanted):
  label = draw()[1]
  logits = np.zeros((*label.shape, CLASSES), np.float32)
  losses, gradient = ours(function, logits, label)
  np.testing.assert_allclose(losses, by_hand(wanted, logits, label)[0], rtol=1e-6)
  assert np.isfinite(gradient).all() and gradient.any()


@BOTH
def test_order_of_the_pixels_does_not_matter(function, wanted):
  logits, label = draw()
  order = np.random.default_rng(1).permutation(label[0].size)
  losses, gradient = ours(function, logits, label)
  shuffled = logits.reshape(3, 1, -1, CLASSES)[:, :, order], label.reshape(3, 1, -1)[:, :, order]
  other, other_gradient = ours(function, *shuffled)
  np.testing.assert_allclose(other, losses, rtol=1e-6)
  expected = gradient.reshape(3, 1, -1, CLASSES)[:, :, order]
  np.testing.assert_allclose(other_gradient, expected, atol=1e-7)


def test_lovasz_softmax_of_sure_pixels_is_one_minus_the_mean_iou():
  rng = np.random.default_rng(0)
  label, prediction = rng.integers(0, CLASSES, (2, 1, 20, 20)).astype(np.uint8)
  prediction = np.where(rng.random(label.shape) < 0.6, label, prediction)
  iou = [
    ((label == k) & (prediction == k)).sum() / ((label == k) | (prediction == k)).sum()
    for k in range(CLASSES)
  ]
  sure = 100 * np.eye(CLASSES, dtype=np.float32)[prediction]
  np.testing.assert_allclose(lovasz_softmax(sure, label), 1 - np.mean(iou), rtol=1e-6)


def test_probability_given_to_an_absent_class_is_a_fault():
  """Nobody labels class 4, but what is taken for it is no longer taken for the right class."""
  logits, label = draw(scale=0.1, ignored=0)
  astray = logits + np.float32([0, 0, 0, 0, 3])
  for function in (dice_loss, lovasz_softmax):
    assert (np.asarray(function(astray, label)) > np.asarray(function(logits, label)) + 0.05).all()


@pytest.mark.parametrize('smooth', [1.0, 30.0])
def test_smooth_is_added_on_both_sides(x64, smooth):
  logits, label = draw()
  losses, gradient = ours(lambda x, y: dice_loss(x, y, smooth), logits.astype(np.float64), label)
  wanted, wanted_gradient = by_hand(lambda x, y: dice_by_hand(x, y, smooth), logits, label)
  np.testing.assert_allclose(losses, wanted, rtol=1e-12)
  np.testing.assert_allclose(gradient, wanted_gradient, atol=1e-14)
  assert (losses < np.asarray(dice_loss(logits.astype(np.float64), label))).all()


def test_half_precision_logits_are_summed_in_float32():
  logits, label = draw()
  half = jnp.asarray(logits, jnp.bfloat16)
  for function in (dice_loss, lovasz_softmax):
    losses = function(half, label)
    assert losses.dtype == jnp.float32
    np.testing.assert_array_equal(losses, function(half.astype(jnp.float32), label))
