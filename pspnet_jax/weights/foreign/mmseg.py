"""open-mmlab/mmsegmentation: V1c stems (32-32-64), also as V1d, and 7×7 ones."""

from __future__ import annotations

import dataclasses
import functools

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


_DEEP_STEM = (
  *conv_bn('backbone/stem/convs/0', 'backbone.stem.0', 'backbone.stem.1'),
  *conv_bn('backbone/stem/convs/1', 'backbone.stem.3', 'backbone.stem.4'),
  *conv_bn('backbone/stem/convs/2', 'backbone.stem.6', 'backbone.stem.7'),
)
_STEM_7X7 = conv_bn('backbone/stem/convs/0', 'backbone.conv1', 'backbone.bn1')
_BACKBONES = tuple((deep, avg_down) for deep in (True, False) for avg_down in (True, False))
# Told by whether the stem is deep and shortcuts pool: both is its V1d, deep alone its V1c.
TABLES = {
  (deep, avg_down): NameTable(
    (
      *(_DEEP_STEM if deep else _STEM_7X7),
      *torch_stages('backbone.', avg_down=avg_down),
      *_HEADS,
    )
  )
  for deep, avg_down in _BACKBONES
}


def conventions(
  depth: int,
  num_classes: int,
  align_corners: bool | None,
  output_stride: int,
  *,
  avg_down: bool = False,
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
    avg_down=avg_down,
    dilations=(1, 1, 2, 4) if output_stride == 32 else None,
  )
  if num_classes != CITYSCAPES_CLASSES:
    return Conventions(network, (512, 512), MMSEG)
  if align_corners:
    slid = dataclasses.replace(MMSEG_SLIDE, base_size=(2049, 1025))
    return Conventions(network, (769, 769), slid)
  whole = dataclasses.replace(MMSEG, base_size=(2048, 1024))
  return Conventions(network, (512, 1024), whole)


def _origin(deep: bool, avg_down: bool) -> Origin:
  stem = 'backbone.stem.0.weight' if deep else 'backbone.conv1.weight'
  pooled = ('backbone.layer2.0.downsample.2.weight',) if avg_down else ()  # of every depth's
  return Origin(
    'mmseg',
    ('decode_head.conv_seg.weight', stem, *pooled),
    TABLES[deep, avg_down],
    functools.partial(conventions, avg_down=avg_down),
    avg_down,
  )


ORIGINS = tuple(_origin(*backbone) for backbone in _BACKBONES)
