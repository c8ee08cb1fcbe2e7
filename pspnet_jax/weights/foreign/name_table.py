"""Translates the names of a checkpoint's arrays to ours and back, by a table for each origin.

A row names a layer twice, numbers in braces: ('backbone/stage{s}/{b}/conv1/conv',
'layer{s}.{b}.conv1'). `{b+1}` is the number counted from one. The bottleneck's kernel, which the
network stores in parts, is `bottleneck/conv/kernel` here.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Iterable, Mapping

import numpy as np

from pspnet_jax.errors import UserError

NamedArrays = dict[str, np.ndarray]
Leaves = Mapping[str, Mapping[str, str]]  # kind of layer -> our array -> what their key ends in

_FIELD = re.compile(r'\{(\w)(\+1)?\}')
_TORCH_LEAVES: Leaves = {
  'conv': {'kernel': '.weight', 'bias': '.bias'},
  'bn': {'scale': '.weight', 'bias': '.bias', 'mean': '.running_mean', 'var': '.running_var'},
}
# What batch normalisation keeps beside its statistics, three of them MIT's own; and what thop,
# which counts operations, leaves in every layer.
COUNTERS = tuple(
  rf'.*\.{name}'
  for name in (
    *('num_batches_tracked', '_running_iter', '_tmp_running_mean', '_tmp_running_var'),
    *('total_ops', 'total_params'),
  )
)
_JOINED, _FEATURES = 'bottleneck/conv/kernel', 'bottleneck/kernel'
_LEVEL = 'bottleneck/level_kernels/{}'


def conv_bn(ours: str, conv: str, bn: str) -> tuple[tuple[str, str], ...]:
  """The two rows of a convolution and its batch normalisation."""
  return ((f'{ours}/conv', conv), (f'{ours}/bn', bn))


def torch_stages(prefix: str = '', *, avg_down: bool = False) -> tuple[tuple[str, str], ...]:
  """The four stages as torchvision named them, and everyone after.

  A pooling ahead of a projection (`avg_down`) has no array, but it counts.
  """
  block, theirs = 'backbone/stage{s}/{b}', prefix + 'layer{s}.{b}'
  conv, bn = (f'{theirs}.downsample.{i + avg_down}' for i in (0, 1))
  return (
    *conv_bn(block + '/conv{k}', theirs + '.conv{k}', theirs + '.bn{k}'),
    *conv_bn(block + '/projection', conv, bn),
  )


@dataclasses.dataclass(frozen=True)
class NameTable:
  """How an origin names its arrays.

  Args:
    layers: our template and theirs, a row a layer.
    ignored: regular expressions of keys that are left out on purpose.
    leaves: how the arrays of a convolution ('conv') and a batch normalisation ('bn') are called.
    levels_reversed: whether the pyramid's levels are concatenated 6, 3, 2, 1 instead of 1, 2, 3, 6.
    bgr: whether the first convolution takes blue first.
    dotted: whether names are paths, as in PyTorch.
    biased: whether a convolution may have a bias ahead of a normalisation. It is taken off the
      normalisation's mean, which is the same function.
  """

  layers: tuple[tuple[str, str], ...]
  ignored: tuple[str, ...] = COUNTERS
  leaves: Leaves = dataclasses.field(default_factory=lambda: _TORCH_LEAVES)
  levels_reversed: bool = False
  bgr: bool = False
  dotted: bool = True
  biased: bool = False

  def ours(self, key: str) -> str | None:
    """Our name for their key; None if no layer has it."""
    for our_layer, their_layer in self.layers:
      for leaf, suffix in self.leaves[our_layer.rsplit('/', 1)[1]].items():
        if key.endswith(suffix):
          numbers = _numbers(their_layer, key.removesuffix(suffix))
          if numbers is not None:
            return f'{_filled(our_layer, numbers)}/{leaf}'
    return None

  def theirs(self, name: str) -> str:
    """Their key for our name, parts of the bottleneck's kernel included; KeyError if none."""
    if name == _FEATURES or _numbers(_LEVEL.format('{i}'), name) is not None:
      name = _JOINED
    layer, leaf = name.rsplit('/', 1)
    for our_layer, their_layer in self.layers:
      numbers = _numbers(our_layer, layer)
      if numbers is not None:
        return _filled(their_layer, numbers) + self.leaves[layer.rsplit('/', 1)[1]][leaf]
    raise KeyError(name)

  def is_foreign(self, key: str) -> bool:
    """Whether a key can be no part of this network: nothing there begins as it does.

    Foreign are an ImageNet classifier or the queue of a contrastive method. `layer1.0.se.weight` is
    not: what stands within a network's own parts would change what it computes.
    """
    return self.dotted and _beginning(key) not in _beginnings(self.layers)

  def is_ignored(self, key: str) -> bool:
    """Whether an array is left out without a word: counters, and an ImageNet classifier."""
    return any(re.fullmatch(pattern, key) for pattern in self.ignored)

  def to_ours(self, tensors: Mapping[str, np.ndarray], where: str) -> NamedArrays:
    """Their arrays by our names, in our layout, float32.

    Raises:
      UserError: if a key belongs to no layer, or an array is no float or has the wrong rank.
    """
    arrays: NamedArrays = {}
    unused = []
    for key, tensor in tensors.items():
      if self.is_ignored(key):
        continue
      name = self.ours(key)
      if name is None or name in arrays:
        unused.append(key)
        continue
      arrays[name] = _to_layout(name, tensor, f'{where}: {shown(key)}')
    if unused:
      raise UserError(
        f'{where}: {listed(unused)} belong(s) to no layer as this source names them: '
        'give a file of an unchanged network.'
      )
    if self.biased:
      self._fold_biases(arrays, where)
    if self.bgr and (first := 'backbone/stem/convs/0/conv/kernel') in arrays:
      arrays[first] = arrays[first][:, :, ::-1]
    return self._split_bottleneck(arrays, where)

  def to_theirs(self, arrays: Mapping[str, np.ndarray]) -> NamedArrays:
    """The inverse of `to_ours`, bit for bit: our arrays by their keys, in their layout."""
    joined = {name: np.asarray(array) for name, array in arrays.items()}
    levels: list[np.ndarray] = []
    while (name := _LEVEL.format(len(levels))) in joined:
      levels.append(joined.pop(name))
    features = joined.pop(_FEATURES)
    levels = levels[::-1] if self.levels_reversed else levels
    joined[_JOINED] = np.concatenate([features, *levels], 2)
    if self.bgr:
      first = 'backbone/stem/convs/0/conv/kernel'
      joined[first] = joined[first][:, :, ::-1]
    return {
      self.theirs(name): np.ascontiguousarray(x.transpose(3, 2, 0, 1) if x.ndim == 4 else x)
      for name, x in joined.items()
    }

  def _fold_biases(self, arrays: NamedArrays, where: str) -> None:
    for name in [n for n in arrays if n.endswith('/conv/bias')]:
      mean = name.removesuffix('conv/bias') + 'bn/mean'
      if mean not in arrays:  # a classifier's
        continue
      bias = arrays.pop(name)
      if bias.shape != arrays[mean].shape:
        raise UserError(
          f'{where}: {self.theirs(name)} has shape {bias.shape} and {self.theirs(mean)} '
          f'{arrays[mean].shape}, which should be the same: give an unchanged file.'
        )
      with np.errstate(over='ignore'):
        arrays[mean] = _finite(arrays[mean] - bias, f'{where}: {self.theirs(name)}')

  def _split_bottleneck(self, arrays: NamedArrays, where: str) -> NamedArrays:
    if _JOINED not in arrays:
      return arrays
    kernel = arrays.pop(_JOINED)  # [3, 3, features + levels, O]
    widths: list[int] = []
    while (name := f'pyramid/reductions/{len(widths)}/conv/kernel') in arrays:
      widths.append(arrays[name].shape[3])
    order = list(range(len(widths)))[:: -1 if self.levels_reversed else 1]
    first = kernel.shape[2] - sum(widths)
    if first < 1:
      raise UserError(
        f'{where}: {self.theirs(_JOINED)} takes {kernel.shape[2]} channels, too few for pyramid '
        f'levels of {widths}: give an unchanged file.'
      )
    arrays[_FEATURES] = kernel[:, :, :first]
    for level in order:
      arrays[_LEVEL.format(level)] = kernel[:, :, first : first + widths[level]]
      first += widths[level]
    return arrays


