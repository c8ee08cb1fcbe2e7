"""A network as pure functions over plain dictionaries: what training and inference work with."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from pspnet_jax.errors import UserError
from pspnet_jax.models.layers import BatchNorm, OneValueAChannel
from pspnet_jax.models.pspnet import PSPNet

_DTYPES = ('float32', 'bfloat16', 'float16', 'float64')
Arrays = dict[str, jax.Array]  # name such as 'backbone/stage1/0/conv1/conv/kernel' -> array


class Network:
  """A network without its state: a PSPNet, or a module of one's own that is called like one.

  The module is built once, abstractly; parameters and batch statistics are dictionaries of arrays
  by name, so that optimisers, masks, checkpoints and importers address a layer by its name.

  Args:
    num_classes: logits a pixel.
    model: the module's class. It is built as `model(num_classes, dtype=..., rngs=..., **options)`
      and called as `PSPNet.__call__` is; docs/extending.md says what it has to keep to.
    dtype: name of the compute dtype, such as 'bfloat16'.
    fixed_batch_stats: parts, such as 'backbone', whose batch normalisation is trained with its
      running statistics, which stay as they are: for fine-tuning with small batches.
    ghost_batch_size: images that batch normalisation normalises together in training, as they lie
      in the batch or in each of its parts (`accumulation_steps`); 0: all of them. With as many as
      a device has, no device waits for another's statistics (Hoffer et al. 2017, "ghost batch
      normalization"). The running statistics are means over the groups.
    **options: further arguments of `model`.

  Attributes:
    model: the module's class.
    options: what the module is built with.
    align_corners: how logits are resized by who resizes them instead of the network.
    param_shapes, batch_stat_shapes: shape and dtype of each array, by name.

  Raises:
    UserError: for an argument out of range; the message names it.
  """

  def __init__(
    self,
    num_classes: int,
    *,
    model: type[nnx.Module] = PSPNet,
    dtype: str = 'float32',
    fixed_batch_stats: Sequence[str] = (),
    ghost_batch_size: int = 0,
    **options: Any,
  ):
    if dtype not in _DTYPES:
      raise UserError(
        f'compute dtype {dtype!r} is none of {", ".join(_DTYPES)}: change model.dtype.'
      )
    self.model = model
    self.options = {'num_classes': num_classes, 'dtype': dtype, **options}
    if not isinstance(ghost_batch_size, int) or ghost_batch_size < 0:
      raise UserError(f'model.ghost_batch_size is {ghost_batch_size!r}: give 0 (all) or more.')
    self._fixed_batch_stats, self._ghost_batch_size = tuple(fixed_batch_stats), ghost_batch_size
    try:
      built = nnx.eval_shape(lambda: self._build(nnx.Rngs(0)))
    except TypeError as e:
      message = str(e).partition('\n')[0]
      if 'argument' not in message:  # a mistake within the module is for its author to trace
        raise
      raise UserError(
        f'the network {model.__name__} cannot be made: {message}: it is called with num_classes=, '
        'dtype=, rngs= and the options of config.model.'
      ) from e
    said = getattr(built, 'align_corners', None)
    self._resizes_untold, self.align_corners = said is None, said is None or bool(said)
    self._remember_layout(built)

  def _build(self, rngs: nnx.Rngs) -> nnx.Module:
    options = dict(self.options, dtype=jnp.dtype(self.options['dtype']))
    model: Any = self.model
    built = model(**options, rngs=rngs)
    _fix(built, self._fixed_batch_stats)
    _divide(built, self._ghost_batch_size)
    return built

  def _remember_layout(self, built: nnx.Module) -> None:
    self._graphdef: Any
    self._graphdef, *states = nnx.split(built, nnx.Param, nnx.BatchStat, ...)
    params, batch_stats, rest = states
    if kinds := {type(leaf).__name__ for _, leaf in nnx.to_flat_state(rest)}:
      raise UserError(
        f'the network {self.model.__name__} keeps state of the kind {min(kinds)}, which training '
        'would lose: keep nnx.Param and nnx.BatchStat only, and draw random numbers from key=.'
      )
    self._param_paths = _paths(params)
    self._batch_stat_paths = _paths(batch_stats)
    self.param_shapes = _named(params)
    self.batch_stat_shapes = _named(batch_stats)

  def folded(self) -> Network:
    """The network for inference alone: batch normalisation is in the kernels where it can be.

    A convolution and the normalisation after it are one linear function. Modules that are made
    so have a method `fold_batch_norm`, as `ConvBN` has; any other normalisation stays what it is.
    There is no auxiliary head. `fold` gives the arrays:

        network.folded().apply(*network.fold(params, batch_stats), image)
    """
    network = copy.copy(self)
    network._remember_layout(nnx.eval_shape(lambda: _fold_modules(self._build(nnx.Rngs(0)))))
    return network

  def fold(self, params: Arrays, batch_stats: Arrays) -> tuple[Arrays, Arrays]:
    """Makes the parameters and batch statistics of `folded`.

    A PSPNet's kernels come in the compute dtype, or every call would convert them once more; all
    else is in float32 or wider.
    The only pass is over the kernels: each takes its normalisation's factor, and the bias what is
    left of it. No statistics remain of a PSPNet.
    """
    return _fold(self, params, batch_stats)

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
    """Runs the network; see `PSPNet.__call__`. Returns its outputs and the new batch statistics.

    Outputs are float32 or wider.

    Raises:
      UserError: in training, if a batch normalisation gets one value a channel; without `upsample`,
        if the network does not say how its logits are to be resized.
    """
    model = self._with_arrays(params, batch_stats)
    try:
      outputs = model(image, train=train, key=key, upsample=upsample)
    except OneValueAChannel as e:
      modules = nnx.iter_modules(model)
      name = next(('/'.join(map(str, path)) for path, layer in modules if layer is e.layer), None)
      if name is None:  # within a block that is jitted on its own
        raise
      raise OneValueAChannel(e.layer, name) from None
    if isinstance(outputs, dict):  # a network of one's own may answer in its compute dtype
      outputs = {n: x.astype(jnp.promote_types(x.dtype, jnp.float32)) for n, x in outputs.items()}
      smaller = outputs.get('logits', image).shape[1:3] != image.shape[1:3]
      if self._resizes_untold and smaller and not upsample:
        raise UserError(
          f'the network {self.model.__name__} leaves its logits to be resized by others and does '
          'not say how: give it an attribute align_corners, True or False.'
        )
    return outputs, _named(nnx.state(model, nnx.BatchStat)) if train else batch_stats

  def _with_arrays(self, params: Arrays, batch_stats: Arrays) -> Any:
    leaves: list[tuple[Any, nnx.Variable[Any]]] = [
      (path, nnx.Param(params[name])) for name, path in self._param_paths.items()
    ]
    leaves += [(p, nnx.BatchStat(batch_stats[name])) for name, p in self._batch_stat_paths.items()]
    return nnx.merge(self._graphdef, nnx.from_flat_state(leaves))

  def check_outputs(self, size: tuple[int, int], images: int = 2) -> None:
    """Calls the network abstractly, as training does.

    Args:
      size: height and width of the images.
      images: how many there are in a part of a batch.

    Raises:
      UserError: if it does not answer as `PSPNet.__call__` does, or a batch normalisation gets one
        value a channel.
    """
    image = jax.ShapeDtypeStruct((images, *size, 3), jnp.float32)

    def call(params: Arrays, batch_stats: Arrays, image: jax.Array) -> Arrays:
      return self.apply(params, batch_stats, image, train=True, key=jax.random.key(0))[0]

    outputs = jax.eval_shape(call, self.param_shapes, self.batch_stat_shapes, image)
    wanted = (images, *size, self.options['num_classes'])
    shapes = {name: x.shape for name, x in outputs.items()} if isinstance(outputs, dict) else {}
    if shapes.get('logits') != wanted or shapes.get('aux_logits', wanted) != wanted:
      found = shapes or f'a {type(outputs).__name__}'
      raise UserError(
        f'the network {self.model.__name__} returns {found} for an image of {size[0]}×{size[1]}: '
        f"return {{'logits': [N, H, W, {wanted[-1]}]}}, and aux_logits alike if it has any."
      )


def _fix(built: nnx.Module, parts: Sequence[str]) -> None:
  """Tells the batch normalisation of `parts` to leave its statistics alone."""
  unknown = set(parts)
  for path, module in nnx.iter_modules(built):
    name = '/'.join(map(str, path))
    own = {part for part in parts if f'{name}/'.startswith(f'{part}/')}
    if own and isinstance(module, BatchNorm):
      module.fixed = True
      unknown -= own
  if unknown:
    raise UserError(
      f'fixed_batch_stats names {min(unknown)!r}, where there is no batch normalisation: name '
      "parts such as 'backbone' or 'backbone/stage1'."
    )


def _divide(built: nnx.Module, ghost_batch_size: int) -> None:
  """Tells all batch normalisation how many images to normalise together."""
  layers = [module for _, module in nnx.iter_modules(built) if isinstance(module, BatchNorm)]
  for layer in layers:
    layer.ghost_batch_size = ghost_batch_size
  others = any(isinstance(module, nnx.BatchNorm) for _, module in nnx.iter_modules(built))
  if ghost_batch_size and (others or not layers):
    raise UserError(
      f'model.ghost_batch_size is {ghost_batch_size}, but {type(built).__name__} has '
      f'{"" if layers else "no "}batch normalisation {"beside that " if layers else ""}of '
      '`models.layers`: set it to 0.'
    )


def _fold_modules(built: Any) -> Any:
  if getattr(built, 'aux_head', None) is not None:
    built.aux_head = None
  for _, module in list(nnx.iter_modules(built)):
    fold = getattr(module, 'fold_batch_norm', None)
    if fold is not None:
      fold()
  if type(built) is PSPNet:  # a network of one's own may use a kernel in another dtype
    for _, node in nnx.iter_graph(built):
      if isinstance(node, nnx.Param) and node.get_value().ndim == 4:
        node.set_value(node.get_value().astype(built.dtype))
  return built


@jax.jit(static_argnums=0)
def _fold(network: Network, params: Arrays, batch_stats: Arrays) -> tuple[Arrays, Arrays]:
  folded = _fold_modules(network._with_arrays(params, batch_stats))
  _, *states = nnx.split(folded, nnx.Param, nnx.BatchStat)
  new_params, new_batch_stats = states
  return _named(new_params), _named(new_batch_stats)


def _paths(state: Any) -> dict[str, tuple[Any, ...]]:
  return {'/'.join(map(str, path)): path for path, _ in nnx.to_flat_state(state)}


def _named(state: Any) -> dict[str, Any]:
  return {'/'.join(map(str, path)): leaf.get_value() for path, leaf in nnx.to_flat_state(state)}
