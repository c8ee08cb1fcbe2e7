"""Reading the text of a compiled program: XLA's HLO, as `Compiled.as_text` gives it."""

from __future__ import annotations

import dataclasses
import functools
import math
import re
from collections.abc import Iterator

_BITS = {
  'pred': 8,
  **{f'{kind}{bits}': bits for kind in 'su' for bits in (2, 4, 8, 16, 32, 64)},
  'f16': 16,
  'bf16': 16,
  'f32': 32,
  'f64': 64,
  'c64': 64,
  'c128': 128,
}
# An array is written as its type, its sides, and its layout: which dimension is the innermost, how
# the innermost are tiled, and in which memory it lies, as in f32[4,97]{1,0:T(8,128)S(1)}.
_ARRAY = re.compile(r'\b([a-z]\w*)\[([\d,<=]*)\](?:\{([^{}]*)\})?')
_INSTRUCTION = re.compile(r'\s+(ROOT )?%?([\w.\-]+) = ')
_COMPUTATION = re.compile(r'(ENTRY )?%?([\w.\-]+) \(.*\{$')
_CALLED = re.compile(r'\b(?:body|condition|calls|(?:true|false)_computation)=%?([\w.\-]+)')
_NAME = re.compile(r'%([\w.\-]+)')


@dataclasses.dataclass(frozen=True)
class Array:
  """One array of an instruction's result."""

  dtype: str
  shape: tuple[int, ...]
  layout: str

  @classmethod
  def all_in(cls, text: str) -> tuple[Array, ...]:
    """The arrays that a type, such as (f32[2,3]{1,0}, s32[]), holds."""
    return tuple(
      cls(dtype, tuple(int(side.lstrip('<=')) for side in sides.split(',') if side), layout)
      for dtype, sides, layout in _ARRAY.findall(text)
    )

  @property
  def size(self) -> int:
    return math.prod(self.shape)

  @functools.cached_property
  def bytes(self) -> int:
    """What it takes in memory: a TPU's tiles, of 8×128 say, are whole ones."""
    sides = list(self.shape)
    order, _, how = self.layout.partition(':')
    tile = re.search(r'T\(([\d,]+)\)', how)
    if tile and order and sides:
      inner = [int(i) for i in order.split(',')]  # dimensions, the innermost first
      for dimension, side in zip(inner, reversed(tile[1].split(',')), strict=False):
        sides[dimension] = -(-sides[dimension] // int(side)) * int(side)
    bits = _BITS.get(self.dtype, 8 if self.dtype.startswith('f8') else 0)  # tokens take nothing
    return math.prod(sides) * bits // 8

  @property
  def on_chip(self) -> bool:
    """Whether the compiler put it into the memory beside the arithmetic, a TPU's VMEM."""
    return bool(re.search(r'S\([1-9]', self.layout))


@dataclasses.dataclass(frozen=True)
class Instruction:
  """One line of a computation.

  Attributes:
    arrays: of its result; of a tuple all that it holds.
    operands: names of instructions of the same computation.
    attributes: the rest of the line.
  """

  name: str
  opcode: str
  arrays: tuple[Array, ...]
  operands: tuple[str, ...]
  arguments: str
  attributes: str
  is_root: bool

  @functools.cached_property
  def op_name(self) -> str:
    """Where the model's code made it: jit(train_step)/transpose(jvp(stage1))/.../mul."""
    found = re.search(r'op_name="((?:[^"\\]|\\.)*)"', self.attributes)
    return found[1] if found else ''

  @functools.cached_property
  def called(self) -> tuple[str, ...]:
    """The computations it runs. What a reduction does with two numbers is none of them."""
    found = _CALLED.findall(self.attributes)
    if branches := re.search(r'branch_computations=\{([^}]*)\}', self.attributes):
      found += _NAME.findall(branches[1])
    if self.opcode == 'call' and (target := re.search(r'to_apply=%?([\w.\-]+)', self.attributes)):
      found.append(target[1])
    return tuple(found)

  def attribute(self, name: str) -> str:
    """The value of name=VALUE or name={VALUE}, or nothing."""
    found = re.search(rf'\b{name}=(?:\{{([^}}]*)\}}|"([^"]*)"|([^\s,]+))', self.attributes)
    return next((x for x in found.groups() if x is not None), '') if found else ''


@dataclasses.dataclass
class Computation:
  """Instructions in the order in which they run, by name."""

  name: str
  instructions: dict[str, Instruction]

  def __iter__(self) -> Iterator[Instruction]:
    return iter(self.instructions.values())

  @functools.cached_property
  def root(self) -> Instruction:
    *_, last = self
    return next((x for x in self if x.is_root), last)

  @functools.cached_property
  def parameters(self) -> list[Instruction]:
    """The parameters, in the order of the arguments."""
    found = [x for x in self if x.opcode == 'parameter']
    return sorted(found, key=lambda x: int(x.arguments))

  @functools.cached_property
  def users(self) -> dict[str, list[Instruction]]:
    """Who uses each instruction."""
    found: dict[str, list[Instruction]] = {name: [] for name in self.instructions}
    for instruction in self:
      for name in dict.fromkeys(instruction.operands):
        if name in found:
          found[name].append(instruction)
    return found

  def source(self, name: str) -> str:
    """The instruction whose memory `name` is: bitcasts and the parts of a tuple have none."""
    while name in self.instructions:
      instruction = self.instructions[name]
      if instruction.opcode not in ('bitcast', 'get-tuple-element', 'copy-done'):
        return name
      if instruction.opcode == 'get-tuple-element':
        return f'{self.source(instruction.operands[0])}/{instruction.attribute("index")}'
      name = instruction.operands[0]
    return name


@dataclasses.dataclass
class Program:
  """A module: what it runs, and what that calls."""

  computations: dict[str, Computation]
  entry: Computation


def read(text: str) -> Program:
  """Takes the text of a module apart.

  Raises:
    ValueError: if there is no entry computation.
  """
  computations: dict[str, Computation] = {}
  entry = None
  current: Computation | None = None
  for line in text.split('\n'):
    if line.startswith((' ', '\t')):
      if current is not None and (instruction := _instruction(line)) is not None:
        current.instructions[instruction.name] = instruction
    elif found := _COMPUTATION.match(line):
      current = computations[found[2]] = Computation(found[2], {})
      entry = current if found[1] else entry
    else:
      current = None
  if entry is None:
    raise ValueError('the text holds no entry computation')
  return Program(computations, entry)


def _instruction(line: str) -> Instruction | None:
  found = _INSTRUCTION.match(line)
  if found is None:
    return None
  rest = line[found.end() :]
  end = _closing(rest) if rest.startswith('(') else rest.index(' ')
  type_text, rest = rest[:end], rest[end:].lstrip()
  opcode, parenthesis, rest = rest.partition('(')
  end = _closing(parenthesis + rest) - 1
  arguments, attributes = rest[: end - 1], rest[end:]
  return Instruction(
    name=found[2],
    opcode=opcode,
    arrays=Array.all_in(type_text),
    operands=tuple(_NAME.findall(arguments)),
    arguments=arguments,
    attributes=attributes,
    is_root=bool(found[1]),
  )


def _closing(text: str) -> int:
  """The index after the parenthesis that closes the first one."""
  depth = 0
  for i, character in enumerate(text):
    depth += (character == '(') - (character == ')')
    if not depth:
      return i + 1
  return len(text)
