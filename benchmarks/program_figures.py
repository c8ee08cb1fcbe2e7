"""What a compiled program takes, by part of the network: figures, a table, and what has grown."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from pspnet_jax.planning import programs
from pspnet_jax.planning.hlo import Computation, Instruction
from pspnet_jax.planning.touching import collective

TOLERANCE = 0.02
# The names that the model's code gives its parts (`jax.named_scope`), and what they are called.
SCOPES = {
  'stem': 'stem',
  **{f'stage{i}': f'stage {i}' for i in range(1, 5)},
  'pyramid': 'pyramid',
  'head': 'head',
  'aux_head': 'auxiliary head',
  'optimizer': 'optimiser',
}
NETWORK = tuple(SCOPES.values())[:-1]
LOSS, MESSAGES = 'upsampling and loss', 'communication'
PARTS = (*SCOPES.values(), LOSS, MESSAGES)
_SCOPE = re.compile(rf'\b({"|".join(SCOPES)})\b')
COLUMNS = ('part', 'GB', 'of products', 'of other passes', 'from cache', 'on chip', 'TFLOP')
Figures = dict[str, Any]


def figures(compiled: programs.Compiled, useful_flops: int) -> Figures:
  """All that is said of a program, a device; bytes, FLOPs and seconds."""
  counted, parts = compiled.counted, by_part(compiled)
  return {
    'memory': {**compiled.memory, 'peak': compiled.peak},
    'traffic': {
      'all': counted.memory,
      'from cache': counted.cached,
      'on chip': counted.on_chip,
      'normalisation, ReLU, sums and casts': sum(parts[x]['other passes'] for x in NETWORK),
    },
    'parts': parts,
    'useful flops': useful_flops / len(compiled.topology.devices),
    'executed flops': counted.flops,
    'calls': [[*kind, times] for kind, times in counted.calls().items()],
    'messages': {k: {'times': n, 'bytes': x} for k, (n, x) in counted.messages().items()},
    'least seconds': {
      'arithmetic': compiled.seconds_of_arithmetic,
      'traffic': compiled.seconds_of_traffic,
    },
    'loops of unknown length': len(counted.endless),
    "XLA's own count": compiled.xla,
    'compiling': {'seconds': compiled.seconds, 'of CPU': compiled.cpu_seconds},
  }


def by_part(compiled: programs.Compiled) -> dict[str, dict[str, float]]:
  """Sums up each part: bytes of its products and other passes, those cached, and FLOPs."""
  names = ('products', 'other passes', 'from cache', 'on chip', 'flops')
  found: dict[str, dict[str, float]] = {part: dict.fromkeys(names, 0.0) for part in PARTS}
  for work in compiled.counted.work:
    part = found[part_of(work.instruction, work.computation)]
    part['products' if work.flops else 'other passes'] += work.memory
    part['from cache'] += work.cached
    part['on chip'] += work.on_chip
    part['flops'] += sum(work.flops.values())
  return found


def part_of(instruction: Instruction, computation: Computation) -> str:
  """The part of the network that an instruction belongs to."""
  if collective(instruction):
    return MESSAGES
  if scope := _SCOPE.search(instruction.op_name):
    return SCOPES[scope[1]]
  if '/' not in instruction.op_name:  # what the compiler adds belongs to what it moves
    for name in instruction.operands:
      operand = computation.instructions[name]
      if operand.op_name or operand.operands:
        return part_of(operand, computation)
  return LOSS


def grown(before: Figures, now: Figures) -> Iterator[str]:
  """What has grown by more than the tolerance, and by how much."""
  old, new = dict(_checked(before)), dict(_checked(now))
  for name in old | new:
    was, found = old.get(name, 0.0), new.get(name, 0.0)
    if found > was * (1 + TOLERANCE):
      more = f', {100 * (found / was - 1):.1f} % more' if was else ''
      yield f'{name}: {found:.5g} where {was:.5g} is recorded{more}'


def _checked(found: Figures) -> Iterator[tuple[str, float]]:
  for name in ('temporaries', 'peak'):
    yield f'memory, {name}, GB', found['memory'][name] / 1e9
  for name in ('all', 'normalisation, ReLU, sums and casts'):
    yield f'traffic, {name}, GB', found['traffic'][name] / 1e9
  floor = found['traffic']['all'] / 200  # what is less is no matter
  for name, part in found['parts'].items():
    yield f'traffic of {name}, GB', max(part['products'] + part['other passes'], floor) / 1e9
  yield 'executed TFLOP', sum(found['executed flops'].values()) / 1e12
  yield 'library calls', sum(times for *_, times in found['calls'])
  yield 'library calls with a window of more than 7×7', wide_windows(found)
  for kind, sent in found['messages'].items():
    yield f'{kind}, messages', sent['times']
    yield f'{kind}, MB', sent['bytes'] / 1e6


def wide_windows(found: Figures) -> int:
  """Calls whose window is a feature map: kernel gradients that are computed as convolutions."""
  sides = ((re.search(r'size=(\d+)', window), times) for _, window, times in found['calls'])
  return sum(times for side, times in sides if side and int(side[1]) > 7)


def rows(found: Figures) -> Iterator[list[str]]:
  """The parts as rows of a table, and their sum."""
  names = ('products', 'other passes', 'from cache', 'on chip', 'flops')
  parts = found['parts']
  total = {name: sum(part[name] for part in parts.values()) for name in names}
  for name, part in {**parts, 'all': total}.items():
    if any(part.values()):
      sizes = [part['products'] + part['other passes'], *(part[x] for x in names[:4])]
      yield [name, *(f'{x / 1e9:.2f}' for x in sizes), f'{part["flops"] / 1e12:.3f}']


def show(title: str, found: Figures) -> None:
  """Prints what a program takes."""
  print(f'\n{title}, a device\n')
  lines = [list(COLUMNS), *rows(found)]
  widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
  for i, (first, *others) in enumerate(lines):
    cells = [x.rjust(width) for x, width in zip(others, widths[1:], strict=True)]
    print('|', ' | '.join([first.ljust(widths[0]), *cells]), '|')
    if not i:
      print('|---|' + '--:|' * len(others))
  memory, traffic, least = found['memory'], found['traffic'], found['least seconds']
  held = ', '.join(f'{name} {size / 1e9:.2f}' for name, size in memory.items())
  passes = traffic['normalisation, ReLU, sums and casts'] / 1e9
  executed = ', '.join(f'{n / 1e12:.3f} {kind}' for kind, n in found['executed flops'].items())
  print(f'\nNormalisation, ReLU, sums and casts of the network: {passes:.2f} GB.')
  print(f'Memory, GB: {held}.')
  print(f'TFLOP: useful {found["useful flops"] / 1e12:.2f}; executed {executed}.')
  print(
    f'At least {1e3 * max(least.values()):.1f} ms by the data sheet: arithmetic '
    f'{1e3 * least["arithmetic"]:.1f}, traffic {1e3 * least["traffic"]:.1f}.'
  )
  for name, window, times in found['calls']:
    print(f'{times:6d} {name} {window}')
  for kind, sent in found['messages'].items():
    print(f'{sent["times"]:6d} {kind}, {sent["bytes"] / 1e6:.1f} MB')
  if own := found["XLA's own count"]:
    print('XLA counts', ', '.join(f'{name} {x:.4g}' for name, x in own.items()))
  if found['loops of unknown length']:
    print(f'{found["loops of unknown length"]} loops of unknown length are counted once.')
  spent = found['compiling']
  print(f'Compiled in {spent["seconds"]:.0f} s, {spent["of CPU"]:.0f} of CPU.', flush=True)