def _to_layout(name: str, tensor: np.ndarray, where: str) -> np.ndarray:
  if not np.issubdtype(tensor.dtype, np.floating):
    raise UserError(f'{where} holds {tensor.dtype}, not floats: give a file without quantisation.')
  if not tensor.size:
    raise UserError(f'{where} is empty, of shape {tensor.shape}: give an unchanged file.')
  with np.errstate(over='ignore'):  # float64 may be beyond float32: not finite then
    array = tensor.astype(np.float32, copy=False)
  array = _finite(array, where)
  if name.endswith('/kernel'):
    if array.ndim != 4:
      raise UserError(f'{where} has shape {array.shape}, and a convolution has four axes: mend it.')
    return array.transpose(2, 3, 1, 0)  # [O, I, k, k] -> [k, k, I, O]
  if max(array.shape, default=0) != array.size:  # Caffe's are [1, C, 1, 1]
    raise UserError(f'{where} has shape {array.shape}, and one value a channel is needed: mend it.')
  if name.endswith('/var') and (negative := int((array < 0).sum())):
    raise UserError(
      f'{where}, a variance, is below zero in {negative} of {array.size} channels: give a file of '
      'a sound network.'
    )
  return array.reshape(-1)


def _finite(array: np.ndarray, where: str) -> np.ndarray:
  if not np.isfinite(array).all():
    raise UserError(f'{where} is not finite everywhere: give a file of a sound network.')
  return array


