"""The networks of semseg, mmsegmentation and MIT, rebuilt after their authors' code.

Each begins as the usual ResNet, which strides in every stage but the first, and is dilated by that
source's own rule; modules have its names, so that `state_dict()` is what its files hold. Written
from hszhao/semseg (model/), mmsegmentation 1.2.2 (models/backbones/resnet.py, decode_heads/) and
CSAILVision/semantic-segmentation-pytorch (mit_semseg/models/), apart from ours and from
torch_pspnet.py; upstream.py compares with that code itself. `width` is 64 in all published
networks, and other widths go with it.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from tests.weights.peer import Peer

BLOCKS = {
  18: (2, 2, 2, 2),
  50: (3, 4, 6, 3),
  101: (3, 4, 23, 3),
  152: (3, 8, 36, 3),
  269: (3, 30, 48, 8),
}
BINS = (1, 2, 3, 6)


class Block(nn.Module):
  """Basic or bottleneck, stride in the first 3×3 convolution."""

  def __init__(self, c_in: int, width: int, stride: int, bottleneck: bool):
    super().__init__()
    c_out = 4 * width if bottleneck else width
    kernels, strides = ((1, 3, 1), (1, stride, 1)) if bottleneck else ((3, 3), (stride, 1))
    widths = (c_in, *(width,) * (len(kernels) - 1), c_out)
    for i, (k, s) in enumerate(zip(kernels, strides, strict=True)):
      conv = nn.Conv2d(widths[i], widths[i + 1], k, s, k // 2, bias=False)
      self.add_module(f'conv{i + 1}', conv)
      self.add_module(f'bn{i + 1}', nn.BatchNorm2d(widths[i + 1]))
    self.downsample = None
    if stride != 1 or c_in != c_out:
      shortcut = nn.Conv2d(c_in, c_out, 1, stride, bias=False)
      self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(c_out))

  def forward(self, x):
    y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
    if hasattr(self, 'conv3'):
      y = self.bn3(self.conv3(F.relu(y)))
    return F.relu(y + (x if self.downsample is None else self.downsample(x)))


def add_stages(module: nn.Module, depth: int, c: int, width: int) -> int:
  """layer1 to layer4 from `c` channels, down to 1/32; returns the channels of the last."""
  bottleneck = depth >= 50
  for s, count in enumerate(BLOCKS[depth]):
    blocks = []
    for b in range(count):
      stride = 2 if s > 0 and b == 0 else 1
      blocks.append(Block(c, width * 2**s, stride, bottleneck))
      c = width * 2**s * (4 if bottleneck else 1)
    module.add_module(f'layer{s + 1}', nn.Sequential(*blocks))
  return c


def conv_bn_relu(c_in: int, c_out: int, k: int, stride: int = 1) -> list[nn.Module]:
  conv = nn.Conv2d(c_in, c_out, k, stride, k // 2, bias=False)
  return [conv, nn.BatchNorm2d(c_out), nn.ReLU()]


def dilate(conv: nn.Conv2d, dilation: int) -> None:
  conv.stride, conv.dilation, conv.padding = (1, 1), (dilation,) * 2, (dilation,) * 2


class Semseg(Peer):
  """Align corners; every middle convolution of stages 3 and 4 is dilated, the first one too."""

  align_corners = True

  def __init__(self, depth: int, num_classes: int, *, width: int = 64):
    super().__init__()
    stem = ((3, width, 2), (width, width, 1), (width, 2 * width, 1))
    layers = [layer for a, b, s in stem for layer in conv_bn_relu(a, b, 3, s)]
    self.layer0 = nn.Sequential(*layers, nn.MaxPool2d(3, 2, 1))
    c = add_stages(self, depth, 2 * width, width)
    for stage, dilation in ((self.layer3, 2), (self.layer4, 4)):
      for block in stage:
        dilate(block.conv2, dilation)
        if block.downsample is not None:
          block.downsample[0].stride = (1, 1)
    self.ppm = nn.Module()
    self.ppm.features = nn.ModuleList(
      nn.Sequential(nn.AdaptiveAvgPool2d(b), *conv_bn_relu(c, c // 4, 1)) for b in BINS
    )
    self.cls = self.head(2 * c, 8 * width, num_classes)
    self.aux = self.head(c // 2, 4 * width, num_classes)

  @staticmethod
  def head(c_in, c, num_classes):
    return nn.Sequential(*conv_bn_relu(c_in, c, 3), nn.Dropout2d(0.1), nn.Conv2d(c, num_classes, 1))

  @property
  def classifier(self):
    return self.cls[4]

  def forward(self, image):
    x = self.layer4(self.layer3(self.layer2(self.layer1(self.layer0(image)))))
    return self.resized(self.cls(self.pyramid(self.ppm.features, x)), image)

  def files(self):
    return semseg_files(self)


def semseg_files(network: nn.Module) -> dict[str, Any]:
  """tool/train.py saves the network that DataParallel wraps, and SGD with its momentum."""
  wrapped = {f'module.{name}': x for name, x in network.state_dict().items()}
  buffers = (x.detach().clone() for x in network.parameters())
  momentum = {i: {'momentum_buffer': x} for i, x in enumerate(buffers)}
  groups = [{'lr': 0.01, 'momentum': 0.9, 'params': list(momentum)}]
  optimizer = {'state': momentum, 'param_groups': groups}
  return {'train_epoch_100.pth': {'epoch': 100, 'state_dict': wrapped, 'optimizer': optimizer}}


class ConvModule(nn.Module):
  """mmcv's: `conv`, `bn`, ReLU."""

  def __init__(self, c_in: int, c_out: int, k: int):
    super().__init__()
    self.conv, self.bn, _ = conv_bn_relu(c_in, c_out, k)

  def forward(self, x):
    return F.relu(self.bn(self.conv(x)))


