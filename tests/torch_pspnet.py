"""The PSPNet family in PyTorch, written from the papers and the released code, not from ours.

Everything is done the obvious way (the head concatenates, convolutions are nn.Conv2d), so that it
can be read against the sources. Arguments are those of `pspnet_jax.models.pspnet.PSPNet`. Modules
are named as in hszhao/semseg: `state_dict()` is what a semseg checkpoint holds, without `module.`.
"""

import re
from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

BLOCKS = {
  10: (1, 1, 1, 1),
  18: (2, 2, 2, 2),
  34: (3, 4, 6, 3),
  50: (3, 4, 6, 3),
  101: (3, 4, 23, 3),
  152: (3, 8, 36, 3),
  269: (3, 30, 48, 8),
}
# Output stride -> stride, dilation, and first block's dilation under contract_dilation, by stage.
STRIDES = {8: (1, 2, 1, 1), 16: (1, 2, 2, 1), 32: (1, 2, 2, 2)}
DILATIONS = {8: (1, 1, 2, 4), 16: (1, 1, 1, 2), 32: (1, 1, 1, 1)}
CONTRACTED = {8: (1, 1, 1, 2), 16: (1, 1, 1, 1), 32: (1, 1, 1, 1)}


def conv(c_in, c_out, kernel_size, stride=1, dilation=1):
  padding = dilation * (kernel_size // 2)
  return nn.Conv2d(c_in, c_out, kernel_size, stride, padding, dilation, bias=False)


class Shortcut(nn.Sequential):
  """Projection of a block's input; with `avg_down` the stride is a pooling's, ahead of it."""

  def __init__(self, c_in, c_out, stride, avg_down):
    super().__init__(conv(c_in, c_out, 1, 1 if avg_down else stride), nn.BatchNorm2d(c_out))
    self.stride = stride if avg_down else 1

  def forward(self, x):
    s = self.stride
    return super().forward(F.avg_pool2d(x, s, s, ceil_mode=True, count_include_pad=False))


def downsample(c_in, c_out, stride, avg_down):
  return None if stride == 1 and c_in == c_out else Shortcut(c_in, c_out, stride, avg_down)


class BasicBlock(nn.Module):
  expansion = 1

  def __init__(self, c_in, width, stride, dilation, dilation2, stride_in_1x1, avg_down):
    super().__init__()
    self.conv1, self.bn1 = conv(c_in, width, 3, stride, dilation), nn.BatchNorm2d(width)
    self.conv2, self.bn2 = conv(width, width, 3, 1, dilation2), nn.BatchNorm2d(width)
    self.downsample = downsample(c_in, width, stride, avg_down)

  def forward(self, x):
    y = F.relu(self.bn1(self.conv1(x)))
    y = self.bn2(self.conv2(y))
    return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
  expansion = 4

  def __init__(self, c_in, width, stride, dilation, dilation2, stride_in_1x1, avg_down):
    super().__init__()
    s1, s2 = (stride, 1) if stride_in_1x1 else (1, stride)
    self.conv1, self.bn1 = conv(c_in, width, 1, s1), nn.BatchNorm2d(width)
    self.conv2, self.bn2 = conv(width, width, 3, s2, dilation), nn.BatchNorm2d(width)
    self.conv3, self.bn3 = conv(width, 4 * width, 1), nn.BatchNorm2d(4 * width)
    self.downsample = downsample(c_in, 4 * width, stride, avg_down)

  def forward(self, x):
    y = F.relu(self.bn1(self.conv1(x)))
    y = F.relu(self.bn2(self.conv2(y)))
    y = self.bn3(self.conv3(y))
    return F.relu(y + (x if self.downsample is None else self.downsample(x)))


def upsample(x, like, align_corners):
  return F.interpolate(x, like.shape[2:], mode='bilinear', align_corners=align_corners)


class PPM(nn.Module):
  """Returns [x, level 1, level 2, ...] concatenated, each level upsampled to the size of x."""

  def __init__(self, c_in, channels, bins, pooling, align_corners):
    super().__init__()
    pool = {'avg': nn.AdaptiveAvgPool2d, 'max': nn.AdaptiveMaxPool2d}[pooling]
    self.features = nn.ModuleList(nn.Sequential(pool(b)) for b in bins)
    if channels is not None:
      for level in self.features:
        level.extend([conv(c_in, channels, 1), nn.BatchNorm2d(channels), nn.ReLU()])
    self.align_corners = align_corners

  def forward(self, x):
    return torch.cat([x, *(upsample(f(x), x, self.align_corners) for f in self.features)], 1)


class TorchPSPNet(nn.Module):
  def __init__(
    self,
    num_classes,
    *,
    depth=50,
    output_stride=8,
    dilations=None,
    stem_channels=(64, 64, 128),
    width=64,
    stride_in_1x1=False,
    avg_down=False,
    contract_dilation=False,
    dilate_conv2=False,
    bins=(1, 2, 3, 6),
    pooling='avg',
    reduce_dimension=True,
    pyramid_channels=None,
    head_channels=512,
    aux_head=True,
    aux_channels=256,
    dropout_rate=0.1,
    dropout_kind='channel',
    align_corners=True,
  ):
    super().__init__()
    stem, c = [], 3
    for i, c_out in enumerate(stem_channels):
      kernel_size = 7 if len(stem_channels) == 1 else 3
      stem += [conv(c, c_out, kernel_size, 2 if i == 0 else 1), nn.BatchNorm2d(c_out), nn.ReLU()]
      c = c_out
    self.layer0 = nn.Sequential(*stem, nn.MaxPool2d(3, 2, 1))
    block = Bottleneck if depth >= 50 else BasicBlock
    for s in range(4):
      stage, dilation = [], (dilations or DILATIONS[output_stride])[s]
      contracted = CONTRACTED[output_stride][s] if dilations is None else max(dilation // 2, 1)
      for b in range(BLOCKS[depth][s]):
        first = contracted if contract_dilation else dilation
        stride = STRIDES[output_stride][s] if b == 0 else 1
        of_block = (first if b == 0 else dilation, dilation if dilate_conv2 else 1)
        stage.append(block(c, width * 2**s, stride, *of_block, stride_in_1x1, avg_down))
        c = width * 2**s * block.expansion
      setattr(self, f'layer{s + 1}', nn.Sequential(*stage))
    level = (pyramid_channels or c // max(len(bins), 1)) if reduce_dimension else None
    self.ppm = PPM(c, level, bins, pooling, align_corners)
    dropout = {'channel': nn.Dropout2d, 'element': nn.Dropout}[dropout_kind]

    def head(c_in, channels):
      return nn.Sequential(
        conv(c_in, channels, 3),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
        dropout(dropout_rate),
        nn.Conv2d(channels, num_classes, 1),
      )

    self.cls = head(c + len(bins) * (level or c), head_channels)
    if aux_head:
      self.aux = head(c // 2, aux_channels)
    self.align_corners = align_corners

  def forward(self, image):
    """NCHW image to {'logits': NCHW}, with 'aux_logits' in training, at the image's size."""
    stage3 = self.layer3(self.layer2(self.layer1(self.layer0(image))))
    outputs = {'logits': self.cls(self.ppm(self.layer4(stage3)))}
    if self.training and hasattr(self, 'aux'):
      outputs['aux_logits'] = self.aux(stage3)
    return {name: upsample(x, image, self.align_corners) for name, x in outputs.items()}


# Our names, as regular expressions, and torch's. A layer's bn comes right after its conv.
_LAYERS = {
  r'backbone/stem/convs/(\d)/(conv|bn)': lambda i, kind: f'layer0.{3 * int(i) + (kind == "bn")}',
  r'backbone/stage(\d)/(\d+)/projection/(conv|bn)': lambda s, b, kind: (
    f'layer{s}.{b}.downsample.{int(kind == "bn")}'
  ),
  r'backbone/stage(\d)/(\d+)/conv(\d)/(conv|bn)': lambda s, b, k, kind: f'layer{s}.{b}.{kind}{k}',
  r'pyramid/reductions/(\d)/(conv|bn)': lambda i, kind: f'ppm.features.{i}.{1 + (kind == "bn")}',
  r'bottleneck/bn': lambda: 'cls.1',
  r'classifier/conv': lambda: 'cls.4',
  r'aux_head/bottleneck/(conv|bn)': lambda kind: f'aux.{int(kind == "bn")}',
  r'aux_head/classifier/conv': lambda: 'aux.4',
}
_LEAVES = {
  'kernel': 'weight',
  'scale': 'weight',
  'bias': 'bias',
  'mean': 'running_mean',
  'var': 'running_var',
}


def torch_name(name: str) -> str:
  """The torch model's name for one of our arrays; parts of the split kernel share theirs."""
  if re.fullmatch(r'bottleneck/(kernel|level_kernels/\d)', name):
    return 'cls.0.weight'
  layer, leaf = name.rsplit('/', 1)
  for pattern, rename in _LAYERS.items():
    if match := re.fullmatch(pattern, layer):
      return f'{rename(*match.groups())}.{_LEAVES[leaf]}'
  raise KeyError(f'{name} is no array of a PSPNet')


def to_torch(arrays: Mapping[str, np.ndarray]) -> dict[str, torch.Tensor]:
  """Our arrays by torch's names: kernels become OIHW, the split one is joined x, 1, 2, 3, 6."""
  parts: dict[str, list[np.ndarray]] = {}
  for name in sorted(arrays):  # 'bottleneck/kernel' sorts before 'bottleneck/level_kernels/0', '1'
    array = np.asarray(arrays[name])
    array = array.transpose(3, 2, 0, 1) if array.ndim == 4 else array
    parts.setdefault(torch_name(name), []).append(array)
  return {name: torch.tensor(np.concatenate(p, 1) if p[1:] else p[0]) for name, p in parts.items()}


def from_torch(
  tensors: Mapping[str, torch.Tensor], like: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
  """The inverse of `to_torch` for the names and shapes of `like`; every tensor has to be used."""
  arrays, used = {}, dict.fromkeys(tensors, 0)
  for name in sorted(like):
    source = torch_name(name)
    array = tensors[source].detach().numpy()
    if array.ndim == 4:
      first = used[source]
      array = array[:, first : first + like[name].shape[2]].transpose(2, 3, 1, 0)
    assert array.shape == like[name].shape, name
    used[source] += array.shape[2] if array.ndim == 4 else array.shape[0]
    arrays[name] = array
  for source, tensor in tensors.items():
    assert used[source] == tensor.shape[1 if tensor.ndim == 4 else 0], f'{source} is left over'
  return arrays


def load(model: TorchPSPNet, params: Mapping, batch_stats: Mapping) -> TorchPSPNet:
  """Copies our arrays into the model, in their dtype; a key unused or unfilled raises."""
  state = to_torch({**params, **batch_stats})
  counters = {k: v for k, v in model.state_dict().items() if k.endswith('num_batches_tracked')}
  model.to(next(iter(state.values())).dtype).load_state_dict({**state, **counters}, strict=True)
  return model


def keep_biased_variance(model: nn.Module) -> nn.Module:
  """Makes running_var average biased variances, as Caffe and Flax do; torch's are n/(n-1) times."""

  def before(layer, inputs):
    layer.old_var = layer.running_var.clone()

  def after(layer, inputs, output):
    if layer.training:
      n = output.numel() / output.shape[1]
      new = layer.running_var - (1 - layer.momentum) * layer.old_var
      layer.running_var = layer.running_var - new / n

  for layer in model.modules():
    if isinstance(layer, nn.BatchNorm2d):
      layer.register_forward_pre_hook(before)
      layer.register_forward_hook(after)
  return model


def random_arrays(shapes: Mapping, seed: int = 0, dtype=np.float32) -> dict[str, np.ndarray]:
  """Values that hide no mistake: no statistic, scale or bias is 0 or 1. Activations stay near 1."""
  rng = np.random.default_rng(seed)
  draw = {
    'kernel': lambda s: rng.normal(size=s) / np.sqrt(np.prod(s[:-1])),
    'scale': lambda s: rng.uniform(0.4, 1.2, s),
    'bias': lambda s: rng.normal(size=s) * 0.2,
    'mean': lambda s: rng.normal(size=s) * 0.3,
    'var': lambda s: rng.uniform(0.5, 1.5, s),
  }
  arrays = {}
  for name in sorted(shapes):
    leaf = 'kernel' if 'kernel' in name else name.rsplit('/', 1)[1]
    arrays[name] = draw[leaf](shapes[name].shape).astype(dtype)
  return arrays


def nchw(x: np.ndarray) -> torch.Tensor:
  return torch.tensor(np.moveaxis(np.asarray(x), -1, 1))


def nhwc(x: torch.Tensor) -> np.ndarray:
  return np.moveaxis(x.detach().numpy(), 1, -1)
