"""Convolution, batch normalisation and dropout, with the numerics PSPNet was published with."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax

from pspnet_jax.errors import UserError
from pspnet_jax.ops.conv import conv
from pspnet_jax.ops.norm import Moments, Term, normalized_sum

DropoutKind = Literal['channel', 'element']
Initializer = Callable[[jax.Array, tuple[int, ...]], jax.Array]


def _host_initializer(
  draw: Callable[[np.random.Generator, tuple[int, ...]], np.ndarray],
) -> Initializer:
  """Makes an initialiser that draws float32 values with NumPy.

  A ResNet-101 is built in a second instead of the quarter of a minute that compiling jax.random for
  every kernel shape takes, and its initial values are the same on every platform.
  """

  def initializer(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    def fill(data: jax.Array) -> np.ndarray:
      rng = np.random.Generator(np.random.Philox(np.random.SeedSequence(np.asarray(data).tolist())))
      return draw(rng, shape).astype(np.float32)

    data = jax.random.key_data(key)
    if isinstance(data, jax.core.Tracer):  # within jit or eval_shape: the same values, later
      return jax.pure_callback(fill, jax.ShapeDtypeStruct(shape, jnp.float32), data)
    return jax.device_put(fill(data))  # jnp.asarray would compile a copy for each shape

  return initializer


@_host_initializer
def kaiming_fan_out(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
  """Normal with variance 2 / fan-out (He et al. 2015): semseg's backbone (model/resnet.py)."""
  fan_out = shape[0] * shape[1] * shape[3]
  return rng.standard_normal(shape, np.float32) * math.sqrt(2 / fan_out)


def torch_uniform(fan_in: int) -> Initializer:
  """Draws from U(-1/sqrt(fan_in), 1/sqrt(fan_in)): torch's default, and semseg's for its heads."""
  bound = 1 / math.sqrt(fan_in)
  return _host_initializer(lambda rng, shape: (2 * rng.random(shape, np.float32) - 1) * bound)


class OneValueAChannel(UserError):
  """Raised by `layer` where a training batch gives it a single value of each channel.

  Its variance is 0: the layer would answer with its bias, and the running variance go to 0 with it,
  so that evaluation divides by nearly nothing. torch refuses it too.
  """

  def __init__(self, layer: BatchNorm, name: str = 'backbone/.../bn'):
    part = name.partition('/')[0]
    wider = 'leave 1 out of model.bins' if part == 'pyramid' else 'enlarge crop_size'
    more = (
      'raise model.ghost_batch_size'
      if layer.ghost_batch_size
      else 'give each part of a batch two images or more (raise batch_size, or lower '
      'accumulation_steps to at most half of batch_size)'
    )
    super().__init__(
      f'{name} gets one value a channel in training, which has no variance: {more}, {wider}, or '
      f'train with the running statistics by model.fixed_batch_stats={part}.'
    )
    self.layer = layer


def _plus_bias(x: jax.Array, bias: jax.Array) -> jax.Array:
  """Adds a bias [C] to the result of a convolution, in float32 or wider.

  On a GPU the libraries add it within the convolution, before they round to a narrower type, if the
  bias is of that type. With a wide one XLA writes the convolution, reads it and writes the sum.
  """
  wide = jnp.promote_types(x.dtype, jnp.float32)
  if x.dtype == wide:
    return x + bias

  def as_wide(x: jax.Array, bias: jax.Array) -> jax.Array:
    return (x.astype(wide) + bias).astype(x.dtype)

  def by_library(x: jax.Array, bias: jax.Array) -> jax.Array:
    return x + bias.astype(x.dtype)

  return lax.platform_dependent(x, bias, cuda=by_library, default=as_wide)


class BatchNorm(nnx.Module):
  """Batch normalisation over N, H and W, in float32 or wider whatever the compute dtype.

  Epsilon 1e-5 and a running average that keeps 0.9 of the old value, as semseg (torch's momentum
  0.1). The running variance is the biased one, as in Caffe and Flax; torch stores n/(n-1) of it.
  Under a mesh the batch is the global one, so statistics are synchronised by construction.

  Attributes:
    fixed: whether training uses the running statistics and leaves them alone.
    ghost_batch_size: images that are normalised together in training; 0: all of the batch.

  Raises:
    OneValueAChannel: while training is traced, if n, H and W are all 1, n being the images that are
      normalised together.
    UserError: while training is traced, if the images do not divide among groups.
  """

  epsilon = 1e-5
  momentum = 0.9

  def __init__(self, channels: int):
    zeros, ones = np.zeros(channels, np.float32), np.ones(channels, np.float32)
    self.scale = nnx.Param(jax.device_put(ones))
    self.bias = nnx.Param(jax.device_put(zeros))
    self.mean = nnx.BatchStat(jax.device_put(zeros))
    self.var = nnx.BatchStat(jax.device_put(ones))
    self.fixed = False
    self.ghost_batch_size = 0
    self.folded = False

  def give_factor(self) -> jax.Array:
    """Becomes the addition of a bias; the rest of it is a factor for the kernels before it.

    Returns:
      scale / sqrt(var + epsilon), [C]. Whoever owns the convolutions whose sum this layer
      normalises multiplies their kernels by it.
    """
    factor = self.scale[...] * jax.lax.rsqrt(self.var[...] + self.epsilon)
    self.bias.set_value(self.bias[...] - self.mean[...] * factor)
    del self.scale, self.mean, self.var
    self.folded = True
    return factor

  def __call__(self, x: jax.Array, *, train: bool, relu: bool = False) -> jax.Array:
    return normalized([(self, x)], train=train, relu=relu)

  def by_running_statistics(self, x: jax.Array) -> jax.Array:
    """Normalises as inference does; once folded, it adds what is left of that."""
    dtype = x.dtype
    if self.folded:
      return _plus_bias(x, self.bias[...])
    x = x.astype(jnp.promote_types(dtype, jnp.float32))
    factor = self.scale[...] * jax.lax.rsqrt(self.var[...] + self.epsilon)
    return ((x - self.mean[...]) * factor + self.bias[...]).astype(dtype)

  def images_together(self, images: int) -> int:
    """How many images of a training batch are normalised together."""
    together = self.ghost_batch_size or images
    if images % together:
      raise UserError(
        f'{images} images do not divide into groups of {together} for batch normalisation: change '
        'model.ghost_batch_size, or batch_size / accumulation_steps.'
      )
    return together

  def remember(self, batch: Moments) -> None:
    """Moves the running statistics towards the moments of a batch, or the means of its groups'."""
    for running, new in ((self.mean, batch.mean), (self.var, batch.var)):
      new = jax.lax.stop_gradient(new).mean(tuple(range(new.ndim - 1)))
      running.set_value(self.momentum * running[...] + (1 - self.momentum) * new)


