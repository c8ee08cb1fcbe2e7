"""PSPNet (Zhao et al. 2017, figure 3): backbone → pyramid → bottleneck → classifier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx

from pspnet_jax.errors import UserError
from pspnet_jax.models.layers import (
  BatchNorm,
  Conv,
  ConvBN,
  DropoutKind,
  dropout,
  normalized_by,
  torch_uniform,
)
from pspnet_jax.models.resnet import ResNet
from pspnet_jax.ops.conv import conv
from pspnet_jax.ops.images import resize
from pspnet_jax.ops.pool import adaptive_avg_pool, adaptive_max_pool
from pspnet_jax.ops.pyramid_conv import conv3x3_of_upsampled


class PyramidPooling(nnx.Module):
  """Pyramid pooling module (Zhao et al. 2017, section 3.2): the map seen through ever finer grids.

  Args:
    in_channels: channels of the feature map.
    bins: side of each pooled grid, in cells.
    channels: channels each level is reduced to; None leaves out the reduction, the ablation
      without "DR" of the paper's table 1.
    pooling: 'avg' or 'max'.
    rngs: source of initial values.
  """

  def __init__(
    self,
    in_channels: int,
    bins: Sequence[int],
    channels: int | None,
    pooling: Literal['avg', 'max'],
    *,
    rngs: nnx.Rngs,
  ):
    if pooling not in ('avg', 'max'):
      raise UserError(f"pooling {pooling!r} is not 'avg' or 'max': change model.pooling.")
    self.bins, self.pooling = tuple(bins), pooling
    init = torch_uniform(in_channels)
    self.reductions = (
      nnx.List(ConvBN(in_channels, channels, 1, kernel_init=init, rngs=rngs) for _ in bins)
      if channels is not None
      else None
    )

  @jax.named_scope('pyramid')
  def __call__(self, x: jax.Array, *, train: bool) -> list[jax.Array]:
    """Feature map [N, h, w, C] to one grid [N, b, b, channels] a level, not yet upsampled."""
    pool = adaptive_avg_pool if self.pooling == 'avg' else adaptive_max_pool
    grids = pool(x, self.bins)
    if self.reductions is None:
      return grids
    return [reduce(g, train=train) for reduce, g in zip(self.reductions, grids, strict=True)]


class SplitBottleneck(nnx.Module):
  """3×3 convolution over [features, upsampled levels], BN, ReLU, without ever concatenating them.

  The kernel is stored as the concatenation's parts: `kernel` for the features, `level_kernels` for
  the pyramid's levels in the order of its bins (docs/design/0002-split-head.md).
  """

  def __init__(
    self,
    in_channels: int,
    level_channels: Sequence[int],
    out_channels: int,
    *,
    align_corners: bool,
    rngs: nnx.Rngs,
  ):
    init = torch_uniform(9 * (in_channels + sum(level_channels)))

    def kernel(c: int) -> nnx.Param[jax.Array]:
      return nnx.Param(init(rngs.params(), (3, 3, c, out_channels)))

    self.kernel = kernel(in_channels)
    self.level_kernels = nnx.List(kernel(c) for c in level_channels)
    self.bn = BatchNorm(out_channels)
    self.align_corners = align_corners

  def fold_batch_norm(self) -> None:
    """Moves the normalisation into all kernels, for inference; see `Network.folded`."""
    factor = self.bn.give_factor()
    for kernel in (self.kernel, *self.level_kernels):
      kernel.set_value(kernel[...] * factor)

  @jax.named_scope('head')
  def __call__(self, x: jax.Array, grids: Sequence[jax.Array], *, train: bool) -> jax.Array:
    _, height, width, _ = x.shape
    y = conv(x, self.kernel[...].astype(x.dtype))  # [N, h, w, O]
    if grids:
      kernels = [k[...].astype(x.dtype) for k in self.level_kernels]
      levels = conv3x3_of_upsampled(
        grids, kernels, (height, width), align_corners=self.align_corners
      )
      y = (y + levels).astype(x.dtype)
    return normalized_by(self.bn, y, train=train, relu=True)


class Classifier(nnx.Module):
  """Dropout, then a 1×1 convolution with bias to one logit a class."""

  def __init__(
    self, in_channels: int, num_classes: int, rate: float, kind: DropoutKind, *, rngs: nnx.Rngs
  ):
    if not 0 <= rate < 1:
      raise UserError(f'dropout rate {rate} is not in [0, 1): change model.dropout_rate.')
    if kind not in ('channel', 'element'):
      raise UserError(f"dropout kind {kind!r} is not 'channel' or 'element': change it.")
    self.rate, self.kind = rate, kind
    init = torch_uniform(in_channels)
    self.conv = Conv(in_channels, num_classes, 1, use_bias=True, kernel_init=init, rngs=rngs)

  @jax.named_scope('head')
  def __call__(self, x: jax.Array, *, train: bool, key: jax.Array | None) -> jax.Array:
    if train:
      if key is None:
        raise ValueError('training needs a PRNG key for dropout: pass key=.')
      x = dropout(x, self.rate, self.kind, key)
    return self.conv(x)


class AuxHead(nnx.Module):
  """The auxiliary classifier on stage 3 (section 3.3): training only."""

  def __init__(
    self,
    in_channels: int,
    channels: int,
    num_classes: int,
    rate: float,
    kind: DropoutKind,
    *,
    rngs: nnx.Rngs,
  ):
    init = torch_uniform(9 * in_channels)
    self.bottleneck = ConvBN(in_channels, channels, 3, kernel_init=init, rngs=rngs)
    self.classifier = Classifier(channels, num_classes, rate, kind, rngs=rngs)

  @jax.named_scope('aux_head')
  def __call__(self, x: jax.Array, *, key: jax.Array | None) -> jax.Array:
    return self.classifier(self.bottleneck(x, train=True), train=True, key=key)


class PSPNet(nnx.Module):
  """The network; every published checkpoint is a choice of these arguments.

  Args:
    num_classes: logits a pixel.
    depth, output_stride, dilations, stem_channels, width, remat: see `ResNet`.
    stride_in_1x1, avg_down, contract_dilation, dilate_conv2: see `ResNet`.
    bins: sides of the pyramid's grids; () is the paper's baseline without a pyramid.
    pooling: 'avg' or 'max' (table 1).
    reduce_dimension: whether pyramid levels pass a 1×1 convolution ("DR" of table 1).
    pyramid_channels: channels of a reduced level; None divides the features' evenly, as published.
    head_channels: channels of the 3×3 bottleneck.
    aux_head: whether an auxiliary classifier is built.
    aux_channels: channels of its 3×3 convolution.
    dropout_rate, dropout_kind: before both classifiers; see `layers.dropout`.
    align_corners: rule of every bilinear resize; see `bilinear_matrix`.
    dtype: of the computation; parameters, statistics and logits are float32 (or wider).
    rngs: source of initial values.

  Raises:
    UserError: for a value out of range; the message names it.
  """

  def __init__(
    self,
    num_classes: int,
    *,
    depth: int = 50,
    output_stride: int = 8,
    dilations: Sequence[int] | None = None,
    stem_channels: Sequence[int] = (64, 64, 128),
    width: int = 64,
    stride_in_1x1: bool = False,
    avg_down: bool = False,
    contract_dilation: bool = False,
    dilate_conv2: bool = False,
    remat: bool = False,
    bins: Sequence[int] = (1, 2, 3, 6),
    pooling: Literal['avg', 'max'] = 'avg',
    reduce_dimension: bool = True,
    pyramid_channels: int | None = None,
    head_channels: int = 512,
    aux_head: bool = True,
    aux_channels: int = 256,
    dropout_rate: float = 0.1,
    dropout_kind: DropoutKind = 'channel',
    align_corners: bool = True,
    dtype: jnp.dtype = jnp.float32,
    rngs: nnx.Rngs,
  ):
    sizes = (num_classes, width, head_channels, aux_channels, pyramid_channels)
    if any(size is not None and size < 1 for size in sizes):
      raise UserError(
        f'{num_classes=}, {width=}, {head_channels=}, {aux_channels=}, {pyramid_channels=}: '
        'each must be at least 1.'
      )
    if any(b < 1 for b in bins):
      raise UserError(f'bins {tuple(bins)} are not all at least 1: change model.bins.')
    self.dtype, self.align_corners = dtype, align_corners
    self.backbone = ResNet(
      depth,
      output_stride=output_stride,
      dilations=dilations,
      stem_channels=stem_channels,
      width=width,
      stride_in_1x1=stride_in_1x1,
      avg_down=avg_down,
      contract_dilation=contract_dilation,
      dilate_conv2=dilate_conv2,
      remat=remat,
      rngs=rngs,
    )
    features = self.backbone.channels
    if not reduce_dimension:
      pyramid_channels = None
    elif bins and pyramid_channels is None:
      if features % len(bins):
        raise UserError(
          f'{features} feature channels do not divide among {len(bins)} pyramid levels: '
          'change model.bins or set model.pyramid_channels.'
        )
      pyramid_channels = features // len(bins)
    self.pyramid = (
      PyramidPooling(features, bins, pyramid_channels, pooling, rngs=rngs) if bins else None
    )
    level_channels = (pyramid_channels or features,) * len(bins)
    self.bottleneck = SplitBottleneck(
      features, level_channels, head_channels, align_corners=align_corners, rngs=rngs
    )
    classify = (num_classes, dropout_rate, dropout_kind)
    self.classifier = Classifier(head_channels, *classify, rngs=rngs)
    self.aux_head = AuxHead(features // 2, aux_channels, *classify, rngs=rngs) if aux_head else None

  def __call__(
    self,
    image: jax.Array,
    *,
    train: bool = False,
    key: jax.Array | None = None,
    upsample: bool = True,
  ) -> dict[str, jax.Array]:
    """Normalised image [N, H, W, 3] to {'logits': [N, H, W, num_classes]}, float32 or wider.

    In training 'aux_logits' of the same shape joins it where there is an auxiliary head, `key`
    drives dropout, and batch statistics are updated in place. Without `upsample` both are left at
    the size of the feature map, so that the caller can upsample them in chunks.
    """
    _, height, width, _ = image.shape
    main_key, aux_key = (None, None) if key is None else jax.random.split(key)
    stage3, x = self.backbone(image.astype(self.dtype), train=train)  # [N, h, w, C/2], [N, h, w, C]
    grids = [] if self.pyramid is None else self.pyramid(x, train=train)  # each [N, b, b, C/4]
    x = self.bottleneck(x, grids, train=train)  # [N, h, w, head_channels]
    logits = {'logits': self.classifier(x, train=train, key=main_key)}  # [N, h, w, num_classes]
    if train and self.aux_head is not None:
      logits['aux_logits'] = self.aux_head(stage3, key=aux_key)
    wide = jnp.promote_types(self.dtype, jnp.float32)
    logits = {name: x.astype(wide) for name, x in logits.items()}
    if not upsample:
      return logits
    return {
      name: resize(x, (height, width), align_corners=self.align_corners)
      for name, x in logits.items()
    }
