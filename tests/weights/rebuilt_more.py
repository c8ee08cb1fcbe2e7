"""The networks of PaddleSeg, GluonCV and sssegmentation, rebuilt after their authors' code.

Written from PaddleSeg at d7975e7 (models/pspnet.py, backbones/resnet_vd.py, layers/), GluonCV at
5677756 (model_zoo/pspnet.py, segbase.py, resnetv1b.py, fcn.py) and sssegmentation at eb1878c
(modules/models/), as rebuilt.py is from the others. Modules have their names, and `write` gives
files as theirs.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from tests.weights import array_lists
from tests.weights.peer import Peer
from tests.weights.rebuilt import BINS, BLOCKS, add_stages, conv_bn_relu, dilate


class PaddleConv(nn.Module):
  """ConvBNLayer and ConvBNReLU: `_conv`, perhaps with a bias, and `_batch_norm`."""

  def __init__(self, c_in, c_out, k, stride=1, dilation=1, relu=True, bias=False, pool=False):
    super().__init__()
    padding = dilation if dilation > 1 else (k - 1) // 2
    self._conv = nn.Conv2d(c_in, c_out, k, stride, padding, dilation, bias=bias)
    self._batch_norm = nn.BatchNorm2d(c_out)
    self.relu, self.pool = relu, pool

  def forward(self, x):
    if self.pool:  # `is_vd_mode`
      x = F.avg_pool2d(x, 2, 2, ceil_mode=True, count_include_pad=False)
    x = self._batch_norm(self._conv(x))
    return F.relu(x) if self.relu else x


class PaddleBlock(nn.Module):
  def __init__(self, c_in, width, stride, dilation, first, first_of_all):
    super().__init__()
    self.conv0 = PaddleConv(c_in, width, 1)
    self.conv1 = PaddleConv(width, width, 3, stride, dilation)
    self.conv2 = PaddleConv(width, 4 * width, 1, relu=False)
    if first:
      pool = not (first_of_all or stride == 1)
      self.short = PaddleConv(c_in, 4 * width, 1, relu=False, pool=pool)

  def forward(self, x):
    shortcut = self.short(x) if hasattr(self, 'short') else x
    return F.relu(shortcut + self.conv2(self.conv1(self.conv0(x))))


class Paddle(Peer):
  """Levels are joined in reverse, the heads' convolutions have biases, pixels come in [-1, 1]."""

  mean = std = np.array(127.5)
  last_of_branch = r'bb_\d_\d+\.conv(\d)\._batch_norm$'

  def __init__(self, depth: int, num_classes: int, *, width: int = 64):
    super().__init__()
    body = self.backbone = nn.Module()
    stem = ((3, width // 2, 2), (width // 2, width // 2, 1), (width // 2, width, 1))
    for i, (c_in, c_out, stride) in enumerate(stem, 1):
      body.add_module(f'conv1_{i}', PaddleConv(c_in, c_out, 3, stride))
    c, self.blocks = width, []
    for s, count in enumerate(BLOCKS[depth]):
      dilation = {2: 2, 3: 4}.get(s, 1)
      for b in range(count):
        stride = 2 if b == 0 and s != 0 and dilation == 1 else 1
        block = PaddleBlock(c, width * 2**s, stride, dilation, b == 0, s == b == 0)
        body.add_module(f'bb_{s}_{b}', block)
        self.blocks.append(f'bb_{s}_{b}')
        c = 4 * width * 2**s
    head = self.head = nn.Module()
    head.psp_module, head.auxlayer = nn.Module(), nn.Module()
    head.psp_module.stages = nn.ModuleList(
      nn.Sequential(nn.AdaptiveAvgPool2d(n), PaddleConv(c, c // 4, 1, bias=True)) for n in BINS
    )
    channels = 16 * width
    head.psp_module.conv_bn_relu2 = PaddleConv(2 * c, channels, 3, bias=True)
    head.conv = nn.Conv2d(channels, num_classes, 1)
    head.auxlayer.conv_bn_relu = PaddleConv(c // 2, c // 8, 3, bias=True)
    head.auxlayer.conv = nn.Conv2d(c // 8, num_classes, 1)

  @property
  def classifier(self):
    return self.head.conv

  def forward(self, image):
    body, x = self.backbone, image
    x = F.max_pool2d(body.conv1_3(body.conv1_2(body.conv1_1(x))), 3, 2, 1)
    for name in self.blocks:
      x = getattr(body, name)(x)
    levels = [self.resized(stage(x), x) for stage in self.head.psp_module.stages]
    x = self.head.psp_module.conv_bn_relu2(torch.cat([x, *levels[::-1]], 1))
    return self.resized(self.head.conv(x), image)

  def fill(self, image, seed=0):
    """Means and biases are few bits: their difference, which is what is read, is exact."""
    super().fill(image, seed)
    for layer in self.modules():
      if isinstance(layer, PaddleConv) and layer._conv.bias is not None:
        for x in (layer._conv.bias.data, layer._batch_norm.running_mean):
          x.copy_((x * 1024).round() / 1024)
    return self

  def state(self) -> dict[str, np.ndarray]:
    names = {'running_mean': '_mean', 'running_var': '_variance'}
    state = {}
    for name, x in self.state_dict().items():
      layer, _, leaf = name.rpartition('.')
      if leaf != 'num_batches_tracked':
        state[f'{layer}.{names.get(leaf, leaf)}'] = x.numpy()
    return state

  def write(self, folder):
    """paddle.save keeps a table of the names that parameters have elsewhere."""
    return [paddle_file(folder / 'model.pdparams', self.state())]


def paddle_file(path: Path, state: dict[str, np.ndarray], protocol: int = 2) -> Path:
  table = {name: f'param_{i}' for i, name in enumerate(state)}
  content = {**state, 'StructuredToParameterName@@': table}
  path.write_bytes(pickle.dumps(content, protocol))
  return path


def contracted_stages(module: nn.Module, depth: int, c: int, width: int, stride: int) -> int:
  """layer1 to layer4 at an output stride of 8 or 16; the first block of a dilated one has half."""
  c = add_stages(module, depth, c, width)
  for stage, dilation in ((module.layer3, 16 // stride), (module.layer4, 32 // stride)):
    for i, block in enumerate(stage):
      if dilation > 1:
        dilate(block.conv2, dilation // 2 if i == 0 else dilation)
        if block.downsample is not None:
          block.downsample[0].stride = (1, 1)
  return c


class Gluon(Peer):
  """Corners are aligned in every resize."""

  align_corners = True

  def __init__(self, depth: int, num_classes: int, *, width: int = 64):
    super().__init__()
    stem = ((3, width, 2), (width, width, 1), (width, 2 * width, 1))
    layers = [layer for a, b, s in stem for layer in conv_bn_relu(a, b, 3, s)]
    self.conv1, self.bn1 = nn.Sequential(*layers[:7]), layers[7]
    c = contracted_stages(self, depth, 2 * width, width, 8)
    self.head, self.head.psp, self.auxlayer = nn.Module(), nn.Module(), nn.Module()
    for i in range(4):
      self.head.psp.add_module(f'conv{i + 1}', nn.Sequential(*conv_bn_relu(c, c // 4, 1)))
    self.head.block = self.end(2 * c, 8 * width, num_classes)
    self.auxlayer.block = self.end(c // 2, c // 8, num_classes)

  @staticmethod
  def end(c_in, c, num_classes):
    return nn.Sequential(*conv_bn_relu(c_in, c, 3), nn.Dropout(0.1), nn.Conv2d(c, num_classes, 1))

  @property
  def classifier(self):
    return self.head.block[4]

  def forward(self, image):
    x = F.max_pool2d(F.relu(self.bn1(self.conv1(image))), 3, 2, 1)
    x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
    levels = [
      nn.Sequential(nn.AdaptiveAvgPool2d(b), getattr(self.head.psp, f'conv{i + 1}'))
      for i, b in enumerate(BINS)
    ]
    return self.resized(self.head.block(self.pyramid(levels, x)), image)

  def write(self, folder):
    modules, arrays = dict(self.named_modules()), {}
    for name, x in self.state_dict().items():
      layer, _, leaf = name.rpartition('.')
      if isinstance(modules[layer], nn.BatchNorm2d):
        leaf = {'weight': 'gamma', 'bias': 'beta'}.get(leaf, leaf)
      if leaf != 'num_batches_tracked':
        arrays[f'{layer}.{leaf}'] = x.numpy()
    return [array_lists.write(folder / 'psp.params', arrays)]


class Sssegmentation(Peer):
  """As mmsegmentation's, with other names and, at will, an output stride of 16."""

  def __init__(self, depth: int, num_classes: int, *, width: int = 64, output_stride: int = 8):
    super().__init__()
    body = self.backbone_net = nn.Module()
    stem = ((3, width // 2, 2), (width // 2, width // 2, 1), (width // 2, width, 1))
    body.stem = nn.Sequential(*[x for a, b, s in stem for x in conv_bn_relu(a, b, 3, s)])
    c = contracted_stages(body, depth, width, width, output_stride)
    head = 8 * width
    self.ppm_net = nn.Module()
    self.ppm_net.branches = nn.ModuleList(
      nn.Sequential(nn.AdaptiveAvgPool2d(b), *conv_bn_relu(c, head, 1)) for b in BINS
    )
    self.ppm_net.bottleneck = nn.Sequential(*conv_bn_relu(c + 4 * head, head, 3))
    self.decoder = nn.Sequential(nn.Dropout2d(0.1), nn.Conv2d(head, num_classes, 1))
    aux = conv_bn_relu(c // 2, head, 3)
    self.auxiliary_decoder = nn.Sequential(*aux, nn.Dropout2d(0.1), nn.Conv2d(head, num_classes, 1))

  @property
  def classifier(self):
    return self.decoder[1]

  def forward(self, image):
    body = self.backbone_net
    x = body.layer2(body.layer1(F.max_pool2d(body.stem(image), 3, 2, 1)))
    x = self.pyramid(self.ppm_net.branches, body.layer4(body.layer3(x)))
    return self.resized(self.decoder(self.ppm_net.bottleneck(x)), image)

  def files(self) -> dict[str, Any]:
    return {'epoch_130.pth': {'cur_epoch': 130, 'cur_iter': 1, 'model': self.state_dict()}}
