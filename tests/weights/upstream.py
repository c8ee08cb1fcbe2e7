"""The authors' own code behind the interface of peer.py, for comparisons outside the test suite.

Nothing of it is here. PSPNET_UPSTREAM names a folder with checkouts of

  semseg                         github.com/hszhao/semseg
  semantic-segmentation-pytorch  github.com/CSAILVision/semantic-segmentation-pytorch
  PSPNet                         github.com/hszhao/PSPNet, of which only prototxts are read

and mmsegmentation has to be importable (pip install mmsegmentation mmcv-lite mmengine ftfy regex).
What is missing is left out.
"""

from __future__ import annotations

import importlib.util
import re
import sys
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812

from tests.weights import caffe_files
from tests.weights.peer import Peer
from tests.weights.rebuilt import mmseg_files, semseg_files


def authors(folder: Path) -> dict[str, Callable[..., Any]]:
  """Source -> its network, of (depth, num_classes, **options)."""
  found: dict[str, Callable[..., Any]] = {}
  for name, repository, network in (
    ('semseg', 'semseg', Semseg),
    ('mit', 'semantic-segmentation-pytorch', Mit),
  ):
    if (folder / repository).is_dir():
      sys.path.insert(0, str(folder / repository))
      found[name] = network
  if importlib.util.find_spec('mmseg'):
    found['mmseg'] = Mmseg
  if (prototxts := folder / 'PSPNet' / 'evaluation' / 'prototxt').is_dir():
    found['caffe'] = lambda depth, num_classes: Caffe(prototxts, depth, num_classes)
  return found


class Semseg(Peer):
  def __init__(self, depth: int, num_classes: int):
    super().__init__()
    from model.pspnet import PSPNet

    self.network = PSPNet(layers=depth, classes=num_classes, pretrained=False)

  @property
  def classifier(self):
    return self.network.cls[4]

  def forward(self, image):
    return self.network(image)

  def files(self):
    return semseg_files(self.network)


class Mit(Peer):
  def __init__(self, depth: int, num_classes: int):
    super().__init__()
    from mit_semseg.models import models, resnet

    features = 2048 if depth >= 50 else 512
    undilated = vars(resnet)[f'resnet{depth}'](pretrained=False)
    self.encoder = models.ResnetDilated(undilated, dilate_scale=8)
    self.decoder = models.PPMDeepsup(num_class=num_classes, fc_dim=features, use_softmax=True)

  @property
  def classifier(self):
    return self.decoder.conv_last[4]

  def forward(self, image):
    features = self.encoder(image, return_feature_maps=True)
    with mock.patch.object(F, 'softmax', lambda x, dim: x):  # it returns probabilities only
      return self.decoder(features, segSize=image.shape[2:])

  def files(self):
    parts = {'encoder': self.encoder, 'decoder': self.decoder}
    return {f'{name}_epoch_20.pth': part.state_dict() for name, part in parts.items()}


class Mmseg(Peer):
  """Built from the config files that the package carries."""

  def __init__(
    self,
    depth: int,
    num_classes: int,
    *,
    stem: str = 'v1c',
    align_corners: bool = False,
    output_stride: int = 8,
  ):
    super().__init__()
    sys.modules.setdefault('mmcv._ext', _NoOps('mmcv._ext'))
    import mmseg
    import mmseg.models
    from mmengine import Config
    from mmengine.registry import init_default_scope

    data = 'ade20k-512x512' if num_classes == 150 else 'cityscapes-512x1024'
    data = 'cityscapes-769x769' if align_corners else data
    schedule = '4xb4-160k' if num_classes == 150 else '4xb2-80k'
    name = f'pspnet_r{depth}{"" if stem == "v1c" else "b"}-d{output_stride}_{schedule}_{data}.py'
    if (depth, stem) == (50, '7x7'):  # has no file of its own: as 101b has
      name = name.replace('r50b', 'r101b')
    path = Path(mmseg.__file__).parent / '.mim' / 'configs' / 'pspnet' / name
    model = Config.fromfile(str(path)).model
    if depth == 50:
      model.backbone.depth = 50
    model.pretrained = model.backbone.init_cfg = None
    for part in (model.backbone, model.decode_head, model.auxiliary_head):
      part.norm_cfg.type = 'BN'  # SyncBN is for several GPUs
    model.data_preprocessor.test_cfg = None
    self.pixels = model.data_preprocessor
    init_default_scope('mmseg')
    self.network = mmseg.registry.MODELS.build(model)

  @property
  def classifier(self):
    return self.network.decode_head.conv_seg

  @torch.no_grad()
  def logits(self, image: np.ndarray, dtype: torch.dtype = torch.float32) -> np.ndarray:
    """Goes through mmseg's own preprocessor, which takes blue first."""
    network = self.eval().to(dtype).network
    x = torch.tensor(image[:, :, ::-1].copy()).permute(2, 0, 1)
    if dtype == torch.float32:
      x = network.data_preprocessor({'inputs': [x], 'data_samples': None})['inputs']
    else:  # it works in float32, so by hand from the config's values
      mean, std = (
        torch.tensor(self.pixels[k], dtype=dtype)[:, None, None] for k in ('mean', 'std')
      )
      x = ((x[[2, 1, 0]] - mean) / std)[None]
    return network.encode_decode(x, [{'img_shape': x.shape[2:]}])[0].permute(1, 2, 0).numpy()

  def files(self):
    return mmseg_files(self.network, self.classifier.out_channels)


