"""Networks of other implementations: random values under their names, and files as they write them.

Renamed from the torch model of the tests, whose names are semseg's; for Caffe see caffe_files.py.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import torch

from tests.conftest import TINY
from tests.torch_pspnet import TorchPSPNet

CLASSES = 5
NARROW = dict(TINY, depth=50)
MMSEG = dict(NARROW, stem_channels=(2, 2, 4), contract_dilation=True, align_corners=False)


def model(num_classes: int = CLASSES, seed: int = 0, **options) -> TorchPSPNet:
  """A torch model in evaluation mode; no statistic, scale or bias of it is 0 or 1."""
  made = TorchPSPNet(num_classes, **options).eval()
  rng = np.random.default_rng(seed)
  for name, x in made.state_dict().items():
    if name.endswith('num_batches_tracked'):
      x.fill_(7)
    elif name.endswith('running_var'):
      x.copy_(torch.tensor(rng.uniform(0.5, 1.5, x.shape)))
    elif x.ndim == 4:
      x.copy_(torch.tensor(rng.normal(size=x.shape) / np.sqrt(x[0].numel())))
    elif name.endswith('.weight'):
      x.copy_(torch.tensor(rng.uniform(0.4, 1.2, x.shape)))
    else:
      x.copy_(torch.tensor(rng.normal(size=x.shape) * 0.2))
  return made


def renamed(state, rules) -> dict[str, torch.Tensor]:
  """Keys after the first rule (pattern, replacement) that matches; None drops the key."""
  new = {}
  for key, x in state.items():
    for pattern, replacement in rules:
      if re.match(pattern, key):
        if replacement is not None:
          new[re.sub(pattern, replacement, key)] = x
        break
    else:
      new[key] = x
  assert len(new) == len(state) or any(rule[1] is None for rule in rules)
  return new


_NO_HEADS = [(r'(ppm|cls|aux)\.', None)]
_MMSEG_HEADS = [
  (r'ppm\.features\.(\d)\.1\.', r'decode_head.psp_modules.\1.1.conv.'),
  (r'ppm\.features\.(\d)\.2\.', r'decode_head.psp_modules.\1.1.bn.'),
  (r'cls\.0\.', 'decode_head.bottleneck.conv.'),
  (r'cls\.1\.', 'decode_head.bottleneck.bn.'),
  (r'cls\.4\.', 'decode_head.conv_seg.'),
  (r'aux\.0\.', 'auxiliary_head.convs.0.conv.'),
  (r'aux\.1\.', 'auxiliary_head.convs.0.bn.'),
  (r'aux\.4\.', 'auxiliary_head.conv_seg.'),
]
_NUMBERED = [
  (rf'layer0\.{3 * i + j}\.', f'{kind}{i + 1}.')
  for i in range(3)
  for j, kind in enumerate(('conv', 'bn'))
]


def mmseg(state):
  one = state['layer0.0.weight'].shape[2] == 7
  stem = (
    [(r'layer0\.0\.', 'backbone.conv1.'), (r'layer0\.1\.', 'backbone.bn1.')]
    if one
    else [(r'layer0\.', 'backbone.stem.')]
  )
  return renamed(state, [*stem, (r'layer', 'backbone.layer'), *_MMSEG_HEADS])


def mit(state):
  """Encoder and decoder."""
  encoder = renamed(state, [*_NO_HEADS, *_NUMBERED])
  decoder = renamed(
    state,
    [
      (r'layer', None),
      (r'ppm\.features\.', 'ppm.'),
      (r'cls\.', 'conv_last.'),
      (r'aux\.4\.', 'conv_last_deepsup.'),
      (r'aux\.', 'cbr_deepsup.'),
    ],
  )
  encoder['bn1._tmp_running_mean'] = torch.zeros(4)
  encoder['bn1._running_iter'] = torch.ones(1)
  return encoder, decoder


def imagenet(state, kind):
  """A backbone's arrays; kinds are 'torchvision', 'numbered' (semseg, MIT), 'timm' and 'v1c'."""
  stem = {
    'torchvision': _NUMBERED,
    'numbered': _NUMBERED,
    'timm': [(r'layer0\.7\.', 'bn1.'), (r'layer0\.', 'conv1.')],
    'v1c': [(r'layer0\.', 'stem.')],
  }[kind]
  features = state['layer4.0.downsample.0.weight'].shape[0]
  head = {'fc.weight': torch.ones(10, features), 'fc.bias': torch.ones(10)}
  return renamed(state, [*_NO_HEADS, *stem]) | head


def pooled(state):
  """The names of a network whose shortcuts pool before they convolve."""
  rules = [(rf'(.*\.downsample)\.{i}\.', rf'\1.{i + 1}.') for i in (0, 1)]
  return renamed(state, rules)


def safetensors(path: Path, state, dtype: str = 'F32') -> Path:
  """The file that the safetensors library would write."""
  import json

  header, pieces, end = {'__metadata__': {'format': 'pt'}}, [], 0
  for name, x in state.items():
    is_float = x.is_floating_point()
    x = x.to(torch.bfloat16) if is_float and dtype == 'BF16' else x
    data = x.contiguous().view(torch.uint8).numpy().tobytes() if x.ndim else x.numpy().tobytes()
    header[name] = {
      'dtype': dtype if is_float else 'I64',
      'shape': list(x.shape),
      'data_offsets': [end, end + len(data)],
    }
    pieces.append(data)
    end += len(data)
  text = json.dumps(header).encode()
  path.write_bytes(len(text).to_bytes(8, 'little') + text + b''.join(pieces))
  return path
