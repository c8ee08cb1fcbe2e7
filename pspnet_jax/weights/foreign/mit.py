"""CSAILVision/semantic-segmentation-pytorch: an encoder file and a decoder file."""

from __future__ import annotations

from pspnet_jax.inference.protocol import Protocol
from pspnet_jax.models.resnet import DEPTHS
from pspnet_jax.weights.foreign.name_table import NameTable, conv_bn, torch_stages
from pspnet_jax.weights.foreign.origin import Conventions, Origin, network_conventions

TABLE = NameTable(
  (
    *conv_bn('backbone/stem/convs/0', 'conv1', 'bn1'),
    *conv_bn('backbone/stem/convs/1', 'conv2', 'bn2'),
    *conv_bn('backbone/stem/convs/2', 'conv3', 'bn3'),
    *torch_stages(),
    *conv_bn('pyramid/reductions/{i}', 'ppm.{i}.1', 'ppm.{i}.2'),
    *conv_bn('bottleneck', 'conv_last.0', 'conv_last.1'),
    ('classifier/conv', 'conv_last.4'),
    *conv_bn('aux_head/bottleneck', 'cbr_deepsup.0', 'cbr_deepsup.1'),
    ('aux_head/classifier/conv', 'conv_last_deepsup'),
  )
)


def conventions(
  depth: int, num_classes: int, align_corners: bool | None, output_stride: int
) -> Conventions:
  """What its code does: half-pixel resizing, whole images.

  Dilation goes by stride (mit_semseg/models/models.py, `_nostride_dilate`): 3×3 convolutions that
  were strided get the previous stage's, all others the stage's, a basic block's second one too.
  It trains on whole images of several sizes; the crop is ours, for the windows of large images.
  """
  del num_classes, output_stride
  bottleneck, _ = DEPTHS[depth]
  network = network_conventions(
    align_corners=bool(align_corners), contract_dilation=True, dilate_conv2=not bottleneck
  )
  return Conventions(network, (473, 473), Protocol(window='image'))


ORIGIN = Origin('mit', ('conv_last.0.weight',), TABLE, conventions)
