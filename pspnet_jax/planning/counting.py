"""Memory traffic, arithmetic, calls and messages of a compiled program, instruction by instruction.

Every instruction reads its operands and writes its result, a fusion too, and whatever is within it
stays on the chip. Loops count as often as they run, and of branches the largest. Of an array that
is only sliced, or updated in place, what is touched counts.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import re
from collections.abc import Iterable, Sequence

from pspnet_jax.planning import arithmetic
from pspnet_jax.planning.hlo import Array, Computation, Instruction, Program

_FREE = {
  *('parameter', 'constant', 'tuple', 'get-tuple-element', 'bitcast', 'after-all'),
  *('partition-id', 'replica-id', 'optimization-barrier', 'opt-barrier', 'domain'),
}
_MOVES_NOTHING = {'ConcatBitcast', 'Sharding', 'SPMDFullToShardShape', 'SPMDShardToFullShape'}
_COLLECTIVES = (
  *('all-reduce', 'all-gather', 'reduce-scatter', 'all-to-all'),
  *('collective-permute', 'collective-broadcast'),
)


@dataclasses.dataclass(frozen=True)
class Work:
  """What an instruction does, in all the times that it runs.

  Attributes:
    computation: where it stands.
    times: how often it runs.
    memory: bytes read from and written to the device's memory, if no cache helps.
    cached: those of them that are read while they are in the second-level cache: written or read
      so short a time ago that everything since, whole arrays, fits.
    on_chip: bytes of arrays that the compiler keeps beside the arithmetic (a TPU's VMEM).
    flops: of its products, by what is multiplied.
  """

  instruction: Instruction
  computation: Computation
  times: int
  memory: float
  cached: float
  on_chip: float
  flops: arithmetic.Flops

  @property
  def is_product(self) -> bool:
    return bool(self.flops)


@dataclasses.dataclass
class Counted:
  """A program's work, and the loops of which nobody knows how often they run (counted once)."""

  work: list[Work]
  endless: list[str]

  @property
  def memory(self) -> float:
    return sum(x.memory for x in self.work)

  @property
  def cached(self) -> float:
    return sum(x.cached for x in self.work)

  @property
  def on_chip(self) -> float:
    return sum(x.on_chip for x in self.work)

  @property
  def flops(self) -> arithmetic.Flops:
    total: collections.Counter[str] = collections.Counter()
    for work in self.work:
      for kind, count in work.flops.items():
        total[kind] += count  # type: ignore[assignment]
    return dict(total)

  def calls(self) -> dict[tuple[str, str], int]:
    """How often each product or kernel of a library runs, by its name and its window."""
    found: collections.Counter[tuple[str, str]] = collections.Counter()
    for work in self.work:
      for kind in _products(work.instruction, work.computation):
        found[kind] += work.times
    return dict(found.most_common())

  def messages(self) -> dict[str, tuple[int, float]]:
    """How many messages between devices there are of each kind, and their bytes a device."""
    found: dict[str, tuple[int, float]] = {}
    for work in self.work:
      if kind := collective(work.instruction):
        sent = sum(x.bytes for x in _operands(work.instruction, work.computation))
        count, total = found.get(kind, (0, 0.0))
        found[kind] = count + work.times, total + work.times * sent
    return found


def collective(instruction: Instruction) -> str | None:
  """The kind of message between devices that an instruction sends, if it sends one."""
  opcode = instruction.opcode.removesuffix('-start')
  return opcode if opcode in _COLLECTIVES else None


def count(program: Program, *, cache_bytes: int = 0) -> Counted:
  """Counts what a program does.

  Args:
    program: the program, its instructions in the order in which they run.
    cache_bytes: size of the device's second-level cache; 0: it has none.
  """
  walk = _Walk(program, cache_bytes)
  return Counted(walk.through(program.entry, 1), walk.endless)


class _Cache:
  """The arrays that were used last, whole, as many as fit."""

  def __init__(self, capacity: int):
    self._capacity, self._used = capacity, 0
    self._sizes: collections.OrderedDict[str, int] = collections.OrderedDict()

  def __contains__(self, name: str) -> bool:
    return name in self._sizes

  def use(self, name: str, size: int) -> None:
    self._used -= self._sizes.pop(name, 0)
    self._sizes[name] = size
    self._used += size
    while self._used > self._capacity:
      self._used -= self._sizes.popitem(last=False)[1]


class _Walk:
  def __init__(self, program: Program, cache_bytes: int):
    self._program, self._cache_bytes = program, cache_bytes
    self.endless: list[str] = []

  def through(self, computation: Computation, times: int) -> list[Work]:
    cache, found = _Cache(self._cache_bytes), []
    for instruction in computation:
      opcode = instruction.opcode
      called = [self._program.computations[name] for name in instruction.called]
      if opcode in _FREE or opcode.endswith(('-done', '-update')):
        continue
      if opcode == 'while':
        turns = self._turns(instruction)
        for inner in called:
          found += self.through(inner, times * turns)
      elif opcode == 'conditional':
        branches = [self.through(branch, times) for branch in called]
        found += max(branches, key=lambda works: sum(x.memory for x in works), default=[])
      elif opcode in ('call', 'async-start'):
        for inner in called:
          found += self.through(inner, times)
      else:
        found.append(self._work(instruction, computation, times, cache))
    return found

  def _work(
    self, instruction: Instruction, computation: Computation, times: int, cache: _Cache
  ) -> Work:
    memory = cached = on_chip = 0.0
    for name, array, touched in self._touched(instruction, computation):
      if array.on_chip:
        on_chip += touched
        continue
      memory += touched
      if name is not None:  # is read
        source = computation.source(name)
        cached += touched if source in cache else 0
        cache.use(source, array.bytes)
    for i, array in enumerate(instruction.arrays):
      if not array.on_chip:
        many = len(instruction.arrays) > 1
        cache.use(f'{instruction.name}/{i}' if many else instruction.name, array.bytes)
    flops = self._flops(instruction, computation)
    flops = {kind: times * count for kind, count in flops.items()}
    return Work(
      *(instruction, computation, times, times * memory, times * cached, times * on_chip, flops)
    )

  def _touched(
    self, instruction: Instruction, computation: Computation
  ) -> list[tuple[str | None, Array, float]]:
    """What an instruction reads, by its operand's name, and writes, by None: array and bytes."""
    opcode, results = instruction.opcode, list(instruction.arrays)
    if instruction.attribute('custom_call_target') in _MOVES_NOTHING:
      return []
    operands = [(name, computation.instructions[name]) for name in instruction.operands]
    read = [(name, array, float(array.bytes)) for name, x in operands for array in x.arrays]
    if opcode == 'fusion':
      return _of_fusion(instruction, computation, self._program.computations)
    if opcode in ('copy-start', 'slice-start', 'dynamic-slice-start'):
      # (destination, source, ...) of a copy; ((source, ...), destination, ...) of a slice.
      made = results[0] if opcode == 'copy-start' else results[len(read)]
      (name, array, _), *indices = read
      return [(name, array, made.bytes), *indices, (None, made, made.bytes)]
    if opcode in ('dynamic-slice', 'slice', 'gather'):
      (name, array, whole), *indices = read
      share = results[0].size / max(array.size, 1)
      return [(name, array, min(share, 1) * whole), *indices, (None, results[0], results[0].bytes)]
    if opcode == 'dynamic-update-slice':
      _, update, *indices = read
      return [update, *indices, (None, results[0], update[2])]
    if opcode == 'scatter':
      (name, array, whole), *others = read
      changed = min(others[-1][2], whole)
      return [(name, array, changed), *others, (None, array, changed)]
    if collective(instruction) and opcode.endswith('-start'):
      results = results[len(results) // 2 :] if len(results) > len(read) else results
    elif opcode == 'custom-call' and len(results) > 1 and _is_scratch(results[-1]):
      results.pop()
    return [*read, *((None, array, float(array.bytes)) for array in results)]

  def _flops(self, instruction: Instruction, computation: Computation) -> arithmetic.Flops:
    total: collections.Counter[str] = collections.Counter()
    operands = _operands(instruction, computation)
    for kind, count in arithmetic.of(instruction, operands).items():
      total[kind] += count  # type: ignore[assignment]
    if instruction.opcode == 'fusion':
      for name in instruction.called:
        inner = self._program.computations[name]
        for x in inner:
          for kind, count in self._flops(x, inner).items():
            total[kind] += count  # type: ignore[assignment]
    return dict(total)

  def _turns(self, loop: Instruction) -> int:
    """How often a loop runs, as XLA found out, or as it compares a counter with a constant."""
    if known := re.search(r'known_trip_count"?[=:]\s*\{"?n"?[=:]"?(\d+)', loop.attributes):
      return int(known[1])
    condition = self._program.computations[loop.attribute('condition').lstrip('%')]
    constants = [
      int(x.arguments)
      for x in condition
      if x.opcode == 'constant' and x.arguments.isdecimal() and x.arrays[0].dtype != 'pred'
    ]
    if len(constants) == 1:
      return constants[0]
    self.endless.append(loop.name)
    return 1


def _operands(instruction: Instruction, computation: Computation) -> list[Array]:
  found = (computation.instructions[name] for name in instruction.operands)
  return [array for x in found for array in x.arrays]


def _is_scratch(array: Array) -> bool:
  return array.dtype in ('s8', 'u8') and len(array.shape) == 1


def _products(instruction: Instruction, computation: Computation) -> Iterable[tuple[str, str]]:
  target = instruction.attribute('custom_call_target')
  if target:
    yield target, instruction.attribute('window')


def _of_fusion(
  fusion: Instruction, computation: Computation, computations: dict[str, Computation]
) -> list[tuple[str | None, Array, float]]:
  inner = computations[fusion.called[0]]
  needed = _Needed(inner)
  touched: list[tuple[str | None, Array, float]] = []
  for name, parameter in zip(fusion.operands, inner.parameters, strict=True):
    for array in computation.instructions[name].arrays:
      share = needed.share(parameter.name)
      if share:
        touched.append((name, array, share * array.bytes))
  for array, made in zip(fusion.arrays, _results(inner), strict=False):
    update = _in_place(made, inner)
    touched.append((None, array, float(array.bytes if update is None else update)))
  return touched


def _results(computation: Computation) -> Sequence[Instruction]:
  root = computation.root
  if root.opcode != 'tuple':
    return [root] * max(len(root.arrays), 1)
  return [computation.instructions[name] for name in root.operands]


def _in_place(made: Instruction, computation: Computation) -> int | None:
  """Bytes that a result differs in from the parameter that it overwrites, if it does that."""
  while made.opcode == 'bitcast':
    made = computation.instructions[made.operands[0]]
  if made.opcode not in ('dynamic-update-slice', 'scatter'):
    return None
  old = computation.source(made.operands[0])
  if old not in computation.instructions or computation.instructions[old].opcode != 'parameter':
    return None
  update = made.operands[1] if made.opcode == 'dynamic-update-slice' else made.operands[-1]
  return sum(array.bytes for array in computation.instructions[update].arrays)


class _Needed:
  """Which share of each value in a fused computation is computed at all."""

  _WHOLE = ('reduce-window', 'convolution', 'dot', 'sort', 'select-and-scatter', 'fusion')

  def __init__(self, computation: Computation):
    self._computation = computation
    results = _results(computation)
    self._roots = {computation.root.name, *(x.name for x in results)}
    self.share = functools.cache(self._share)

  def _share(self, name: str) -> float:
    if name in self._roots:
      return 1.0
    users = self._computation.users[name]
    return min(sum((self._share_for(name, user) for user in users), 0.0), 1.0)

  def _share_for(self, name: str, user: Instruction) -> float:
    whole = sum(x.size for x in self._computation.instructions[name].arrays)
    made = sum(x.size for x in user.arrays)
    first = bool(user.operands) and user.operands[0] == name
    if first and user.opcode in ('slice', 'dynamic-slice', 'gather'):
      return self.share(user.name) * made / max(whole, 1)
    if first and user.opcode == 'dynamic-update-slice' and _in_place(user, self._computation):
      return 0.0  # what is overwritten need not be read
    if first and user.opcode == 'scatter' and (changed := _in_place(user, self._computation)):
      array = self._computation.instructions[name].arrays[0]
      return changed / max(array.bytes, 1)
    if made == whole and user.opcode not in self._WHOLE:
      return self.share(user.name)  # element by element, or in another order
    return 1.0 if self.share(user.name) else 0.0
