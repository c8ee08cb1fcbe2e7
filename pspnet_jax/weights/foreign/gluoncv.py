"""dmlc/gluon-cv (MXNet): PSPNet on ResNet-50 and -101 "v1s", whose stem is 64-64-128."""

from __future__ import annotations

from pspnet_jax.inference.protocol import Protocol
from pspnet_jax.weights.foreign.name_table import NameTable, conv_bn, torch_stages
from pspnet_jax.weights.foreign.origin import (
  CITYSCAPES_CLASSES,
  Conventions,
  Origin,
  network_conventions,
)

# gluoncv/model_zoo/segbase.py, resnetv1b.py, pspnet.py and fcn.py.
TABLE = NameTable(
  (
    *conv_bn('backbone/stem/convs/0', 'conv1.0', 'conv1.1'),
    *conv_bn('backbone/stem/convs/1', 'conv1.3', 'conv1.4'),
    *conv_bn('backbone/stem/convs/2', 'conv1.6', 'bn1'),
    *torch_stages(),
    *conv_bn('pyramid/reductions/{i}', 'head.psp.conv{i+1}.0', 'head.psp.conv{i+1}.1'),
    *conv_bn('bottleneck', 'head.block.0', 'head.block.1'),
    ('classifier/conv', 'head.block.4'),
    *conv_bn('aux_head/bottleneck', 'auxlayer.block.0', 'auxlayer.block.1'),
    ('aux_head/classifier/conv', 'auxlayer.block.4'),
  ),
  ignored=(),
  leaves={
    'conv': {'kernel': '.weight', 'bias': '.bias'},
    'bn': {'scale': '.gamma', 'bias': '.beta', 'mean': '.running_mean', 'var': '.running_var'},
  },
)


def conventions(
  depth: int, num_classes: int, align_corners: bool | None, output_stride: int
) -> Conventions:
  """What its code does: MXNet's BilinearResize2D aligns corners, dropout is of single activations.

  scripts/segmentation/test.py runs whole images at their own size (`SegEvalModel`). The crops are
  those of scripts/segmentation/train.py, and of psp_resnet101_citys.sh in dmlc/web-data.
  """
  del depth, output_stride
  network = network_conventions(
    align_corners=True if align_corners is None else align_corners,
    contract_dilation=True,
    dropout_kind='element',
  )
  whole = Protocol(window='image', padding='none', flip_rule='image', resize_back='network')
  crop_size = (768, 768) if num_classes == CITYSCAPES_CLASSES else (480, 480)
  return Conventions(network, crop_size, whole)


ORIGIN = Origin('gluoncv', ('head.psp.conv1.0.weight', 'conv1.6.weight'), TABLE, conventions)
