"""PaddlePaddle/PaddleSeg: PSPNet on ResNet-50 and -101 "vd", and these as ImageNet backbones."""

from __future__ import annotations

from pspnet_jax.inference.protocol import Protocol
from pspnet_jax.weights.foreign.name_table import Leaves, NameTable, conv_bn
from pspnet_jax.weights.foreign.origin import (
  CITYSCAPES_CLASSES,
  Conventions,
  Origin,
  network_conventions,
)

_LEAVES: Leaves = {
  'conv': {'kernel': '.weight', 'bias': '.bias'},
  'bn': {'scale': '.weight', 'bias': '.bias', 'mean': '._mean', 'var': '._variance'},
}
_VOC_CLASSES = 21


def _layer(ours: str, theirs: str) -> tuple[tuple[str, str], ...]:
  """Its ConvBNLayer and ConvBNReLU."""
  return conv_bn(ours, f'{theirs}._conv', f'{theirs}._batch_norm')


def _backbone(prefix: str = '') -> tuple[tuple[str, str], ...]:
  """paddleseg/models/backbones/resnet_vd.py, which counts stages from 0."""
  block, theirs = 'backbone/stage{s+1}/{b}', prefix + 'bb_{s}_{b}'
  return (
    *_layer('backbone/stem/convs/{i}', prefix + 'conv1_{i+1}'),
    *_layer(block + '/conv{k+1}', theirs + '.conv{k}'),
    *_layer(block + '/projection', theirs + '.short'),
  )


# paddleseg/models/pspnet.py, and layers/pyramid_pool.py, where the levels are joined in reverse.
# The heads' convolutions have biases (layers/layer_libs.py, ConvBNReLU).
TABLE = NameTable(
  (
    *_backbone('backbone.'),
    *_layer('pyramid/reductions/{i}', 'head.psp_module.stages.{i}.1'),
    *_layer('bottleneck', 'head.psp_module.conv_bn_relu2'),
    ('classifier/conv', 'head.conv'),
    *_layer('aux_head/bottleneck', 'head.auxlayer.conv_bn_relu'),
    ('aux_head/classifier/conv', 'head.auxlayer.conv'),
  ),
  ignored=(),
  leaves=_LEAVES,
  levels_reversed=True,
  biased=True,
)


def conventions(
  depth: int, num_classes: int, align_corners: bool | None, output_stride: int
) -> Conventions:
  """What its configs say (configs/pspnet, configs/_base_): half-pixel resizing, whole images.

  Those of VOC 2012 are padded to 512×512 at bottom and right. Pixels are brought to [-1, 1]
  (transforms.py, Normalize). Every 3×3 convolution of a dilated stage has the stage's dilation, and
  what its shortcut would pool there stays.
  """
  del depth, output_stride
  network = network_conventions(
    align_corners=bool(align_corners), avg_down=True, dropout_kind='element'
  )
  padded = num_classes == _VOC_CLASSES
  protocol = Protocol(
    padding='end' if padded else 'none',
    window='crop' if padded else 'image',
    flip_rule='image',
    average='logits',
    resize_back='network',
  )
  crop_size = (512, 1024) if num_classes == CITYSCAPES_CLASSES else (512, 512)
  middle = (127.5, 127.5, 127.5)
  return Conventions(network, crop_size, protocol, middle, middle)


_MARKS = ('head.psp_module.stages.0.1._conv.weight', 'backbone.bb_0_0.conv0._conv.weight')
ORIGIN = Origin('paddleseg', _MARKS, TABLE, conventions, avg_down=True)
# Its backbones alone, and those of PaddleClas, which have a classifier `out` or `fc`.
BACKBONE = Origin(
  'paddleseg',
  ('bb_0_0.conv0._conv.weight', 'conv1_1._conv.weight'),
  NameTable(_backbone(), (r'(out|fc)\.(weight|bias)',), _LEAVES),
  avg_down=True,
)
