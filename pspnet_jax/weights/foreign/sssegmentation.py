"""SegmentationBLWX/sssegmentation: PSPNet on ResNet-50 and -101 with a V1c stem, stride 8 or 16."""

from __future__ import annotations

import dataclasses

from pspnet_jax.inference.protocol import MMSEG
from pspnet_jax.weights.foreign.name_table import NameTable, conv_bn, torch_stages
from pspnet_jax.weights.foreign.origin import (
  CITYSCAPES_CLASSES,
  Conventions,
  Origin,
  network_conventions,
)

# ssseg/modules/models: backbones/resnet.py, segmentors/pspnet, segmentors/base/auxiliary.py.
TABLE = NameTable(
  (
    *conv_bn('backbone/stem/convs/0', 'backbone_net.stem.0', 'backbone_net.stem.1'),
    *conv_bn('backbone/stem/convs/1', 'backbone_net.stem.3', 'backbone_net.stem.4'),
    *conv_bn('backbone/stem/convs/2', 'backbone_net.stem.6', 'backbone_net.stem.7'),
    *torch_stages('backbone_net.'),
    *conv_bn('pyramid/reductions/{i}', 'ppm_net.branches.{i}.1', 'ppm_net.branches.{i}.2'),
    *conv_bn('bottleneck', 'ppm_net.bottleneck.0', 'ppm_net.bottleneck.1'),
    ('classifier/conv', 'decoder.1'),
    *conv_bn('aux_head/bottleneck', 'auxiliary_decoder.0', 'auxiliary_decoder.1'),
    ('aux_head/classifier/conv', 'auxiliary_decoder.4'),
  )
)


def conventions(
  depth: int, num_classes: int, align_corners: bool | None, output_stride: int
) -> Conventions:
  """What its configs say (ssseg/configs): mmsegmentation's rules, boxes and crops."""
  del depth, output_stride
  network = network_conventions(align_corners=bool(align_corners), contract_dilation=True)
  if num_classes != CITYSCAPES_CLASSES:
    return Conventions(network, (512, 512), MMSEG)
  whole = dataclasses.replace(MMSEG, base_size=(2048, 1024))
  return Conventions(network, (512, 1024), whole)


_MARKS = ('ppm_net.branches.0.1.weight', 'backbone_net.stem.0.weight')
ORIGIN = Origin('sssegmentation', _MARKS, TABLE, conventions)
