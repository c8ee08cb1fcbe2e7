"""ResNets that were trained to classify ImageNet; only their backbone is taken."""

from __future__ import annotations

from pspnet_jax.weights.foreign.name_table import COUNTERS, NameTable, conv_bn, torch_stages
from pspnet_jax.weights.foreign.origin import Origin

_IGNORED = (*COUNTERS, r'(head\.)?fc\.(weight|bias)')  # and the classifier

_STEMS = {  # by an array that tells it
  # timm's resnet50c and -d (32-32-64), and resnet50s (64-64-128).
  'conv1.6.weight': (
    *conv_bn('backbone/stem/convs/0', 'conv1.0', 'conv1.1'),
    *conv_bn('backbone/stem/convs/1', 'conv1.3', 'conv1.4'),
    *conv_bn('backbone/stem/convs/2', 'conv1.6', 'bn1'),
  ),
  # OpenMMLab's resnet50_v1c.
  'stem.6.weight': (
    *conv_bn('backbone/stem/convs/0', 'stem.0', 'stem.1'),
    *conv_bn('backbone/stem/convs/1', 'stem.3', 'stem.4'),
    *conv_bn('backbone/stem/convs/2', 'stem.6', 'stem.7'),
  ),
  # torchvision and timm (one 7×7); semseg's and MIT's own (three 3×3, numbered on).
  'conv1.weight': (
    *conv_bn('backbone/stem/convs/0', 'conv1', 'bn1'),
    *conv_bn('backbone/stem/convs/1', 'conv2', 'bn2'),
    *conv_bn('backbone/stem/convs/2', 'conv3', 'bn3'),
  ),
}


def _origin(stem: str, avg_down: bool) -> Origin:
  table = NameTable((*_STEMS[stem], *torch_stages(avg_down=avg_down)), _IGNORED)
  pooled = ('layer2.0.downsample.2.weight',) if avg_down else ()  # of every depth's
  return Origin('imagenet', ('layer1.0.conv1.weight', stem, *pooled), table, avg_down=avg_down)


ORIGINS = tuple(_origin(stem, avg_down) for stem in _STEMS for avg_down in (True, False))
