import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from pspnet_jax.training.pixel_losses import (
  count_valid,
  cross_entropy,
  denominator,
  focal_losses,
  hard_pixels,
  pixel_losses,
  sum_losses,
)

CLASSES = 7


def cross_entropy_sum(logits, label, **options):
  return sum_losses(pixel_losses(logits, label), label, **options)


def draw(scale=3.0, ignored=0.3, shape=(3, 11, 13)):
  rng = np.random.default_rng(0)
  label = rng.integers(0, CLASSES, shape).astype(np.uint8)
  label[rng.random(shape) < ignored] = 255
  return (rng.normal(size=(*shape, CLASSES)) * scale).astype(np.float32), label


def torch_loss(logits, label, **kwargs):
  """Torch's loss and its gradient, in float64."""
  leaf = torch.tensor(logits, dtype=torch.float64).requires_grad_()
  target = torch.tensor(label.astype(np.int64))
  loss = F.cross_entropy(leaf.permute(0, 3, 1, 2), target, ignore_index=255, **kwargs)
  loss.backward()
  return float(loss.detach()), leaf.grad.numpy()


def error(ours, theirs) -> float:
  return np.abs(np.asarray(ours, np.float64) - theirs).max() / np.abs(theirs).max()


@pytest.mark.parametrize('ignored', [0.0, 0.3, 0.99])
@pytest.mark.parametrize('scale', [0.1, 3.0, 100.0])
def test_cross_entropy_and_gradient_match_torch(scale, ignored):
  logits, label = draw(scale, ignored)
  loss, gradient = jax.jit(jax.value_and_grad(cross_entropy))(logits, label)
  expected, expected_gradient = torch_loss(logits, label)
  assert error(loss, expected) < 1e-6
  assert error(gradient, expected_gradient) < 1e-6


def test_sum_and_count_make_the_mean():
  logits, label = draw()
  total, valid = cross_entropy_sum(logits, label), count_valid(label)
  assert valid == (label != 255).sum() and valid.dtype == jnp.float32
  assert error(total, torch_loss(logits, label, reduction='sum')[0]) < 1e-6
  assert float(cross_entropy(logits, label)) == float(total / valid)


def test_all_ignored_gives_zero_loss_and_zero_gradient():
  logits, label = draw(ignored=1.1)
  assert (label == 255).all()
  loss, gradient = jax.value_and_grad(cross_entropy)(logits, label)
  assert loss == 0 and not np.asarray(gradient).any()


@pytest.mark.parametrize('size', [1e4, 1e30])
def test_extreme_logits_stay_finite(size):
  logits = np.zeros((1, 1, 4, 3), np.float32)
  logits[..., 0], logits[..., 1] = size, -size
  label = np.array([[[0, 1, 2, 255]]], np.uint8)  # right, as wrong as can be, wrong, ignored
  loss, gradient = jax.value_and_grad(cross_entropy)(logits, label)
  assert error(loss, size) < 1e-6  # (0 + 2 size + size) / 3
  expected = np.array([[0, 0, 0], [1, -1, 0], [1, 0, -1], [0, 0, 0]]) / 3
  np.testing.assert_allclose(gradient[0, 0], expected, atol=1e-7)


def test_ignored_pixels_do_not_matter():
  logits, label = draw()
  other = np.where((label == 255)[..., None], 1e4, logits)
  assert cross_entropy(logits, label) == cross_entropy(other, label)


@pytest.mark.parametrize('dtype', [np.uint8, np.int32, np.int64])
def test_labels_of_any_integer_dtype(dtype):
  logits, label = draw()
  assert cross_entropy(logits, label.astype(dtype)) == cross_entropy(logits, label)


def test_float64_stays_float64(x64):
  logits, label = draw()
  loss = cross_entropy(jnp.asarray(logits, jnp.float64), label)
  assert loss.dtype == jnp.float64
  assert error(loss, torch_loss(logits, label)[0]) < 1e-14


def test_nothing_changes_where_nothing_is_asked_for():
  """The computation without weights and mining, operation for operation."""

  def plain(logits, label):
    valid = label != 255
    index = jnp.where(valid, label, 0).astype(jnp.int32)
    picked = jnp.take_along_axis(logits, index[..., None], axis=-1, mode='clip')[..., 0]
    total = jnp.where(valid, jax.nn.logsumexp(logits, axis=-1) - picked, 0).sum()
    return total / jnp.maximum((label != 255).sum(dtype=jnp.float32), 1)

  def ours(logits, label):
    return cross_entropy_sum(logits, label) / denominator(label)

  logits, label = draw()
  found, wanted = (jax.jit(jax.value_and_grad(f))(logits, label) for f in (ours, plain))
  assert found[0] == wanted[0] and (found[1] == wanted[1]).all()


WEIGHTS = (0.2, 3.0, 1.0, 0.0, 7.5, 0.01, 1.3)


@pytest.mark.parametrize('ignored', [0.0, 0.3, 0.99])
def test_weighted_mean_and_gradient_match_torch(ignored):
  logits, label = draw(ignored=ignored)
  weighted = jax.jit(jax.value_and_grad(lambda x: cross_entropy(x, label, WEIGHTS)))
  loss, gradient = weighted(logits)
  weight = torch.tensor(WEIGHTS, dtype=torch.float64)
  expected, expected_gradient = torch_loss(logits, label, weight=weight)
  assert error(loss, expected) < 1e-6
  assert error(gradient, expected_gradient) < 1e-6


