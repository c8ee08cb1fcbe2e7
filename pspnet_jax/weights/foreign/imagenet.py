"""ResNets that were trained to classify ImageNet; only their backbone is taken."""

from __future__ import annotations

from pspnet_jax.weights.foreign.name_table import COUNTERS, NameTable, conv_bn, torch_stages
from pspnet_jax.weights.foreign.origin import Origin

_IGNORED = (*COUNTERS, r'(head\.)?fc\.(weight|bias)')  # and the classifier

# torchvision and timm (one 7×7); semseg's and MIT's own (three 3×3, numbered on).
TABLE = NameTable(
  (
    *conv_bn('backbone/stem/convs/0', 'conv1', 'bn1'),
    *conv_bn('backbone/stem/convs/1', 'conv2', 'bn2'),
    *conv_bn('backbone/stem/convs/2', 'conv3', 'bn3'),
    *torch_stages(),
  ),
  _IGNORED,
)
# timm's resnet50c (32-32-64) and resnet50s (64-64-128).
TIMM_DEEP = NameTable(
  (
    *conv_bn('backbone/stem/convs/0', 'conv1.0', 'conv1.1'),
    *conv_bn('backbone/stem/convs/1', 'conv1.3', 'conv1.4'),
    *conv_bn('backbone/stem/convs/2', 'conv1.6', 'bn1'),
    *torch_stages(),
  ),
  _IGNORED,
)
# OpenMMLab's resnet50_v1c.
V1C = NameTable(
  (
    *conv_bn('backbone/stem/convs/0', 'stem.0', 'stem.1'),
    *conv_bn('backbone/stem/convs/1', 'stem.3', 'stem.4'),
    *conv_bn('backbone/stem/convs/2', 'stem.6', 'stem.7'),
    *torch_stages(),
  ),
  _IGNORED,
)

_MARK = 'layer1.0.conv1.weight'
ORIGINS = (
  Origin('imagenet', (_MARK, 'conv1.6.weight'), TIMM_DEEP),
  Origin('imagenet', (_MARK, 'stem.6.weight'), V1C),
  Origin('imagenet', (_MARK, 'conv1.weight'), TABLE),
)
