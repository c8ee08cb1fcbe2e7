"""hszhao/semseg, the paper's authors' PyTorch code: PSPNet-50, -101 and -152."""

from __future__ import annotations

from pspnet_jax.card import Protocol
from pspnet_jax.weights.source import CITYSCAPES, Conventions, Source, network_conventions
from pspnet_jax.weights.table import Table, conv_bn, torch_stages

TABLE = Table(
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
  """Crops and protocol of its configs (config/*.yaml) and tool/test.py: always flipped."""
  del depth, output_stride
  crop = (713, 713) if num_classes == CITYSCAPES else (473, 473)
  return Conventions(
    network_conventions(align_corners=True if align_corners is None else align_corners),
    crop,
    Protocol(window=crop, flip=True),
  )


SOURCE = Source('semseg', ('layer0.0.weight',), TABLE, conventions)
