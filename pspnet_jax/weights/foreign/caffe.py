"""hszhao/PSPNet, the paper's Caffe code: ResNet-50 for ADE20K, -101 for VOC and Cityscapes."""

from __future__ import annotations

import dataclasses

from pspnet_jax.inference.protocol import CAFFE
from pspnet_jax.models.resnet import DEPTHS
from pspnet_jax.weights.foreign.name_table import NameTable, conv_bn
from pspnet_jax.weights.foreign.origin import (
  CITYSCAPES_CLASSES,
  Conventions,
  Origin,
  network_conventions,
)

_BLOCK = 'conv{s+1}_{b+1}'


def _with_bn(ours: str, theirs: str) -> tuple[tuple[str, str], ...]:
  return conv_bn(ours, theirs, f'{theirs}/bn')


TABLE = NameTable(
  (
    *_with_bn('backbone/stem/convs/0', 'conv1_1_3x3_s2'),
    *_with_bn('backbone/stem/convs/1', 'conv1_2_3x3'),
    *_with_bn('backbone/stem/convs/2', 'conv1_3_3x3'),
    *_with_bn('backbone/stage{s}/{b}/conv1', _BLOCK + '_1x1_reduce'),
    *_with_bn('backbone/stage{s}/{b}/conv2', _BLOCK + '_3x3'),
    *_with_bn('backbone/stage{s}/{b}/conv3', _BLOCK + '_1x1_increase'),
    *_with_bn('backbone/stage{s}/{b}/projection', _BLOCK + '_1x1_proj'),
    *_with_bn('pyramid/reductions/0', 'conv5_3_pool1_conv'),
    *_with_bn('pyramid/reductions/1', 'conv5_3_pool2_conv'),
    *_with_bn('pyramid/reductions/2', 'conv5_3_pool3_conv'),
    *_with_bn('pyramid/reductions/3', 'conv5_3_pool6_conv'),
    *_with_bn('bottleneck', 'conv5_4'),
    ('classifier/conv', 'conv6'),
    # The number after stage 3's last block: 7 in ResNet-50, 24 in ResNet-101.
    *_with_bn('aux_head/bottleneck', f'conv4_{DEPTHS[50][1][2] + 1}'),
    *_with_bn('aux_head/bottleneck', f'conv4_{DEPTHS[101][1][2] + 1}'),
    ('aux_head/classifier/conv', 'conv6_1'),
  ),
  ignored=(),
  leaves={
    'conv': {'kernel': '[0]', 'bias': '[1]'},
    'bn': {'scale': '[0]', 'bias': '[1]', 'mean': '[2]', 'var': '[3]'},
  },
  levels_reversed=True,
  bgr=True,
  dotted=False,
)


def conventions(
  depth: int, num_classes: int, align_corners: bool | None, output_stride: int
) -> Conventions:
  """What the prototxts say: ResNet-50 strides in its 1×1 convolutions; only the mean is taken off.

  The network takes blue first there. Its first kernel is turned round when it is read, and here
  the mean is in the order red, green, blue: the same numbers come out.
  """
  del output_stride
  cityscapes = num_classes == CITYSCAPES_CLASSES
  network = network_conventions(
    align_corners=True if align_corners is None else align_corners,
    stride_in_1x1=depth == 50,
    dropout_kind='element',
  )
  return Conventions(
    network,
    (713, 713) if cityscapes else (473, 473),
    dataclasses.replace(CAFFE, base_size=(2048,) if cityscapes else (512,)),
    mean=(123.68, 116.779, 103.939),
    std=(1.0, 1.0, 1.0),
  )


ORIGIN = Origin('caffe', ('conv1_1_3x3_s2[0]',), TABLE, conventions)
