"""Dilated ResNets: a stem, then four stages of residual blocks (He et al. 2016)."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx

from pspnet_jax.errors import UserError
from pspnet_jax.models.layers import BatchNorm, ConvBN, normalized
from pspnet_jax.ops.conv import computed_once
from pspnet_jax.ops.pool import avg_pool, max_pool

# Depth -> whether blocks are bottlenecks, and blocks a stage. 269: the PSPNet paper gives no
# counts; these are timm's. 10 is one basic block a stage, for small experiments.
DEPTHS: dict[int, tuple[bool, tuple[int, int, int, int]]] = {
  10: (False, (1, 1, 1, 1)),
  18: (False, (2, 2, 2, 2)),
  34: (False, (3, 4, 6, 3)),
  50: (True, (3, 4, 6, 3)),
  101: (True, (3, 4, 23, 3)),
  152: (True, (3, 8, 36, 3)),
  269: (True, (3, 30, 48, 8)),
}


def residual_sum(
  branch: ConvBN, y: jax.Array, projection: ConvBN | None, x: jax.Array, *, train: bool
) -> jax.Array:
  """Ends a residual block: relu(branch(y) + x), with projection(x) for x where there is one."""
  paths = [(branch, y)] if projection is None else [(branch, y), (projection, x)]
  shortcut = x if projection is None else None
  if _are_ours([path for path, _ in paths]):  # one operation then, as `normalized` says
    terms = [(path.bn, path.conv(x)) for path, x in paths]
    return computed_once(normalized(terms, shortcut, train=train, relu=True))
  total = [path(x, train=train) for path, x in paths]
  if shortcut is not None:
    total.append(shortcut)
  return computed_once(jax.nn.relu(functools.reduce(jnp.add, total)))


def _are_ours(paths: Sequence[ConvBN]) -> bool:
  """Whether these are the package's own layers: what replaces one is called as it is."""
  plain = all(type(p) is ConvBN and type(p.bn) is BatchNorm and not p.relu for p in paths)
  return plain and len({p.bn.epsilon for p in paths}) == 1


class BasicBlock(nnx.Module):
  """Two 3×3 convolutions, the first strided."""

  expansion = 1

  def __init__(
    self,
    in_channels: int,
    width: int,
    *,
    stride: int,
    dilations: tuple[int, int],
    stride_in_1x1: bool,
    avg_down: bool,
    rngs: nnx.Rngs,
  ):
    del stride_in_1x1  # no 1×1 convolution to carry it
    dilation1, dilation2 = dilations
    self.conv1 = ConvBN(in_channels, width, 3, stride=stride, dilation=dilation1, rngs=rngs)
    self.conv2 = ConvBN(width, width, 3, dilation=dilation2, relu=False, rngs=rngs)
    self.pooled = avg_down and stride != 1
    of_projection = 1 if self.pooled else stride
    self.projection = (
      ConvBN(in_channels, width, 1, stride=of_projection, relu=False, rngs=rngs)
      if stride != 1 or in_channels != width
      else None
    )

  def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
    y = self.conv1(x, train=train)
    shortcut = avg_pool(x) if self.pooled else x
    return residual_sum(self.conv2, y, self.projection, shortcut, train=train)


class Bottleneck(nnx.Module):
  """1×1 down to `width`, 3×3, 1×1 up to four times `width`."""

  expansion = 4

  def __init__(
    self,
    in_channels: int,
    width: int,
    *,
    stride: int,
    dilations: tuple[int, int],
    stride_in_1x1: bool,
    avg_down: bool,
    rngs: nnx.Rngs,
  ):
    dilation, _ = dilations  # it has one 3×3 convolution
    out_channels = self.expansion * width
    stride1, stride2 = (stride, 1) if stride_in_1x1 else (1, stride)
    self.conv1 = ConvBN(in_channels, width, 1, stride=stride1, rngs=rngs)
    self.conv2 = ConvBN(width, width, 3, stride=stride2, dilation=dilation, rngs=rngs)
    self.conv3 = ConvBN(width, out_channels, 1, relu=False, rngs=rngs)
    self.pooled = avg_down and stride != 1
    of_projection = 1 if self.pooled else stride
    self.projection = (
      ConvBN(in_channels, out_channels, 1, stride=of_projection, relu=False, rngs=rngs)
      if stride != 1 or in_channels != out_channels
      else None
    )

  def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
    y = self.conv2(self.conv1(x, train=train), train=train)
    shortcut = avg_pool(x) if self.pooled else x
    return residual_sum(self.conv3, y, self.projection, shortcut, train=train)


class Stem(nnx.Module):
  """Image to a quarter of its size: one 7×7 or three 3×3 convolutions, then max pooling."""

  def __init__(self, channels: Sequence[int], *, rngs: nnx.Rngs):
    kernel_size = 7 if len(channels) == 1 else 3
    ins = (3, *channels[:-1])
    self.convs = nnx.List(
      ConvBN(c_in, c_out, kernel_size, stride=2 if i == 0 else 1, rngs=rngs)
      for i, (c_in, c_out) in enumerate(zip(ins, channels, strict=True))
    )

  @jax.named_scope('stem')
  def __call__(self, image: jax.Array, *, train: bool) -> jax.Array:
    x = image
    for conv in self.convs:
      x = conv(x, train=train)  # [N, H/2, W/2, channels]
    return max_pool(x)  # [N, H/4, W/4, channels[-1]]


