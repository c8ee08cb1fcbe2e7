"""open-mmlab/mmsegmentation: V1c stems (32-32-64) and 7×7 ones, ResNet-18 to -101."""

from __future__ import annotations

import dataclasses

from pspnet_jax.inference.protocol import MMSEG, MMSEG_SLIDE
from pspnet_jax.weights.foreign.name_table import NameTable, conv_bn, torch_stages
from pspnet_jax.weights.foreign.origin import (
  CITYSCAPES_CLASSES,
  Conventions,
  Origin,
  network_conventions,
)

_HEADS = (
  *conv_bn(
    'pyramid/reductions/{i}',
    'decode_head.psp_modules.{i}.1.conv',
    'decode_head.psp_modules.{i}.1.bn',
  ),
  *conv_bn('bottleneck', 'decode_head.bottleneck.conv', 'decode_head.bottleneck.bn'),
  ('classifier/conv', 'decode_head.conv_seg'),
  *conv_bn('aux_head/bottleneck', 'auxiliary_head.convs.0.conv', 'auxiliary_head.convs.0.bn'),
  ('aux_head/classifier/conv', 'auxiliary_head.conv_seg'),
)
TABLE = NameTable(
  (
    *conv_bn('backbone/stem/convs/0', 'backbone.stem.0', 'backbone.stem.1'),
    *conv_bn('backbone/stem/convs/1', 'backbone.stem.3', 'backbone.stem.4'),
    *conv_bn('backbone/stem/convs/2', 'backbone.stem.6', 'backbone.stem.7'),
    *torch_stages('backbone.'),
    *_HEADS,
  )
)
TABLE_7X7 = NameTable(
  (
    *conv_bn('backbone/stem/convs/0', 'backbone.conv1', 'backbone.bn1'),
    *torch_stages('backbone.'),
    *_HEADS,
  )
)


def conventions(
  depth: int, num_classes: int, align_corners: bool | None, output_stride: int
) -> Conventions:
  """What its configs say: whole images, half-pixel resizing; those of 769×769 slide windows.

  These align corners, too, and scale images to a box that is one pixel larger each way
  (configs/_base_/datasets/cityscapes_769x769.py). The -d32 configs take back the strides and not
  the dilations (configs/pspnet/pspnet_r50-d32_*.py).
  """
  del depth
  network = network_conventions(
    align_corners=bool(align_corners),
    contract_dilation=True,
    dilations=(1, 1, 2, 4) if output_stride == 32 else None,
  )
  if num_classes != CITYSCAPES_CLASSES:
    return Conventions(network, (512, 512), MMSEG)
  if align_corners:
    slid = dataclasses.replace(MMSEG_SLIDE, base_size=(2049, 1025))
    return Conventions(network, (769, 769), slid)
  whole = dataclasses.replace(MMSEG, base_size=(2048, 1024))
  return Conventions(network, (512, 1024), whole)


_MARK = 'decode_head.conv_seg.weight'
ORIGIN = Origin('mmseg', (_MARK, 'backbone.stem.0.weight'), TABLE, conventions)
ORIGIN_7X7 = Origin('mmseg', (_MARK,), TABLE_7X7, conventions)
