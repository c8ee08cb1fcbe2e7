"""Floating-point operations of the products in a compiled program; a multiply and an add are two.

What is counted is what runs, holes between the elements of a dilated image left out. Other
arithmetic is a sliver of a network's, and not counted.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

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
  labels = instruction.attribute('dim_labels')
  _, kernel, _ = re.split('_|->', labels)
  result_array = instruction.arrays[0]
  # A library's calls are described by the forward convolution that they belong to: its result has
  # a sum over the window and the channels of the image for each element.
  if call == '__cudnn$convBackwardInput':
    sums, kernel_array = operands[0], operands[1]
  elif call == '__cudnn$convBackwardFilter':
    sums, kernel_array = operands[1], result_array
  else:
    sums, kernel_array = result_array, operands[1]
  window = instruction.attribute('window')
  taps = math.prod(_sides(window, 'size') or [1])
  holes = math.prod(_sides(window, 'lhs_dilate') or [1])
  return 2 * sums.size * taps * kernel_array.shape[kernel.index('i')] / holes


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


def _sides(window: str, name: str) -> list[int]:
  found = re.search(rf'\b{name}=([\dx]+)', window)
  return [int(x) for x in found[1].split('x')] if found else []


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