class _NoOps(types.ModuleType):
  """Stands for mmcv's compiled operations: mmseg imports them for networks other than PSPNet."""

  def __getattr__(self, name: str) -> Any:
    if name.startswith('__'):
      raise AttributeError(name)
    return lambda *arguments: None


class Caffe(caffe_files.Caffe):
  """Runs a prototxt layer by layer, as Caffe's layers are defined (src/caffe/layers/)."""

  def __init__(self, prototxts: Path, depth: int, num_classes: int):
    super().__init__(depth, num_classes)
    (path,) = (
      p
      for p in prototxts.glob(f'pspnet{depth}_*.prototxt')
      if f'num_output: {num_classes}\n' in p.read_text()
    )
    self.layers = _parsed(path.read_text())['layer']
    self.blobs = {  # without the auxiliary head, which is in no prototxt
      layer['name'][0]: self.blobs[layer['name'][0]]
      for layer in self.layers
      if layer['name'][0] in self.blobs
    }

  def logits(self, image: np.ndarray, dtype: torch.dtype = torch.float32, settle=None):
    """evaluation/scale_process.m hands over blue first, the mean taken off."""
    blobs = {n: [torch.from_numpy(x).to(dtype) for x in xs] for n, xs in self.blobs.items()}
    mean = torch.tensor([103.939, 116.779, 123.68], dtype=dtype)
    tops = {'data': (torch.tensor(image[:, :, ::-1].copy()) - mean).permute(2, 0, 1)[None]}
    for layer in self.layers:
      (name,), (kind,), (top,) = layer['name'], layer['type'], layer['top']
      bottoms = [tops[b] for b in layer['bottom']]
      tops[top] = _LAYERS[kind](bottoms, layer, blobs.get(name), settle)
    return tops[top][0].permute(1, 2, 0).numpy()


def _convolution(bottoms, layer, blobs, settle):
  (p,) = layer['convolution_param']
  kernel, *bias = blobs
  size, outputs = int(p['kernel_size'][0]), int(p['num_output'][0])
  assert kernel.shape == (outputs, bottoms[0].shape[1], size, size)
  assert len(bias) == (p.get('bias_term') != ['false'])
  stride, pad, dilation = (
    int(p.get(key, [default])[0]) for key, default in (('stride', 1), ('pad', 0), ('dilation', 1))
  )
  return F.conv2d(bottoms[0], kernel, *(bias or [None]), stride, pad, dilation)


def _bn(bottoms, layer, blobs, settle):
  (x,), (slope, bias, mean, variance) = bottoms, blobs
  if settle is not None:
    settle(x, mean, variance)
  eps = float(layer['bn_param'][0].get('eps', [1e-5])[0])
  return (x - mean) / (variance + eps).sqrt() * slope + bias


def _pooling(bottoms, layer, blobs, settle):
  """Sizes are rounded up; the averages here have no padding."""
  ((p,), (x,)) = layer['pooling_param'], bottoms
  size, stride, pad = int(p['kernel_size'][0]), int(p['stride'][0]), int(p.get('pad', [0])[0])
  if p['pool'] == ['MAX']:
    return F.max_pool2d(x, size, stride, pad, ceil_mode=True)
  assert p['pool'] == ['AVE'] and pad == 0
  return F.avg_pool2d(x, size, stride, ceil_mode=True)


def _interp(bottoms, layer, blobs, settle):
  """Corners aligned (src/caffe/util/interp.cpp)."""
  ((p,), (x,)) = layer['interp_param'], bottoms
  if 'zoom_factor' in p:
    size = [n + (n - 1) * (int(p['zoom_factor'][0]) - 1) for n in x.shape[2:]]
  else:
    size = [int(p['height'][0]), int(p['width'][0])]
  return F.interpolate(x, size, mode='bilinear', align_corners=True)


_LAYERS: Mapping[str, Callable[..., torch.Tensor]] = {
  'Convolution': _convolution,
  'BN': _bn,
  'Pooling': _pooling,
  'Interp': _interp,
  'ReLU': lambda bottoms, *_: F.relu(bottoms[0]),
  'Eltwise': lambda bottoms, *_: bottoms[0] + bottoms[1],
  'Concat': lambda bottoms, *_: torch.cat(bottoms, 1),
  'Dropout': lambda bottoms, *_: bottoms[0],
}


def _parsed(text: str) -> dict[str, list[Any]]:
  """Protobuf's text format: a field has as many values as it is given."""
  tokens = re.findall(r'[{}]|"[^"]*"|[^\s:{}"]+', re.sub(r'#.*', '', text))

  def message(tokens: list[str]) -> dict[str, list[Any]]:
    fields: dict[str, list[Any]] = {}
    while tokens and (key := tokens.pop()) != '}':
      value = tokens.pop()
      fields.setdefault(key, []).append(message(tokens) if value == '{' else value.strip('"'))
    return fields

  return message(tokens[::-1])
