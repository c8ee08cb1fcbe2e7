"""Memory traffic, arithmetic, calls and messages of a compiled program, instruction by instruction.

Loops count as often as they run, called computations too, and of branches the largest.
"""

from __future__ import annotations

import collections
import dataclasses
import re
from collections.abc import Iterator

from pspnet_jax.planning import arithmetic
from pspnet_jax.planning.hlo import Array, Computation, Instruction, Program
from pspnet_jax.planning.touching import MOVES_NOTHING, collective, touched

_FREE = {
  *('parameter', 'constant', 'tuple', 'get-tuple-element', 'bitcast', 'after-all'),
  *('partition-id', 'replica-id', 'optimization-barrier', 'opt-barrier', 'domain'),
}


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
    calls: the products and kernels that it runs, each by its name and its window.
  """

  instruction: Instruction
  computation: Computation
  times: int
  memory: float
  cached: float
  on_chip: float
  flops: arithmetic.Flops
  calls: tuple[tuple[str, str], ...] = ()


@dataclasses.dataclass(frozen=True)
class Counted:
  """A program's work, and the loops of which nobody knows how often they run (counted once)."""

  work: list[Work]
  endless: list[str]

  @property
  def memory(self) -> float:
    """Bytes read and written, if no cache helps."""
    return sum(x.memory for x in self.work)

  @property
  def cached(self) -> float:
    """Those of them that the cache holds."""
    return sum(x.cached for x in self.work)

  @property
  def on_chip(self) -> float:
    """Bytes read and written beside the arithmetic."""
    return sum(x.on_chip for x in self.work)

  @property
  def flops(self) -> arithmetic.Flops:
    """FLOPs of all products, by what is multiplied."""
    return arithmetic.total(x.flops for x in self.work)

  def calls(self) -> dict[tuple[str, str], int]:
    """How often each kernel of a library runs, by its name and its window; the most first."""
    found: collections.Counter[tuple[str, str]] = collections.Counter()
    for work in self.work:
      for call in work.calls:
        found[call] += work.times
    return dict(found.most_common())

  def messages(self) -> dict[str, tuple[int, float]]:
    """How many messages between devices there are of each kind, and the bytes that each sends."""
    found: dict[str, tuple[int, float]] = {}
    for work in self.work:
      if kind := collective(work.instruction):
        sent = sum(x.bytes for x in _operands(work.instruction, work.computation))
        count, total = found.get(kind, (0, 0.0))
        found[kind] = count + work.times, total + work.times * sent
    return found


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
    self._used += size - self._sizes.pop(name, 0)
    self._sizes[name] = size
    while self._used > self._capacity:
      self._used -= self._sizes.popitem(last=False)[1]


class _Walk:
  def __init__(self, program: Program, cache_bytes: int):
    self._computations, self._cache_bytes = program.computations, cache_bytes
    self.endless: list[str] = []

  def through(self, computation: Computation, times: int) -> list[Work]:
    cache = _Cache(self._cache_bytes)
    found: list[Work] = []
    for instruction in computation:
      opcode = instruction.opcode
      called = [self._computations[name] for name in instruction.called]
      if opcode in _FREE or opcode.endswith(('-done', '-update')):
        continue
      if opcode == 'conditional':
        branches = [self.through(branch, times) for branch in called]
        found += max(branches, key=lambda works: sum(x.memory for x in works))
      elif opcode in ('while', 'call', 'async-start'):
        turns = self._turns(instruction) if opcode == 'while' else 1
        for inner in called:
          found += self.through(inner, times * turns)
      else:
        found.append(self._work(instruction, computation, times, cache))
    return found

  def _work(
    self, instruction: Instruction, computation: Computation, times: int, cache: _Cache
  ) -> Work:
    memory = cached = on_chip = 0.0
    for array, size, operand in touched(instruction, computation, self._computations):
      if array.on_chip:
        on_chip += size
        continue
      memory += size
      if operand is not None:
        source = computation.source(operand)
        cached += size if source in cache else 0
        cache.use(source, array.bytes)
    for i, array in enumerate(instruction.arrays):
      if not array.on_chip:
        many = len(instruction.arrays) > 1
        cache.use(f'{instruction.name}/{i}' if many else instruction.name, array.bytes)
    inner = [*self._within(instruction, computation)]
    flops = arithmetic.total(arithmetic.of(x, _operands(x, its)) for x, its in inner)
    return Work(
      instruction,
      computation,
      times,
      *(times * memory, times * cached, times * on_chip),
      flops={kind: times * n for kind, n in flops.items()},
      calls=tuple((name, x.attribute('window')) for x, _ in inner if (name := _call(x))),
    )

  def _within(
    self, instruction: Instruction, computation: Computation
  ) -> Iterator[tuple[Instruction, Computation]]:
    """The instruction, or those that are fused in it, with their computation."""
    if instruction.opcode != 'fusion':
      yield instruction, computation
      return
    for name in instruction.called:
      for x in self._computations[name]:
        yield from self._within(x, self._computations[name])

  def _turns(self, loop: Instruction) -> int:
    """How often a loop runs, as XLA found out, or as it compares a counter with a constant."""
    if known := re.search(r'known_trip_count"?[=:]\s*\{"?n"?[=:]"?(\d+)', loop.attributes):
      return int(known[1])
    condition = self._computations[loop.attribute('condition').lstrip('%')]
    constants = [
      int(x.arguments)
      for x in condition
      if x.opcode == 'constant' and x.arguments.isdecimal() and x.arrays[0].dtype != 'pred'
    ]
    if len(constants) == 1:
      return constants[0]
    self.endless.append(loop.name)
    return 1


def _call(instruction: Instruction) -> str:
  """The name of a product or a kernel; nothing for what is neither."""
  if instruction.opcode in ('convolution', 'dot'):
    return instruction.opcode
  target = instruction.attribute('custom_call_target')
  *_, name, last = ('', *instruction.op_name.split('/'))
  if last == 'pallas_call':  # all kernels of one's own have one target
    return f'{target} {name}'
  return '' if target in MOVES_NOTHING else target


def _operands(instruction: Instruction, computation: Computation) -> list[Array]:
  found = (computation.instructions[name] for name in instruction.operands)
  return [array for x in found for array in x.arrays]
