"""A PSPNet as nodes of an ONNX graph: backbone → pyramid → split head → classifier.

The module that is walked over says what there is to write: strides, dilations, kinds of blocks.
Batch normalisation has been folded into the kernels. Arrays in the graph are NCHW, as ONNX has it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from flax import nnx

from pspnet_jax.exports.onnx_axes import Axis, FixedAxis, FreeAxis
from pspnet_jax.exports.onnx_graph import Graph
from pspnet_jax.models.layers import Conv, ConvBN
from pspnet_jax.models.pspnet import PSPNet
from pspnet_jax.models.resnet import BasicBlock, Bottleneck, ResNet

Size = tuple[int, int]


class PSPNetWriter:
  """Writes a network into a graph.

  Args:
    graph: grows.
    module: the network; its structure counts, and its arrays may be abstract.
    arrays: of the folded network, float32, by name.
    output_stride: pixels that a cell of the feature map spans.
    size: height and width of the image; None if they are to be free.
  """

  def __init__(
    self,
    graph: Graph,
    module: PSPNet,
    arrays: Mapping[str, np.ndarray],
    *,
    output_stride: int,
    size: Size | None,
  ):
    self._graph, self._module, self._arrays = graph, module, arrays
    self._map_size = None
    if size is not None:
      self._map_size = (-(-size[0] // output_stride), -(-size[1] // output_stride))

  def logits(self, image: str, std: Sequence[float]) -> str:
    """Adds the network: from pixels less their mean, [N, 3, H, W], to logits [N, C, h, w].

    Args:
      image: the pixels; padding with zeros is padding with the mean pixel, as it has to be.
      std: of the pixels: the first kernel takes it.
    """
    features = self._backbone(image, std)
    self._graph.scope = 'pyramid'
    axes = self._axes(features)
    grids = self._grids(features, axes)
    self._graph.scope = 'head'
    x = self._bottleneck(features, grids, axes)
    classifier = self._module.classifier.conv
    kernel = self._arrays['classifier/conv/kernel']
    return self._conv(x, classifier, kernel, self._arrays['classifier/conv/bias'])

  def _backbone(self, image: str, std: Sequence[float]) -> str:
    g, backbone, x = self._graph, self._module.backbone, image
    g.scope = 'stem'
    for i, conv in enumerate(backbone.stem.convs):
      path = f'backbone/stem/convs/{i}'
      x = self._conv_bn(x, conv, path, std if i == 0 else None)
    x = g.add('MaxPool', x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    for s, stage in enumerate(_stages(backbone), 1):
      for b, block in enumerate(stage):
        g.scope = f'stage{s}/{b}'
        x = self._block(x, block, f'backbone/{g.scope}')
    return x

  def _block(self, x: str, block: BasicBlock | Bottleneck, path: str) -> str:
    g = self._graph
    y = self._conv_bn(x, block.conv1, f'{path}/conv1')
    y = self._conv_bn(y, block.conv2, f'{path}/conv2')
    if isinstance(block, Bottleneck):
      y = self._conv_bn(y, block.conv3, f'{path}/conv3')
    if block.pooled:  # a window that an odd edge cuts off is the mean of what is there
      x = g.add(
        'AveragePool',
        x,
        kernel_shape=[2, 2],
        strides=[2, 2],
        pads=[0, 0, 1, 1],
        count_include_pad=0,
      )
    if block.projection is not None:
      x = self._conv_bn(x, block.projection, f'{path}/projection')
    return g.add('Relu', g.add('Add', y, x))

  def _conv_bn(self, x: str, layer: ConvBN, path: str, std: Sequence[float] | None = None) -> str:
    kernel = self._arrays[f'{path}/conv/kernel']
    if std is not None:
      kernel = kernel / np.asarray(std, np.float32)[:, None]
    x = self._conv(x, layer.conv, kernel, self._arrays[f'{path}/bn/bias'])
    return self._graph.add('Relu', x) if layer.relu else x

  def _conv(self, x: str, layer: Conv, kernel: np.ndarray, bias: np.ndarray) -> str:
    return self._plain_conv(x, kernel, bias, stride=layer.stride, dilation=layer.dilation)

  def _plain_conv(
    self,
    x: str,
    kernel: np.ndarray,
    bias: np.ndarray | None = None,
    *,
    stride: int = 1,
    dilation: int = 1,
  ) -> str:
    """Convolves by [k, k, I, O], zero padding `dilation * (k // 2)`."""
    constant = self._graph.constant
    side = len(kernel)
    padding = dilation * (side // 2)
    inputs = [x, constant(kernel.transpose(3, 2, 0, 1))]
    if bias is not None:
      inputs.append(constant(bias))
    return self._graph.add(
      'Conv',
      *inputs,
      kernel_shape=[side, side],
      strides=[stride, stride],
      dilations=[dilation, dilation],
      pads=[padding] * 4,
    )

  def _axes(self, features: str) -> tuple[Axis, Axis]:
    g = self._graph
    if self._map_size is not None:
      height, width = self._map_size
      return FixedAxis(g, height), FixedAxis(g, width)
    shape = g.add('Shape', features)
    rows, columns = (
      g.add('Slice', shape, g.ints(axis), g.ints(axis + 1), g.ints(0)) for axis in (2, 3)
    )
    return FreeAxis(g, rows), FreeAxis(g, columns)

  def _grids(self, x: str, axes: tuple[Axis, Axis]) -> list[str]:
    """Pools a grid for each level and reduces its channels: [N, C, b, b] each."""
    pyramid = self._module.pyramid
    if pyramid is None:
      return []
    if pyramid.pooling == 'max':
      grids = [self._maxima(x, b, axes) for b in pyramid.bins]
    elif self._map_size is not None and _divide(self._map_size, pyramid.bins):
      grids = self._means_of_blocks(x, pyramid.bins, self._map_size)
    else:
      grids = self._means(x, pyramid.bins, axes)
    if pyramid.reductions is None:
      return grids
    return [
      self._conv_bn(grid, layer, f'pyramid/reductions/{i}')
      for i, (grid, layer) in enumerate(zip(grids, pyramid.reductions, strict=True))
    ]

  def _means_of_blocks(self, x: str, bins: Sequence[int], size: Size) -> list[str]:
    """Reads the map once, for blocks that lie whole in one cell of every grid."""
    blocks = math.lcm(*bins)
    x = self._mean_pool(x, [side // blocks for side in size])
    return [self._mean_pool(x, [blocks // b] * 2) for b in bins]

  def _mean_pool(self, x: str, window: Sequence[int]) -> str:
    if max(window) == 1:
      return x
    return self._graph.add('AveragePool', x, kernel_shape=window, strides=window)

  def _means(self, x: str, bins: Sequence[int], axes: tuple[Axis, Axis]) -> list[str]:
    g = self._graph
    rows, columns = (axis.means(bins) for axis in axes)
    x = g.add('MatMul', x, g.add('Transpose', columns, perm=[1, 0]))  # [N, C, h, sum(b)]
    x = g.add('MatMul', rows, x)  # of the rows of each grid and the columns of each
    grids, begin = [], 0
    for b in bins:
      ends = g.ints(begin, begin), g.ints(begin + b, begin + b)
      grids.append(g.add('Slice', x, *ends, g.ints(2, 3)))
      begin += b
    return grids

  def _maxima(self, x: str, bins: int, axes: tuple[Axis, Axis]) -> str:
    g = self._graph
    for dimension, axis in zip((2, 3), axes, strict=True):
      cells = [
        g.add(
          'ReduceMax',
          g.add('Slice', x, start, stop, g.ints(dimension)),
          axes=[dimension],
          keepdims=1,
        )
        for start, stop in axis.cells(bins)
      ]
      x = g.add('Concat', *cells, axis=dimension)
    return x

  def _bottleneck(self, x: str, grids: Sequence[str], axes: tuple[Axis, Axis]) -> str:
    """The head's 3×3 convolution, its levels' part computed on their grids: [N, O, h, w]."""
    g, arrays = self._graph, self._arrays
    y = self._plain_conv(x, arrays['bottleneck/kernel'], arrays['bottleneck/bn/bias'])
    pyramid = self._module.pyramid
    if pyramid is None:
      return g.add('Relu', y)
    rows, terms = [], []
    align_corners = self._module.bottleneck.align_corners
    for i, (grid, b) in enumerate(zip(grids, pyramid.bins, strict=True)):
      kernel = arrays[f'bottleneck/level_kernels/{i}']  # [3, 3, C, O]
      channels, out = kernel.shape[2:]
      taps = kernel.transpose(2, 3, 0, 1).reshape(1, 1, channels, out * 9)
      cells = self._plain_conv(grid, taps)  # [N, O 3 3, b, b]
      cells = g.add('Reshape', cells, g.ints(0, out, 3, 3, b, b))
      cells = g.add('Transpose', cells, perm=[0, 1, 2, 4, 3, 5])
      cells = g.add('Reshape', cells, g.ints(0, out, 3 * b, 3 * b))
      down, across = (axis.taps(b, align_corners) for axis in axes)  # [h, 3 b], [w, 3 b]
      terms.append(g.add('MatMul', cells, g.add('Transpose', across, perm=[1, 0])))
      rows.append(down)
    # One product for all levels: [h, 3 sum(b)] with [N, O, 3 sum(b), w].
    levels = g.add('MatMul', g.add('Concat', *rows, axis=1), g.add('Concat', *terms, axis=2))
    return g.add('Relu', g.add('Add', y, levels))


def _stages(backbone: ResNet) -> list[nnx.List[Any]]:
  return [backbone.stage1, backbone.stage2, backbone.stage3, backbone.stage4]


def _divide(size: Size, bins: Sequence[int]) -> bool:
  blocks = math.lcm(*bins)
  return all(side % blocks == 0 for side in size)