@nnx.jit(static_argnames=('train', 'remat'))
def _run(block: nnx.Module, x: jax.Array, *, train: bool, remat: bool) -> jax.Array:
  """Jitted, though within the network's jit: blocks of the same shapes are traced once."""

  def call(block: nnx.Module, x: jax.Array) -> jax.Array:
    return block(x, train=train)

  return nnx.remat(call)(block, x) if remat else call(block, x)


class ResNet(nnx.Module):
  """Feature extractor whose last stages trade stride for dilation.

  Args:
    depth: a key of `DEPTHS`.
    output_stride: pixels an output cell spans: 8 (dilation in stages 3 and 4), 16 (in stage 4)
      or 32 (none).
    dilations: of the four stages; None follows from the output stride. mmseg's D32 networks keep
      those of output stride 8, (1, 1, 2, 4), at stride 32.
    stem_channels: widths of the stem's convolutions: three are 3×3 (64, 64, 128 in the paper's
      code; 32, 32, 64 in mmseg's V1c), a single one is the original 7×7.
    width: channels of stage 1 before expansion; 64 in all published networks.
    stride_in_1x1: stride on the bottleneck's first 1×1 (Caffe's ResNet-50) instead of its 3×3.
    avg_down: instead of a stride, projections take means of 2×2 cells before they convolve ("vd" in
      Paddle, ResNet-D of He et al. 2019); where dilation took the stride's place, no means.
    contract_dilation: the first block of a dilated stage keeps the previous stage's dilation
      (mmseg, MIT, timm) instead of the stage's own (Caffe, semseg).
    dilate_conv2: a basic block's second convolution has the stage's dilation (MIT, timm) instead
      of 1 (mmseg). Bottlenecks have one 3×3 convolution, and it is always dilated.
    remat: of each block only the output is kept for the gradient; what is within is computed a
      second time. Nothing else changes.
    rngs: source of initial values.

  Raises:
    UserError: for an unknown depth, output stride or stem, or dilations that are not four.
  """

  def __init__(
    self,
    depth: int,
    *,
    output_stride: int = 8,
    dilations: Sequence[int] | None = None,
    stem_channels: Sequence[int] = (64, 64, 128),
    width: int = 64,
    stride_in_1x1: bool = False,
    avg_down: bool = False,
    contract_dilation: bool = False,
    dilate_conv2: bool = False,
    remat: bool = False,
    rngs: nnx.Rngs,
  ):
    self.remat = remat
    if depth not in DEPTHS:
      raise UserError(f'depth {depth} is not one of {sorted(DEPTHS)}: change model.depth.')
    if output_stride not in (8, 16, 32):
      raise UserError(f'output stride {output_stride} is not 8, 16 or 32: change it.')
    if len(stem_channels) not in (1, 3):
      raise UserError(
        f'stem_channels {tuple(stem_channels)}: give three widths (3×3 convolutions) or one (7×7).'
      )
    if dilations is not None and (len(dilations) != 4 or min(dilations) < 1):
      raise UserError(
        f'dilations {tuple(dilations)}: give four of at least 1, one a stage, or none '
        '(model.dilations).'
      )
    bottleneck, blocks = DEPTHS[depth]
    block = Bottleneck if bottleneck else BasicBlock
    self.stem = Stem(stem_channels, rngs=rngs)
    strides = [2 if 2**i * 4 <= output_stride and i > 0 else 1 for i in range(4)]
    if dilations is None:  # what is not strided is dilated
      dilations = [max(2**i * 4 // output_stride, 1) for i in range(4)]
    channels, previous_dilation, stages = stem_channels[-1], 1, []
    for i, (count, stride, dilation) in enumerate(zip(blocks, strides, dilations, strict=True)):
      stage_width, stage = width * 2**i, []
      first_dilation = previous_dilation if contract_dilation else dilation
      for b in range(count):
        stage.append(
          block(
            channels,
            stage_width,
            stride=stride if b == 0 else 1,
            dilations=(first_dilation if b == 0 else dilation, dilation if dilate_conv2 else 1),
            stride_in_1x1=stride_in_1x1,
            avg_down=avg_down,
            rngs=rngs,
          )
        )
        channels = stage_width * block.expansion
      stages.append(nnx.List(stage))
      previous_dilation = dilation
    self.stage1, self.stage2, self.stage3, self.stage4 = stages
    self.channels = channels  # of stage 4; stage 3 has half as many

  def __call__(self, image: jax.Array, *, train: bool) -> tuple[jax.Array, jax.Array]:
    """Image [N, H, W, 3] to the outputs of stage 3 [N, h, w, C/2] and stage 4 [N, h, w, C].

    h = ceil(H / output_stride), except that stage 3 is twice as large at output stride 32.
    """
    x = self.stem(image, train=train)
    stage3 = x
    for i, stage in enumerate((self.stage1, self.stage2, self.stage3, self.stage4), 1):
      stage3 = x
      with jax.named_scope(f'stage{i}'):
        for block in stage:
          x = _run(block, x, train=train, remat=self.remat and train)
    return stage3, x
