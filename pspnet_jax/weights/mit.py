"""CSAILVision/semantic-segmentation-pytorch: an encoder file and a decoder file."""

from __future__ import annotations

from pspnet_jax.protocol import Protocol
from pspnet_jax.weights.source import Conventions, Source, network_conventions
from pspnet_jax.weights.table import Table, conv_bn, torch_stages

TABLE = Table(
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


def conventions(depth: int, num_classes: int, align_corners: bool | None) -> Conventions:
  """Half-pixel resizing.

  The first block of a dilated stage has the previous stage's dilation (mit_semseg/models/models.py,
  `_nostride_dilate`: dilate // 2 on what was strided). It trains on whole images of several sizes;
  the crop is ours, for the windows of large images.
  """
  del depth, num_classes
  network = network_conventions(align_corners=bool(align_corners), contract_dilation=True)
  return Conventions(network, (473, 473), Protocol(window='image'))


# Its ResNet-18 dilates both convolutions of a basic block, ours only the first.
SOURCE = Source('mit', ('conv_last.0.weight',), TABLE, conventions, basic_blocks=False)
