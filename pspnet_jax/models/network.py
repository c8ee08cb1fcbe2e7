"""PSPNet as pure functions over plain dictionaries: what training and inference work with."""

from __future__ import annotations

import copy
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from pspnet_jax.errors import UserError
from pspnet_jax.models.layers import BatchNorm
from pspnet_jax.models.pspnet import PSPNet

_DTYPES = ('float32', 'bfloat16', 'float16', 'float64')
Arrays = dict[str, jax.Array]  # name such as 'backbone/stage1/0/conv1/conv/kernel' -> array


class Network:
  """A PSPNet without its state.

  The module is built once, abstractly; parameters and batch statistics are dictionaries of arrays
  by name, so that optimisers, masks, checkpoints and importers address a layer by its name.

  Args:
    num_classes: logits a pixel.
    dtype: name of the compute dtype, such as 'bfloat16'.
    **options: further arguments of `PSPNet`.

  Raises:
    UserError: for an argument out of range; the message names it.
  """

  def __init__(self, num_classes: int, *, dtype: str = 'float32', **options: Any):
    if dtype not in _DTYPES:
      raise UserError(
        f'compute dtype {dtype!r} is none of {", ".join(_DTYPES)}: change model.dtype.'
      )
    self.options = {'num_classes': num_classes, 'dtype': dtype, **options}
    self._take(nnx.eval_shape(lambda: self._build(nnx.Rngs(0))))

  def _take(self, model: PSPNet) -> None:
    self._graphdef: Any
    self._graphdef, *states = nnx.split(model, nnx.Param, nnx.BatchStat)
    params, batch_stats = states
    self._param_paths = _paths(params)
    self._batch_stat_paths = _paths(batch_stats)
    self.param_shapes = _named(params)
    self.batch_stat_shapes = _named(batch_stats)

  def _build(self, rngs: nnx.Rngs) -> PSPNet:
    options = dict(self.options, dtype=jnp.dtype(self.options['dtype']))
    return PSPNet(**options, rngs=rngs)

  def folded(self) -> Network:
    """The network for inference alone: its batch normalisation is in its kernels.

    A convolution and the normalisation after it are one linear function. `fold` gives the
    parameters; there are no batch statistics and no auxiliary head:

        network.folded().apply(fold(params, batch_stats), {}, image)
    """
    model = nnx.eval_shape(lambda: self._build(nnx.Rngs(0)))
    model.aux_head = None
    for _, module in nnx.iter_modules(model):
      if isinstance(module, BatchNorm):
        module.fold()
    network = copy.copy(self)
    network._take(model)
    return network

  def init(self, seed: int) -> tuple[Arrays, Arrays]:
    """Initial parameters and batch statistics, float32; the same for a seed on every platform."""
    _, *states = nnx.split(self._build(nnx.Rngs(seed)), nnx.Param, nnx.BatchStat)
    params, batch_stats = states
    return _named(params), _named(batch_stats)

  def apply(
    self,
    params: Arrays,
    batch_stats: Arrays,
    image: jax.Array,
    *,
    train: bool = False,
    key: jax.Array | None = None,
    upsample: bool = True,
  ) -> tuple[Arrays, Arrays]:
    """Runs the network; see `PSPNet.__call__`. Returns its outputs and the new batch statistics."""
    leaves: list[tuple[Any, nnx.Variable[Any]]] = [
      (path, nnx.Param(params[name])) for name, path in self._param_paths.items()
    ]
    leaves += [(p, nnx.BatchStat(batch_stats[name])) for name, p in self._batch_stat_paths.items()]
    model = nnx.merge(self._graphdef, nnx.from_flat_state(leaves))
    outputs = model(image, train=train, key=key, upsample=upsample)
    return outputs, _named(nnx.state(model, nnx.BatchStat)) if train else batch_stats


@jax.jit
def fold(params: Arrays, batch_stats: Arrays) -> Arrays:
  """The parameters of `Network.folded`: no pass over the activations but the kernels'.

  Every kernel takes its normalisation's factor, scale / sqrt(var + epsilon), and the bias what is
  left of it; in float32 or wider, whatever the compute dtype. The auxiliary head's are left out.
  """
  folded = {name: x for name, x in params.items() if not name.startswith('aux_head/')}
  for name in [name for name in folded if name.endswith('/bn/scale')]:
    layer = name.removesuffix('bn/scale')
    mean, var = batch_stats[f'{layer}bn/mean'], batch_stats[f'{layer}bn/var']
    factor = folded.pop(name) * jax.lax.rsqrt(var + BatchNorm.epsilon)
    folded[f'{layer}bn/bias'] -= mean * factor
    kernels = [k for k in folded if k.startswith(layer) and 'kernel' in k]  # split: several
    folded |= {k: folded[k] * factor for k in kernels}
  return folded


def _paths(state: Any) -> dict[str, tuple[Any, ...]]:
  return {'/'.join(map(str, path)): path for path, _ in nnx.to_flat_state(state)}


def _named(state: Any) -> dict[str, Any]:
  return {'/'.join(map(str, path)): leaf.get_value() for path, leaf in nnx.to_flat_state(state)}
