"""Floating-point operations of the products in a compiled program; a multiply and an add are two.

What is counted is what runs, but for padding and the holes between the elements of a dilated image.
Other arithmetic is a sliver of a network's, and not counted.
"""

from __future__ import annotations

import functools
import json
import math
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from pspnet_jax.planning.hlo import Array, Instruction

Flops = dict[str, float]  # by what is multiplied, such as 'bf16' or 'f32 highest'


def of(instruction: Instruction, operands: Sequence[Array]) -> Flops:
  """The FLOPs of one instruction; nothing for what is no product."""
  opcode, call = instruction.opcode, instruction.attribute('custom_call_target')
  if opcode == 'dot':
    count = _of_dot(instruction, operands)
  elif opcode == 'convolution' or call.startswith('__cudnn$conv'):
    count = _of_convolution(instruction, operands, call)
  elif call.startswith('__cublas'):
    count = _of_gemm(instruction, operands)
  elif opcode == 'custom-call':
    count = _of_kernel(instruction)
  else:
    return {}
  return {_kind(instruction, operands): count} if count else {}


def total(parts: Iterable[Flops]) -> Flops:
  """The sum of each kind."""
  found: Flops = {}
  for part in parts:
    for kind, count in part.items():
      found[kind] = found.get(kind, 0) + count
  return found


def _of_dot(instruction: Instruction, operands: Sequence[Array]) -> float:
  contracted = _numbers(instruction.attribute('lhs_contracting_dims'))
  return _product(instruction.arrays[0], operands[0], contracted)


def _of_gemm(instruction: Instruction, operands: Sequence[Array]) -> float:
  numbers = _find(_config(instruction), 'dot_dimension_numbers') or {}
  contracted = [int(i) for i in numbers.get('lhs_contracting_dimensions', ())]
  return _product(instruction.arrays[0], operands[0], contracted)


def _product(result: Array, left: Array, contracted: Sequence[int]) -> float:
  return 2 * result.size * math.prod(left.shape[i] for i in contracted)


def _of_convolution(instruction: Instruction, operands: Sequence[Array], call: str) -> float:
  result = instruction.arrays[0]
  # A library's calls are described by the forward convolution that they belong to: an image and a
  # kernel that make sums, whichever of the three comes out.
  if call == '__cudnn$convBackwardInput':
    image, kernel, sums = result, operands[1], operands[0]
  elif call == '__cudnn$convBackwardFilter':
    image, kernel, sums = operands[0], result, operands[1]
  else:
    image, kernel, sums = operands[0], operands[1], result
  of_image, of_kernel, of_sums = re.split('_|->', instruction.attribute('dim_labels'))
  count = 2 * kernel.shape[of_kernel.index('i')]
  for label, side in zip(of_sums, sums.shape, strict=True):
    if not label.isdigit():
      count *= side
      continue
    window = _Window.along(int(label), instruction.attribute('window'))
    count *= _pairs(image.shape[of_image.index(label)], side, window)
  return count


class _Window(NamedTuple):
  """A convolution's window along one dimension."""

  size: int = 1
  stride: int = 1
  pad: int = 0  # before the first element
  lhs_dilate: int = 1
  rhs_dilate: int = 1

  @classmethod
  def along(cls, dimension: int, text: str) -> _Window:
    fields = dict(field.split('=') for field in text.split())
    values = {name: fields[name].split('x')[dimension] for name in cls._fields if name in fields}
    return cls(**{name: int(value.split('_')[0]) for name, value in values.items()})


@functools.cache
def _pairs(image: int, sums: int, window: _Window) -> int:
  """How many elements of the image, padding and holes left out, all sums along a side have."""
  starts = np.arange(sums) * window.stride - window.pad
  place = starts[:, None] + np.arange(window.size) * window.rhs_dilate
  inside = (place >= 0) & (place <= (image - 1) * window.lhs_dilate)
  return int((inside & (place % window.lhs_dilate == 0)).sum())


def _of_kernel(instruction: Instruction) -> float:
  """What a kernel of one's own says of itself, where it does."""
  estimate = _find(_config(instruction), 'cost_estimate') or {}
  return float(estimate.get('flops', 0))


def _kind(instruction: Instruction, operands: Sequence[Array]) -> str:
  dtype = operands[0].dtype if operands else 'unknown'
  found = instruction.attribute('operand_precision').lower()
  config = instruction.attributes
  if algorithm := re.search(r'algorithm"?[=:]"?(?:ALG_DOT|dot)_(\w+)', config):
    return f'{dtype} {algorithm[1].lower()}'
  if not found and (listed := re.search(r'"operand_precision":\[([^\]]*)\]', config)):
    found = listed[1].lower()
  precision = next((x for x in ('highest', 'high') if x in found), '')
  return f'{dtype} {precision}'.strip()


def _numbers(text: str) -> list[int]:
  return [int(x) for x in text.split(',') if x]


def _config(instruction: Instruction) -> Any:
  _, _, text = instruction.attributes.partition('backend_config=')
  try:
    return json.JSONDecoder().raw_decode(text)[0]
  except ValueError:
    return {}


def _find(config: Any, name: str) -> Any:
  """The value of a key, however deep it lies."""
  if not isinstance(config, dict):
    return None
  if name in config:
    return config[name]
  return next((x for x in (_find(v, name) for v in config.values()) if x is not None), None)
