"""hszhao/semseg, the paper's authors' PyTorch code: PSPNet-50, -101 and -152."""

from __future__ import annotations

import dataclasses

from pspnet_jax.inference.protocol import SEMSEG
from pspnet_jax.weights.foreign.name_table import NameTable, conv_bn, torch_stages
from pspnet_jax.weights.foreign.origin import (
  CITYSCAPES_CLASSES,
  Conventions,
  Origin,
  network_conventions,
)

TABLE = NameTable(
  (
    *conv_bn('backbone/stem/convs/0', 'layer0.0', 'layer0.1'),
    *conv_bn('backbone/stem/convs/1', 'layer0.3', 'layer0.4'),
    *conv_bn('backbone/stem/convs/2', 'layer0.6', 'layer0.7'),
    *torch_stages(),
    *conv_bn('pyramid/reductions/{i}', 'ppm.features.{i}.1', 'ppm.features.{i}.2'),
    *conv_bn('bottleneck', 'cls.0', 'cls.1'),
    ('classifier/conv', 'cls.4'),
    *conv_bn('aux_head/bottleneck', 'aux.0', 'aux.1'),
    ('aux_head/classifier/conv', 'aux.4'),
  )
)


def conventions(
  depth: int, num_classes: int, align_corners: bool | None, output_stride: int
) -> Conventions:
  """What its configs (config/*.yaml) say: crops and base sizes."""
  del depth, output_stride
  cityscapes = num_classes == CITYSCAPES_CLASSES
  return Conventions(
    network_conventions(align_corners=True if align_corners is None else align_corners),
    (713, 713) if cityscapes else (473, 473),
    dataclasses.replace(SEMSEG, base_size=(2048,) if cityscapes else (512,)),
  )


ORIGIN = Origin('semseg', ('layer0.0.weight',), TABLE, conventions)