class Mmseg(Peer):
  """One convolution a block is dilated, contracted in a stage's first; all levels like the head.

  At output stride 32 it is dilated and strided (configs/pspnet/pspnet_r50-d32_*.py). ResNet-18's
  heads are a quarter as wide (pspnet_r18-*.py).
  """

  def __init__(
    self,
    depth: int,
    num_classes: int,
    *,
    width: int = 64,
    stem: str = 'v1c',
    align_corners: bool = False,
    output_stride: int = 8,
  ):
    super().__init__()
    self.align_corners = align_corners
    backbone = self.backbone = nn.Module()
    if stem == 'v1c':
      widths = ((3, width // 2, 2), (width // 2, width // 2, 1), (width // 2, width, 1))
      layers = [layer for a, b, s in widths for layer in conv_bn_relu(a, b, 3, s)]
      backbone.stem = nn.Sequential(*layers)
    else:
      backbone.conv1, backbone.bn1, _ = conv_bn_relu(3, width, 7, 2)
    c = add_stages(backbone, depth, width, width)
    for stage, dilation in ((backbone.layer3, 2), (backbone.layer4, 4)):
      for i, block in enumerate(stage):
        conv = block.conv2 if depth >= 50 else block.conv1
        stride = conv.stride if output_stride == 32 else (1, 1)
        dilate(conv, dilation // 2 if i == 0 else dilation)
        conv.stride = stride
        if block.downsample is not None:
          block.downsample[0].stride = stride
    head, aux = (8 * width, 4 * width) if depth >= 50 else (2 * width, width)
    decode, auxiliary = nn.Module(), nn.Module()
    decode.psp_modules = nn.ModuleList(
      nn.Sequential(nn.AdaptiveAvgPool2d(b), ConvModule(c, head, 1)) for b in BINS
    )
    decode.bottleneck = ConvModule(c + 4 * head, head, 3)
    decode.conv_seg = nn.Conv2d(head, num_classes, 1)
    auxiliary.convs = nn.Sequential(ConvModule(c // 2, aux, 3))
    auxiliary.conv_seg = nn.Conv2d(aux, num_classes, 1)
    self.decode_head, self.auxiliary_head = decode, auxiliary

  @property
  def classifier(self):
    return self.decode_head.conv_seg

  def forward(self, image):
    body, head = self.backbone, self.decode_head
    stem = body.stem(image) if hasattr(body, 'stem') else F.relu(body.bn1(body.conv1(image)))
    x = body.layer2(body.layer1(F.max_pool2d(stem, 3, 2, 1)))
    x = self.pyramid(head.psp_modules, body.layer4(body.layer3(x)))
    return self.resized(head.conv_seg(head.bottleneck(x)), image)

  def files(self):
    return mmseg_files(self, self.classifier.out_channels)


def mmseg_files(network: nn.Module, num_classes: int) -> dict[str, Any]:
  """What its runner saves, with the classes of the data set beside the weights."""
  names = tuple(f'thing {i}' for i in range(num_classes))
  palette = [[i, i, i] for i in range(num_classes)]
  meta = {'epoch': 1, 'iter': 80000, 'CLASSES': names, 'PALETTE': palette, 'seed': None}
  return {'iter_80000.pth': {'meta': meta, 'state_dict': network.state_dict()}}


class Mit(Peer):
  """Dilates by stride: what was strided loses it and is half dilated, every other 3×3 fully."""

  def __init__(self, depth: int, num_classes: int, *, width: int = 64):
    super().__init__()
    encoder, decoder = nn.Module(), nn.Module()
    stem = ((3, width, 2), (width, width, 1), (width, 2 * width, 1))
    for i, (c_in, c_out, stride) in enumerate(stem, 1):
      conv, bn, _ = conv_bn_relu(c_in, c_out, 3, stride)
      encoder.add_module(f'conv{i}', conv)
      encoder.add_module(f'bn{i}', bn)
    c = add_stages(encoder, depth, 2 * width, width)
    for stage, dilation in ((encoder.layer3, 2), (encoder.layer4, 4)):
      for conv in (m for m in stage.modules() if isinstance(m, nn.Conv2d)):
        strided = conv.stride == (2, 2)
        conv.stride = (1, 1)
        if conv.kernel_size == (3, 3):
          dilate(conv, dilation // 2 if strided else dilation)
    level = head = 8 * width
    decoder.ppm = nn.ModuleList(
      nn.Sequential(nn.AdaptiveAvgPool2d(b), *conv_bn_relu(c, level, 1)) for b in BINS
    )
    decoder.cbr_deepsup = nn.Sequential(*conv_bn_relu(c // 2, c // 4, 3))
    decoder.conv_last = nn.Sequential(
      *conv_bn_relu(c + 4 * level, head, 3), nn.Dropout2d(0.1), nn.Conv2d(head, num_classes, 1)
    )
    decoder.conv_last_deepsup = nn.Conv2d(c // 4, num_classes, 1)
    self.encoder, self.decoder = encoder, decoder

  @property
  def classifier(self):
    return self.decoder.conv_last[4]

  def forward(self, image):
    e, x = self.encoder, image
    for conv, bn in ((e.conv1, e.bn1), (e.conv2, e.bn2), (e.conv3, e.bn3)):
      x = F.relu(bn(conv(x)))
    x = e.layer4(e.layer3(e.layer2(e.layer1(F.max_pool2d(x, 3, 2, 1)))))
    return self.resized(self.decoder.conv_last(self.pyramid(self.decoder.ppm, x)), image)

  def files(self):
    """Its batch normalisation keeps counters of its own beside the statistics."""
    encoder, decoder = self.encoder.state_dict(), self.decoder.state_dict()
    for state in (encoder, decoder):
      for name in [n for n in state if n.endswith('running_mean')]:
        layer = name.removesuffix('running_mean')
        state[f'{layer}_tmp_running_mean'] = state[f'{layer}_tmp_running_var'] = state[name]
        state[f'{layer}_running_iter'] = torch.ones(1)
    return {'encoder_epoch_20.pth': encoder, 'decoder_epoch_20.pth': decoder}
