"""Caffe's network, written out from its prototxts on its own, and .caffemodel files as Caffe's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from tests.weights.peer import BRANCH, near_statistics
from tests.weights.rebuilt import BLOCKS


def blobs_of(depth=50, *, stem=(4, 4, 8), width=4, head=12, aux=6, classes=5, seed=0):
  """Layer -> its blobs, with the shapes and in the order of a .caffemodel."""
  rng = np.random.default_rng(seed)
  blobs: dict[str, list[np.ndarray]] = {}

  def conv(name, c_in, c_out, k, bias=False):
    kernel = rng.normal(size=(c_out, c_in, k, k)) / np.sqrt(c_in * k * k)
    # The image goes in with its 255 levels, and no deviation takes them down.
    kernel = kernel / 50 if c_in == 3 else kernel
    blobs[name] = [kernel, rng.normal(size=c_out)] if bias else [kernel]

  def conv_bn(name, c_in, c_out, k):
    conv(name, c_in, c_out, k)
    slope, bias = rng.uniform(0.4, 1.2, c_out), rng.normal(size=c_out) * 0.2
    mean, variance = rng.normal(size=c_out) * 0.3, rng.uniform(0.5, 1.5, c_out)
    blobs[f'{name}/bn'] = [x.reshape(1, -1, 1, 1) for x in (slope, bias, mean, variance)]

  c = 3
  for name, c_out in zip(('conv1_1_3x3_s2', 'conv1_2_3x3', 'conv1_3_3x3'), stem, strict=True):
    conv_bn(name, c, c_out, 3)
    c = c_out
  for s, count in enumerate(BLOCKS[depth], 2):
    for b in range(1, count + 1):
      w, name = width * 2 ** (s - 2), f'conv{s}_{b}'
      conv_bn(f'{name}_1x1_reduce', c, w, 1)
      conv_bn(f'{name}_3x3', w, w, 3)
      conv_bn(f'{name}_1x1_increase', w, 4 * w, 1)
      if b == 1:
        conv_bn(f'{name}_1x1_proj', c, 4 * w, 1)
      c = 4 * w
  for bins in (1, 2, 3, 6):
    conv_bn(f'conv5_3_pool{bins}_conv', c, c // 4, 1)
  conv_bn('conv5_4', 2 * c, head, 3)
  conv('conv6', head, classes, 1, bias=True)
  if aux:
    conv_bn(f'conv4_{BLOCKS[depth][2] + 1}', c // 2, aux, 3)
    conv('conv6_1', aux, classes, 1, bias=True)
  return {name: [x.astype(np.float32) for x in xs] for name, xs in blobs.items()}


def logits_of(
  blobs, image: np.ndarray, depth: int = 50, dtype: torch.dtype = torch.float32, settle=None
) -> np.ndarray:
  """Caffe's [H, W, classes] of an RGB image uint8 [H, W, 3] whose sides are 48k - 7.

  `settle(x, mean, variance)` is shown what each batch normalisation gets, and may fill its blobs.
  """
  blobs = {name: [torch.from_numpy(x).to(dtype) for x in xs] for name, xs in blobs.items()}
  blue_green_red = torch.tensor([103.939, 116.779, 123.68], dtype=dtype)
  x = (torch.tensor(image[:, :, ::-1].copy()) - blue_green_red).permute(2, 0, 1)

  def conv_bn(x, name, stride=1, dilation=1, relu=True):
    kernel = blobs[name][0]
    pad = dilation * (kernel.shape[2] // 2)
    x = F.conv2d(x, kernel, stride=stride, padding=pad, dilation=dilation)
    slope, bias, mean, variance = blobs[f'{name}/bn']
    if settle is not None:
      settle(x, mean, variance)
    x = (x - mean) / torch.sqrt(variance + 1e-5) * slope + bias
    return F.relu(x) if relu else x

  def interp(x, size):
    return F.interpolate(x, size, mode='bilinear', align_corners=True)

  x = conv_bn(x[None], 'conv1_1_3x3_s2', stride=2)
  x = conv_bn(conv_bn(x, 'conv1_2_3x3'), 'conv1_3_3x3')
  x = F.max_pool2d(x, 3, 2, 1, ceil_mode=True)
  for s, count in enumerate(BLOCKS[depth], 2):
    dilation = {4: 2, 5: 4}.get(s, 1)
    for b in range(1, count + 1):
      name, stride = f'conv{s}_{b}', 2 if (s, b) == (3, 1) else 1
      in_1x1 = depth == 50  # the 50-layer prototxt strides there, the 101-layer ones in the 3×3
      y = conv_bn(x, f'{name}_1x1_reduce', stride if in_1x1 else 1)
      y = conv_bn(y, f'{name}_3x3', 1 if in_1x1 else stride, dilation)
      y = conv_bn(y, f'{name}_1x1_increase', relu=False)
      x = F.relu(y + (conv_bn(x, f'{name}_1x1_proj', stride, relu=False) if b == 1 else x))
  size = x.shape[2:]
  concatenated = [x]
  for bins in (6, 3, 2, 1):
    kernel = (size[0] // bins, size[1] // bins)
    level = F.avg_pool2d(x, kernel, kernel, ceil_mode=True)
    concatenated.append(interp(conv_bn(level, f'conv5_3_pool{bins}_conv'), size))
  x = conv_bn(torch.cat(concatenated, 1), 'conv5_4')
  x = F.conv2d(x, *blobs['conv6'])
  x = interp(x, tuple(n + (n - 1) * 7 for n in size))  # zoom_factor 8
  return x[0].permute(1, 2, 0).numpy()


class Caffe:
  """The network at full size, with what the comparisons need (see peer.py)."""

  def __init__(self, depth: int, num_classes: int):
    self.depth = depth
    sizes = {'stem': (64, 64, 128), 'width': 64, 'head': 512, 'aux': 256, 'classes': num_classes}
    self.blobs = blobs_of(depth, **sizes)

  def logits(self, image: np.ndarray, dtype: torch.dtype = torch.float32, settle=None):
    return logits_of(self.blobs, image, self.depth, dtype, settle)

  def fill(self, image: np.ndarray, seed: int = 0) -> Caffe:
    generator = torch.Generator().manual_seed(seed)

    def settle(x, mean, variance):
      for blob, value in zip((mean, variance), near_statistics(x, generator), strict=True):
        blob.view(-1).copy_(value)

    for name, blobs in self.blobs.items():
      if name.endswith('_1x1_increase/bn'):
        blobs[0] *= BRANCH
    self.blobs['conv6'][1] -= self.logits(image, settle=settle).mean((0, 1))
    return self

  def write(self, folder: Path) -> list[Path]:
    return [caffemodel(folder / 'pspnet.caffemodel', self.blobs)]


def caffemodel(path: Path, blobs, *, legacy: bool = False, old_layers: bool = False) -> Path:
  """A NetParameter as Caffe writes it.

  `legacy` blobs have four fields instead of a shape; `old_layers` are those from before 2014.
  """
  net = _net_parameter()()
  net.name = 'pspnet'
  net.layer.add(name='data', type='Input')
  for name, arrays in blobs.items():
    if old_layers:
      layer = net.layers.add(name=name)
    else:
      kind = 'BNData' if name.endswith('/bn') else 'ConvolutionData'
      layer = net.layer.add(name=name, type=kind)
    for array in arrays:
      blob = layer.blobs.add()
      if legacy:
        shape = (1,) * (4 - array.ndim) + array.shape
        blob.num, blob.channels, blob.height, blob.width = shape
      else:
        blob.shape.dim.extend(array.shape)
      # All floats at once: field 5, packed, and how many bytes.
      blob.MergeFromString(b'\x2a' + _varint(array.nbytes) + array.astype('<f4').tobytes())
  path.write_bytes(net.SerializeToString())
  return path


def _varint(n: int) -> bytes:
  """Seven bits a byte, the lowest first; the eighth says that more follow."""
  return bytes([n]) if n < 128 else bytes([128 | n & 127]) + _varint(n >> 7)


def _net_parameter():
  """Written from caffe.proto: here the weights are floats."""
  kinds = descriptor_pb2.FieldDescriptorProto
  file = descriptor_pb2.FileDescriptorProto(name='test_caffe.proto', package='t', syntax='proto2')

  def message(name, *fields):
    made = file.message_type.add(name=name)
    for field_name, number, kind, label in fields:
      field = made.field.add(name=field_name, number=number, label=label)
      if isinstance(kind, str):
        field.type, field.type_name = kinds.TYPE_MESSAGE, f'.t.{kind}'
      else:
        field.type = kind
      if kind in (kinds.TYPE_FLOAT, kinds.TYPE_INT64):
        field.options.packed = True

  one, many = kinds.LABEL_OPTIONAL, kinds.LABEL_REPEATED
  legacy = [
    (name, i, kinds.TYPE_INT32, one)
    for i, name in enumerate(('num', 'channels', 'height', 'width'), 1)
  ]
  message('BlobShape', ('dim', 1, kinds.TYPE_INT64, many))
  message('BlobProto', *legacy, ('data', 5, kinds.TYPE_FLOAT, many), ('shape', 7, 'BlobShape', one))
  name_and_type = (('name', 1, kinds.TYPE_STRING, one), ('type', 2, kinds.TYPE_STRING, one))
  message('LayerParameter', *name_and_type, ('blobs', 7, 'BlobProto', many))
  message('V1LayerParameter', ('name', 4, kinds.TYPE_STRING, one), ('blobs', 6, 'BlobProto', many))
  message(
    'NetParameter',
    ('name', 1, kinds.TYPE_STRING, one),
    ('layers', 2, 'V1LayerParameter', many),
    ('layer', 100, 'LayerParameter', many),
  )
  pool = descriptor_pool.DescriptorPool()
  pool.Add(file)
  return message_factory.GetMessageClass(pool.FindMessageTypeByName('t.NetParameter'))