def normalized(
  terms: Sequence[tuple[BatchNorm, jax.Array]],
  shortcut: jax.Array | None = None,
  *,
  train: bool,
  relu: bool,
) -> jax.Array:
  """Normalises each activation by its layer and sums them and the shortcut; then ReLU, if `relu`.

  All are [N, H, W, C]. What is normalised by the batch is one operation with the sum and the ReLU
  (`ops.norm`), as the passes over activations are what these layers cost.
  """
  by_batch = []
  others = [] if shortcut is None else [shortcut]
  for layer, x in terms:
    if train and not layer.fixed and not layer.folded:
      by_batch.append((layer, x))
    else:
      others.append(layer.by_running_statistics(x))
  rest = functools.reduce(jnp.add, others) if others else None
  if not by_batch and rest is not None:
    return jax.nn.relu(rest) if relu else rest
  shape = by_batch[0][1].shape
  together = by_batch[0][0].images_together(shape[0])
  for layer, _ in by_batch:
    if together * math.prod(shape[1:-1]) == 1:
      raise OneValueAChannel(layer)
  in_groups = (-1, together, *shape[1:]) if together < shape[0] else shape
  y, moments = normalized_sum(
    [Term(x.reshape(in_groups), n.scale[...], n.bias[...], n.mean[...]) for n, x in by_batch],
    None if rest is None else rest.reshape(in_groups),
    relu=relu,
    epsilon=by_batch[0][0].epsilon,
  )
  for (layer, _), moment in zip(by_batch, moments, strict=True):
    layer.remember(moment)
  return y.reshape(shape)


def normalized_by(layer: nnx.Module, x: jax.Array, *, train: bool, relu: bool) -> jax.Array:
  """Normalises by a layer, which may be one of one's own, and applies ReLU, if `relu`."""
  if type(layer) is BatchNorm:
    return layer(x, train=train, relu=relu)
  x = layer(x, train=train)
  return jax.nn.relu(x) if relu else x


class Conv(nnx.Module):
  """Convolution without bias; kernel [k, k, I, O], computed in the dtype of its input."""

  def __init__(
    self,
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    *,
    stride: int = 1,
    dilation: int = 1,
    use_bias: bool = False,
    kernel_init: Initializer = kaiming_fan_out,
    rngs: nnx.Rngs,
  ):
    shape = (kernel_size, kernel_size, in_channels, out_channels)
    self.kernel = nnx.Param(kernel_init(rngs.params(), shape))
    self.stride, self.dilation = stride, dilation
    bias_init = torch_uniform(kernel_size**2 * in_channels)
    self.bias = nnx.Param(bias_init(rngs.params(), (out_channels,))) if use_bias else None

  def __call__(self, x: jax.Array) -> jax.Array:
    kernel = self.kernel[...].astype(x.dtype)
    x = conv(x, kernel, stride=self.stride, dilation=self.dilation)
    return x if self.bias is None else x + self.bias[...].astype(x.dtype)


class ConvBN(nnx.Module):
  """Convolution, batch normalisation and, unless told otherwise, ReLU."""

  def __init__(
    self,
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    *,
    stride: int = 1,
    dilation: int = 1,
    relu: bool = True,
    kernel_init: Initializer = kaiming_fan_out,
    rngs: nnx.Rngs,
  ):
    self.conv = Conv(
      in_channels,
      out_channels,
      kernel_size,
      stride=stride,
      dilation=dilation,
      kernel_init=kernel_init,
      rngs=rngs,
    )
    self.bn = BatchNorm(out_channels)
    self.relu = relu

  def fold_batch_norm(self) -> None:
    """Moves the normalisation into the kernel, for inference; see `Network.folded`."""
    self.conv.kernel.set_value(self.conv.kernel[...] * self.bn.give_factor())

  def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
    return normalized_by(self.bn, self.conv(x), train=train, relu=self.relu)


def dropout(x: jax.Array, rate: float, kind: DropoutKind, key: jax.Array) -> jax.Array:
  """Zeroes a share `rate` of [N, H, W, C] and scales up the rest.

  Args:
    x: activations.
    rate: share dropped, in [0, 1).
    kind: 'channel' drops whole channels of an example (torch's Dropout2d: semseg, mmseg, MIT),
      'element' single activations (Caffe).
    key: PRNG key.
  """
  if not rate:
    return x
  n, _, _, channels = x.shape
  shape = (n, 1, 1, channels) if kind == 'channel' else x.shape
  keep = jax.random.bernoulli(key, 1 - rate, shape)
  return jnp.where(keep, x / (1 - rate), 0)
