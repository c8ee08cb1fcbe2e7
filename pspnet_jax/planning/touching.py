"""Which bytes an instruction touches, of what it reads and of what it writes.

A fusion reads its operands and writes its results once; whatever is within it stays on the chip. Of
an array that is only sliced, or updated in place, what is touched counts.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pspnet_jax.planning.hlo import Array, Computation, Instruction

COLLECTIVES = (
  *('all-reduce', 'all-gather', 'reduce-scatter', 'all-to-all'),
  *('collective-permute', 'collective-broadcast'),
)
MOVES_NOTHING = {'ConcatBitcast', 'Sharding', 'SPMDFullToShardShape', 'SPMDShardToFullShape'}
# What takes more than one element of its operand for one of its result.
_WHOLE = ('reduce-window', 'convolution', 'dot', 'sort', 'select-and-scatter', 'fusion')


class Touched(NamedTuple):
  """Bytes of an array that an instruction reads, or writes."""

  array: Array
  bytes: float
  operand: str | None = None  # the instruction that made what is read; None: this one writes it


def collective(instruction: Instruction) -> str | None:
  """The kind of message between devices that an instruction sends, if it sends one."""
  opcode = instruction.opcode.removesuffix('-start')
  return opcode if opcode in COLLECTIVES else None


def touched(
  instruction: Instruction, computation: Computation, computations: Mapping[str, Computation]
) -> list[Touched]:
  """What an instruction of `computation` reads, then what it writes."""
  opcode, results = instruction.opcode, list(instruction.arrays)
  if instruction.attribute('custom_call_target') in MOVES_NOTHING:
    return []
  if opcode == 'fusion':
    return _of_fusion(instruction, computation, computations[instruction.called[0]])
  read = [
    Touched(array, array.bytes, name)
    for name in instruction.operands
    for array in computation.instructions[name].arrays
  ]
  if opcode in ('copy-start', 'slice-start', 'dynamic-slice-start'):
    # (destination, source, ...) of a copy; ((source, ...), destination, ...) of a slice.
    results = [results[0] if opcode == 'copy-start' else results[len(read)]]
    read[0] = read[0]._replace(bytes=results[0].bytes)
  elif opcode in ('dynamic-slice', 'slice', 'gather'):
    share = min(results[0].size / max(read[0].array.size, 1), 1)
    read[0] = read[0]._replace(bytes=share * read[0].bytes)
  elif opcode == 'dynamic-update-slice':
    return [*read[1:], Touched(results[0], read[1].bytes)]
  elif opcode == 'scatter':  # adds to what is there
    read[0] = read[0]._replace(bytes=min(read[-1].bytes, read[0].bytes))
    return [*read, Touched(results[0], read[0].bytes)]
  elif collective(instruction) and len(results) > len(read):  # (operands, results)
    results = results[len(results) // 2 :]
  elif opcode == 'custom-call' and len(results) > 1 and _is_scratch(results[-1]):
    results.pop()
  return [*read, *(Touched(array, array.bytes) for array in results)]


def _is_scratch(array: Array) -> bool:
  return array.dtype in ('s8', 'u8') and len(array.shape) == 1


def _of_fusion(fusion: Instruction, computation: Computation, inner: Computation) -> list[Touched]:
  needed, found = _Needed(inner), []
  for name, parameter in zip(fusion.operands, inner.parameters, strict=True):
    if share := needed.share(parameter.name):
      arrays = computation.instructions[name].arrays
      found += [Touched(array, share * array.bytes, name) for array in arrays]
  for array, made in zip(fusion.arrays, _results(inner), strict=False):
    update = _in_place(made, inner)
    found.append(Touched(array, array.bytes if update is None else update))
  return found


def _results(computation: Computation) -> Sequence[Instruction]:
  root = computation.root
  if root.opcode != 'tuple':
    return [root] * len(root.arrays)
  return [computation.instructions[name] for name in root.operands]


def _in_place(made: Instruction, computation: Computation) -> int | None:
  """Bytes that a result differs in from the parameter that it overwrites, if it does that."""
  while made.opcode == 'bitcast':
    made = computation.instructions[made.operands[0]]
  if made.opcode not in ('dynamic-update-slice', 'scatter'):
    return None
  old = computation.instructions.get(computation.source(made.operands[0]))
  if old is None or old.opcode != 'parameter':
    return None
  update = made.operands[1] if made.opcode == 'dynamic-update-slice' else made.operands[-1]
  return sum(array.bytes for array in computation.instructions[update].arrays)


class _Needed:
  """Which share of each value in a fused computation is computed at all."""

  def __init__(self, computation: Computation):
    self._computation = computation
    self._roots = {computation.root.name, *(x.name for x in _results(computation))}
    self.share = functools.cache(self._share)

  def _share(self, name: str) -> float:
    if name in self._roots:
      return 1.0
    users = self._computation.users[name]
    return min(sum((self._share_for(name, user) for user in users), 0.0), 1.0)

  def _share_for(self, name: str, user: Instruction) -> float:
    whole = sum(x.size for x in self._computation.instructions[name].arrays)
    made = sum(x.size for x in user.arrays)
    if user.operands[0] == name:
      if user.opcode in ('slice', 'dynamic-slice', 'gather'):
        return self.share(user.name) * made / max(whole, 1)
      changed = _in_place(user, self._computation)
      if user.opcode == 'dynamic-update-slice' and changed is not None:
        return 0.0  # what is overwritten need not be read
      if user.opcode == 'scatter' and changed is not None:
        return changed / max(self._computation.instructions[name].arrays[0].bytes, 1)
    if made == whole and user.opcode not in _WHOLE:
      return self.share(user.name)  # element by element, or in another order
    return 1.0 if self.share(user.name) else 0.0
