import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from pspnet_jax.losses import count_valid, cross_entropy, cross_entropy_sum

CLASSES = 7


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