def _beginning(key: str) -> str:
  """The first part of a name, numbers as 0."""
  return re.sub(r'\d+|\{.*?\}', '0', key.partition('.')[0])


@functools.cache
def _beginnings(layers: tuple[tuple[str, str], ...]) -> frozenset[str]:
  return frozenset(_beginning(theirs) for _, theirs in layers)


def shown(name: str) -> str:
  """A name from a file as it can stand in a sentence: in one line, without control characters."""
  return ''.join(c if c.isprintable() else '\N{REPLACEMENT CHARACTER}' for c in name[:100])


def listed(names: Iterable[str], most: int = 4) -> str:
  """Joins names as 'a, b, c and 7 more'."""
  names = sorted(map(shown, names))
  more = f' and {len(names) - most} more' if len(names) > most else ''
  return ', '.join(names[:most]) + more


@functools.cache
def _pattern(template: str) -> re.Pattern[str]:
  pieces, end = [], 0
  for field in _FIELD.finditer(template):
    pieces += [re.escape(template[end : field.start()]), rf'(?P<{field[1]}>\d+)']
    end = field.end()
  return re.compile(''.join(pieces) + re.escape(template[end:]))


def _numbers(template: str, text: str) -> dict[str, int] | None:
  """The numbers that `text` has where `template` has braces; None if it is another text."""
  found = _pattern(template).fullmatch(text)
  if found is None:
    return None
  return {f: int(x) - (f'{{{f}+1}}' in template) for f, x in found.groupdict().items()}


def _filled(template: str, numbers: Mapping[str, int]) -> str:
  return _FIELD.sub(lambda field: str(numbers[field[1]] + bool(field[2])), template)
