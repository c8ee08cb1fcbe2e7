"""Reads the data in a pickle. It is an interpreter of its own, in which there is nothing to run.

A pickle is a program for a small stack machine: it can name any function of any module and have it
called. Python's `pickle` does so, and `torch.load(weights_only=True)`, which knows better, refuses
the whole file when it names a class that is not on its list; mmsegmentation 1.x writes such a class
into every training checkpoint. Here the machine has values only. The few names that stand for data
(tensors, dictionaries, NumPy arrays) are answered by functions of this module, which look at
numbers; every other name gives an `Inert`, whatever the pickle would have it do, and an `Inert`
ignores what it is called with and what is stored in it. No module is imported because a file names
it, and nothing calls itself, so depth costs nothing.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from typing import Any, BinaryIO

from pspnet_jax.weights.foreign.pickled_objects import Global, Objects, Storage, fill
from pspnet_jax.weights.foreign.stored import Inert

DAMAGE = (ValueError, IndexError, KeyError, TypeError, OverflowError)  # what `load` may raise

_PUSHED = frozenset(  # as they stand in the pickle
  (
    *('INT', 'BININT', 'BININT1', 'BININT2', 'LONG', 'LONG1', 'LONG4', 'FLOAT', 'BINFLOAT'),
    *('STRING', 'BINSTRING', 'SHORT_BINSTRING', 'BINBYTES', 'SHORT_BINBYTES', 'BINBYTES8'),
    *('BYTEARRAY8', 'UNICODE', 'BINUNICODE', 'SHORT_BINUNICODE', 'BINUNICODE8'),
  )
)
_MADE: dict[str, Callable[[], Any]] = {
  'NONE': lambda: None,
  'NEWTRUE': lambda: True,
  'NEWFALSE': lambda: False,
  'EMPTY_TUPLE': tuple,
  'EMPTY_LIST': list,
  'EMPTY_DICT': dict,
  'EMPTY_SET': lambda: Inert('builtins.set'),
}
_NO_EFFECT = frozenset(('PROTO', 'FRAME', 'STOP', 'READONLY_BUFFER'))


def load(
  stream: BinaryIO, fetch: Callable[[Storage], bytes | memoryview]
) -> tuple[Any, dict[str, Storage]]:
  """Runs one pickle, up to its end.

  Args:
    stream: stands at the pickle's beginning; `read(n)` never allocates more than there is.
    fetch: the bytes of a storage, asked for when an array is read.

  Returns:
    The object: None, numbers, text, bytes, tuples, lists, dictionaries, `StoredArray` and `Inert`;
    and the storages that it names.

  Raises:
    One of `DAMAGE`: if it is no pickle, is cut short, or has too many steps.
  """
  machine = _Machine(fetch)
  for opcode, argument, _ in pickletools.genops(stream):
    machine.objects.spend(1)
    if opcode.name in _PUSHED:
      machine.stack.append(argument)
      machine.objects.read(argument)
    elif opcode.name in _MADE:
      machine.stack.append(_MADE[opcode.name]())
    elif opcode.name not in _NO_EFFECT:
      getattr(machine, f'op_{opcode.name.lower()}')(argument)
  return machine.stack.pop(), machine.objects.storages


class _Machine:
  """The stack, what stands below each mark, and what was kept for later."""

  def __init__(self, fetch: Callable[[Storage], bytes | memoryview]):
    self.objects = Objects(fetch)
    self.stack: list[Any] = []
    self.below: list[list[Any]] = []
    self.memo: dict[int, Any] = {}

  def since_mark(self) -> list[Any]:
    items, self.stack = self.stack, self.below.pop()
    return items

  def op_mark(self, _: Any) -> None:
    self.below.append(self.stack)
    self.stack = []

  def op_tuple(self, _: Any) -> None:
    items = self.since_mark()
    self.stack.append(tuple(items))

  def op_tuple1(self, _: Any) -> None:
    self.stack.append((self.stack.pop(),))

  def op_tuple2(self, _: Any) -> None:
    last = self.stack.pop()
    self.stack.append((self.stack.pop(), last))

  def op_tuple3(self, _: Any) -> None:
    last, middle = self.stack.pop(), self.stack.pop()
    self.stack.append((self.stack.pop(), middle, last))

  def op_list(self, _: Any) -> None:
    items = self.since_mark()
    self.stack.append(items)

  def op_dict(self, _: Any) -> None:
    items = self.since_mark()
    made: dict[Any, Any] = {}
    fill(made, items)
    self.stack.append(made)

  def op_frozenset(self, _: Any) -> None:
    self.since_mark()
    self.stack.append(Inert('builtins.frozenset'))

  def op_append(self, _: Any) -> None:
    item = self.stack.pop()
    if isinstance(self.stack[-1], list):
      self.stack[-1].append(item)

  def op_appends(self, _: Any) -> None:
    items = self.since_mark()
    if isinstance(self.stack[-1], list):
      self.stack[-1].extend(items)

  def op_additems(self, _: Any) -> None:
    self.since_mark()

  def op_setitem(self, _: Any) -> None:
    value, key = self.stack.pop(), self.stack.pop()
    fill(self.stack[-1], [key, value])

  def op_setitems(self, _: Any) -> None:
    items = self.since_mark()
    fill(self.stack[-1], items)

  # The stack and the memo.

  def op_pop(self, _: Any) -> None:
    if self.stack:
      self.stack.pop()
    else:
      self.since_mark()

  def op_pop_mark(self, _: Any) -> None:
    self.since_mark()

  def op_dup(self, _: Any) -> None:
    self.stack.append(self.stack[-1])

  def op_memoize(self, _: Any) -> None:
    self.memo[len(self.memo)] = self.stack[-1]

  def op_put(self, index: int) -> None:
    self.memo[index] = self.stack[-1]

  op_binput = op_long_binput = op_put

  def op_get(self, index: int) -> None:
    self.stack.append(self.memo[index])

  op_binget = op_long_binget = op_get

  # What would run code.

  def op_global(self, name: str) -> None:
    self.stack.append(_global(*name.split(' ', 1)))

  def op_stack_global(self, _: Any) -> None:
    name, module = self.stack.pop(), self.stack.pop()
    self.stack.append(_global(module, name))

  def op_reduce(self, _: Any) -> None:
    arguments, function = self.stack.pop(), self.stack.pop()
    self.stack.append(self.objects.made_by(function, arguments))

  op_newobj = op_reduce

  def op_newobj_ex(self, _: Any) -> None:
    self.stack.pop()
    self.op_reduce(None)

  def op_inst(self, name: str) -> None:
    arguments = self.since_mark()
    self.stack.append(self.objects.made_by(_global(*name.split(' ', 1)), tuple(arguments)))

  def op_obj(self, _: Any) -> None:
    function, *arguments = self.since_mark()
    self.stack.append(self.objects.made_by(function, tuple(arguments)))

  def op_build(self, _: Any) -> None:
    state = self.stack.pop()
    self.objects.build(self.stack[-1], state)

  def op_ext1(self, code: int) -> None:
    self.stack.append(Inert(f'extension {code}'))

  op_ext2 = op_ext4 = op_ext1

  def op_next_buffer(self, _: Any) -> None:
    raise ValueError('the buffer lies outside the file')

  def op_persid(self, _: Any) -> None:
    self.stack.append(Inert('a persistent id'))

  def op_binpersid(self, _: Any) -> None:
    self.stack.append(self.objects.storage(self.stack.pop()))


def _global(module: Any, name: Any) -> Inert:
  if not isinstance(module, str) or not isinstance(name, str):
    return Inert('a name')
  return Global(f'{module[:100]}.{name[:100]}')
