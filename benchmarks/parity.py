"""How far the network's numbers on this device are from PyTorch's in float64 on the same one.

Ours come from the programs that are used: the folded network of a prediction, and the training
step with its loss, from which the gradients are taken by an optimiser that keeps them. PyTorch in
the same precisions tells which error is the precision's own.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch
import torch.nn.functional as F  # noqa: N812

from benchmarks import device, work
from pspnet_jax.data.spec import IGNORE_LABEL, IMAGENET_MEAN, IMAGENET_STD
from pspnet_jax.models.network import Arrays, Network
from pspnet_jax.ops.images import normalize
from pspnet_jax.runtime import compiler_options
from pspnet_jax.training.state import TrainState
from pspnet_jax.training.step import jit_options, make_train_step
from tests.torch_pspnet import TorchPSPNet, from_torch, load, nchw, nhwc, random_arrays

COLUMNS = ('program', 'logits', 'labels differ', 'loss', 'gradients', 'worst array')
AUX_WEIGHT = 0.4
# Products of float32 may be rounded to TF32 on a GPU; HIGHEST does not let them.
OURS: dict[str, tuple[str, str | None]] = {
  'pspnet_jax, float32, HIGHEST': ('float32', 'highest'),
  'pspnet_jax, float32': ('float32', None),
  'pspnet_jax, bfloat16': ('bfloat16', None),
}
THEIRS: dict[str, dict[str, bool]] = {
  'torch, float32': {},
  'torch, float32 with TF32': {'tf32': True},
  'torch, bfloat16 autocast': {'half': True},
}


@dataclasses.dataclass
class Numbers:
  """What one program computes: logits [N, H, W, C] of a prediction; a step's loss and gradients."""

  logits: np.ndarray
  loss: float
  gradients: Mapping[str, np.ndarray]


def measure(case: work.Case, platform: str) -> dict[str, Any]:
  """Returns the errors of every program against PyTorch's float64; `case.dtype` is not looked at.

  Raises:
    RuntimeError: where PyTorch cannot use the device.
  """
  network = Network(case.num_classes, depth=case.depth, dropout_rate=0.0)
  params = random_arrays(network.param_shapes, 0)
  stats = random_arrays(network.batch_stat_shapes, 1)
  image, label = work.pixels(case)
  label[:, : case.size // 8] = IGNORE_LABEL
  where = device.of_torch(platform)

  def theirs(dtype: type, **precision: bool) -> Numbers:
    return _theirs(case, (params, stats), image, label, where, dtype, **precision)

  exact = theirs(np.float64)
  results = {}
  for name, (dtype, precision) in OURS.items():
    if precision and platform == 'cpu':  # which has no TF32: the next is the same program
      continue
    with jax.default_matmul_precision(precision) if precision else contextlib.nullcontext():
      found = _ours(case, (params, stats), image, label, platform, dtype)
    results[name] = _errors(found, exact)
  for name, how in THEIRS.items():
    results[name] = _errors(theirs(np.float32, **how), exact)
  return {'case': f'errors of a {dataclasses.replace(case, dtype="float64")}', 'results': results}


def rows(measured: dict[str, Any]) -> Iterator[list[str]]:
  """The programs as rows of a table."""
  for name, found in measured['results'].items():
    errors = [f'{found[key]:.1e}' for key in ('logits', 'loss', 'gradients', 'worst_array')]
    yield [name, errors[0], f'{100 * found["labels_differ"]:.3f} %', *errors[1:]]


def _errors(found: Numbers, exact: Numbers) -> dict[str, float]:
  """Errors relative to the largest logit, the loss, and the norms of gradients."""
  differences = {
    name: np.linalg.norm(x - exact.gradients[name]) for name, x in found.gradients.items()
  }
  norms = {name: np.linalg.norm(x) for name, x in exact.gradients.items()}
  worst = max(differences, key=lambda name: differences[name] / norms[name])
  return {
    'logits': float(np.abs(found.logits - exact.logits).max() / np.abs(exact.logits).max()),
    'labels_differ': float((found.logits.argmax(-1) != exact.logits.argmax(-1)).mean()),
    'loss': abs(found.loss - exact.loss) / exact.loss,
    'gradients': float(np.linalg.norm([*differences.values()]) / np.linalg.norm([*norms.values()])),
    'worst_array': float(differences[worst] / norms[worst]),
    'worst_array_is': worst,
  }


def _ours(
  case: work.Case,
  weights: tuple[Arrays, Arrays],
  image: np.ndarray,
  label: np.ndarray,
  platform: str,
  dtype: str,
) -> Numbers:
  network = Network(case.num_classes, depth=case.depth, dtype=dtype, dropout_rate=0.0)
  # Its state is the gradients of the last step, and it changes no parameter.
  kept = optax.GradientTransformation(
    lambda params: jax.tree.map(jnp.zeros_like, params),
    lambda grads, state, params=None: (jax.tree.map(jnp.zeros_like, grads), grads),
  )
  folded = network.folded()
  params, stats = network.fold(*jax.device_put(weights))
  options = compiler_options.for_network(platform, train=False)

  def predict(image: jax.Array) -> jax.Array:
    pixels = normalize(image, IMAGENET_MEAN, IMAGENET_STD)
    return folded.apply(params, stats, pixels)[0]['logits']

  logits = np.asarray(jax.jit(predict, compiler_options=options)(image), np.float64)
  params, stats = jax.device_put(weights)
  state = TrainState(jnp.int32(0), params, stats, kept.init(params))
  step = make_train_step(network, kept, aux_weight=AUX_WEIGHT)
  state, measured = jax.jit(step, **jit_options(network, platform))(
    state, {'image': image, 'label': label}
  )
  gradients = {name: np.asarray(x, np.float64) for name, x in state.opt_state.items()}
  return Numbers(logits, float(measured['loss'].compute()), gradients)


def _theirs(
  case: work.Case,
  weights: tuple[Arrays, Arrays],
  image: np.ndarray,
  label: np.ndarray,
  where: str,
  dtype: type,
  *,
  tf32: bool = False,
  half: bool = False,
) -> Numbers:
  torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
  model = TorchPSPNet(case.num_classes, depth=case.depth, dropout_rate=0.0)
  arrays = ({name: x.astype(dtype) for name, x in group.items()} for group in weights)
  model = load(model, *arrays).to(where)
  pixels = (image.astype(np.float64) - IMAGENET_MEAN) / IMAGENET_STD
  x = nchw(pixels.astype(dtype)).to(where)
  y = torch.from_numpy(label.astype(np.int64)).to(where)
  mixed = torch.autocast(where, torch.bfloat16, enabled=half)
  with torch.no_grad(), mixed:
    logits = nhwc(model.eval()(x)['logits'].double().cpu())
  with mixed:
    losses = [F.cross_entropy(o, y, ignore_index=IGNORE_LABEL) for o in model.train()(x).values()]
    loss = losses[0] + AUX_WEIGHT * losses[1]
  loss.backward()
  gradients = {name: p.grad.double().cpu() for name, p in model.named_parameters()}
  return Numbers(logits, loss.item(), from_torch(gradients, weights[0]))