def test_small_weights_are_still_a_mean_and_none_is_zero():
  logits, label = draw()
  small = tuple(1e-6 * w for w in WEIGHTS)
  assert error(cross_entropy(logits, label, small), cross_entropy(logits, label, WEIGHTS)) < 1e-6
  assert cross_entropy(logits, np.full_like(label, 3), WEIGHTS) == 0  # the class of weight 0


def by_hand(logits, label, threshold, min_kept):
  """The sum over the hard pixels, image by image, in float64; and how many they are."""
  total, kept = 0.0, 0
  for image, ids in zip(logits.astype(np.float64), label, strict=True):
    shifted = image - image.max(-1, keepdims=True)
    probability = np.exp(shifted) / np.exp(shifted).sum(-1, keepdims=True)
    valid = ids != 255
    p = np.sort(probability[valid, ids[valid]])
    taken = p[(p < threshold) | (np.arange(p.size) < min_kept)]
    total, kept = total - np.log(taken).sum(), kept + taken.size
  return total, kept


@pytest.mark.parametrize('ignored', [0.0, 0.3, 0.97, 1.1])
@pytest.mark.parametrize(
  ('threshold', 'min_kept'), [(0.7, 1), (0.05, 40), (0.0, 40), (0.0, 10**6), (1.0, 1)]
)
def test_hard_examples(ignored, threshold, min_kept):
  logits, label = draw(ignored=ignored)
  loss = jax.jit(
    lambda x, y: cross_entropy_sum(x, y, ohem_threshold=threshold, ohem_min_kept=min_kept)
  )(logits, label)
  total, kept = by_hand(logits, label, threshold, min_kept)
  np.testing.assert_allclose(loss, total, rtol=1e-6)
  if threshold == 1 or min_kept == 10**6:
    assert kept == (label != 255).sum()


def test_easy_pixels_have_no_gradient_and_hard_ones_that_of_the_sum():
  logits, label = draw()
  mined = jax.grad(lambda x: cross_entropy_sum(x, label, ohem_threshold=0.2, ohem_min_kept=5))
  plain = np.asarray(jax.grad(lambda x: cross_entropy_sum(x, label))(logits))
  loss = jax.nn.logsumexp(logits, axis=-1) - np.take_along_axis(
    logits, np.where(label == 255, 0, label)[..., None].astype(int), -1
  ).squeeze(-1)
  kept = np.asarray(hard_pixels(loss, label != 255, 0.2, 5))
  assert 15 <= kept.sum() < (label != 255).sum()
  np.testing.assert_allclose(mined(logits), np.where(kept[..., None], plain, 0), atol=1e-7)


def test_hard_examples_are_chosen_image_by_image():
  logits, label = draw()
  options = {'ohem_threshold': 0.1, 'ohem_min_kept': 20, 'class_weights': WEIGHTS}
  whole = cross_entropy_sum(logits, label, **options)
  parts = [cross_entropy_sum(logits[i : i + 1], label[i : i + 1], **options) for i in range(3)]
  np.testing.assert_allclose(whole, sum(parts), rtol=1e-6)


def focal_in_torch(logits, label, gamma):
  """The sum of equation 4 of Lin et al. 2017 and its gradient, in float64."""
  leaf = torch.tensor(logits, dtype=torch.float64).requires_grad_()
  valid = torch.tensor(label != 255)
  log_p = torch.log_softmax(leaf, -1)[valid]
  log_p = log_p.gather(1, torch.tensor(label.astype(np.int64))[valid][:, None])
  loss = (-((1 - log_p.exp()) ** gamma) * log_p).sum()
  loss.backward()
  return float(loss.detach()), leaf.grad.numpy()


@pytest.mark.parametrize('scale', [0.1, 3.0, 10.0])
@pytest.mark.parametrize('gamma', [0.0, 0.5, 1.0, 2.0, 5.0])
def test_focal_loss_and_gradient_match_torch(gamma, scale):
  logits, label = draw(scale)
  loss, gradient = jax.jit(
    jax.value_and_grad(lambda x: focal_losses(pixel_losses(x, label), gamma).sum())
  )(logits)
  expected, expected_gradient = focal_in_torch(logits, label, gamma)
  # -log p of logits up to 40 is right to 40 float32 roundings of 1; the power doubles it.
  assert error(loss, expected) < 1e-5
  assert error(gradient, expected_gradient) < 1e-5
  assert not np.asarray(gradient)[label == 255].any()


@pytest.mark.parametrize('gamma', [0.0, 0.5, 1.0, 2.0])
def test_focal_loss_of_a_sure_pixel_is_zero_with_a_gradient(gamma):
  """At p = 1 the power of 1 - p has no derivative, or an infinite one."""
  losses = jnp.float32([0.0, 1e-45, 1e-38, 1e-30, 1e-7, 1.0, 1e4, 1e30])
  values, gradients = jax.vmap(jax.value_and_grad(lambda x: focal_losses(x, gamma)))(losses)
  assert np.isfinite(values).all() and np.isfinite(gradients).all()
  assert values[0] == 0 and (np.asarray(values) >= 0).all() and values[-1] == losses[-1]
