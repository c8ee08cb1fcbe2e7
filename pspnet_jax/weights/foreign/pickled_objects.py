"""What the names in a pickle that stand for data give: tensors, dictionaries, NumPy arrays.

Each is answered by a method here, which looks at numbers; every other name gives an `Inert`,
whatever the pickle would have it do.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from pspnet_jax.weights.foreign.stored import SMALL_FLOATS, Inert, StoredArray, fits, strided

MOST_STEPS = 5_000_000  # of less than 100 bytes each; a training's state has some 10⁵

_STORAGES = {
  'DoubleStorage': 'f8',
  'FloatStorage': 'f4',
  'HalfStorage': 'f2',
  'BFloat16Storage': 'bfloat16',
  'LongStorage': 'i8',
  'IntStorage': 'i4',
  'ShortStorage': 'i2',
  'CharStorage': 'i1',
  'ByteStorage': 'u1',
  'BoolStorage': '?',
  'UntypedStorage': 'u1',
}
_DTYPES = {  # torch's names that differ from NumPy's
  'half': 'f2',
  'float': 'f4',
  'double': 'f8',
  'short': 'i2',
  'int': 'i4',
  'long': 'i8',
}


class Global(Inert):
  """A name of the pickle's, not looked up."""


@dataclasses.dataclass(frozen=True, eq=False)
class Storage:
  """Where torch keeps the elements of one or more tensors."""

  key: str
  dtype: np.dtype
  count: int  # elements
  first: int = 0  # of a view into a larger one


@dataclasses.dataclass(eq=False)
class PlainDtype:
  value: np.dtype


class Objects:
  """The objects of one pickle, and what they may cost."""

  def __init__(self, fetch: Callable[[Storage], bytes | memoryview]):
    self.fetch = fetch
    self.storages: dict[str, Storage] = {}
    self.steps = 0
    self.text = 0  # characters that were read and not encoded since

  def read(self, value: Any) -> None:
    """Takes notice of what stands in the pickle itself."""
    if isinstance(value, str):
      self.text += len(value)

  def spend(self, steps: int) -> None:
    """Counts what takes time or memory, so that a short pickle cannot ask for much of either."""
    self.steps += steps
    if self.steps > MOST_STEPS:
      raise ValueError(f'more than {MOST_STEPS:,} steps')

  def made_by(self, function: Any, arguments: Any) -> Any:
    """What calling `function` is taken to give."""
    name = function.name if isinstance(function, Inert) else type(function).__name__
    fits_a_call = isinstance(arguments, tuple) and len(arguments) <= 16
    if not isinstance(function, Global) or not fits_a_call:
      return Inert(name)
    if name in ('copy_reg._reconstructor', 'copyreg._reconstructor'):
      first = arguments[0] if arguments else None
      return Inert(first.name if isinstance(first, Inert) else name)
    name = re.sub(r'^numpy\._?core\.', 'numpy.', name).replace('__builtin__', 'builtins')
    make = _MAKERS.get(name)
    return Inert(name) if make is None else make(self, *arguments)

  def storage(self, identity: Any) -> Any:
    """torch's ('storage', type, key, device, elements), with (key, first, elements) for a view."""
    if isinstance(identity, tuple) and identity[:1] == ('module',):  # with its source code
      return identity[1]
    if not isinstance(identity, tuple) or len(identity) not in (5, 6):
      return Inert('a persistent id')
    kind, storage_type, key, _, count, *views = identity
    if kind != 'storage' or not isinstance(storage_type, Inert) or not isinstance(key, str):
      return Inert('a persistent id')
    code = _STORAGES.get(storage_type.name.rpartition('.')[2])
    if code is None or type(count) is not int or count < 0:
      return Inert(storage_type.name)
    whole = Storage(key, SMALL_FLOATS.get(code) or np.dtype(code), count)
    self.storages[key] = whole
    if views and views[0] is not None:
      _, first, count = views[0]
      if not fits(first, (count,), (1,), whole.count):
        raise ValueError('a view beyond its storage')
      return dataclasses.replace(whole, first=first, count=count)
    return whole

  def build(self, made: Any, state: Any) -> None:
    """Gives a NumPy array or dtype its state; that of anything else is of no account."""
    if not isinstance(state, tuple):
      return
    if isinstance(made, PlainDtype) and state[1:2] in (('>',), ('<',)):
      made.value = made.value.newbyteorder(state[1])
    if isinstance(made, StoredArray) and made.values is None:
      _, shape, dtype, fortran, data = state
      made.dtype, made.shape, made.values = _numpy_array(shape, dtype, bool(fortran), data)

  # What names of data give. Each takes what other versions of torch pass beside it.

  def tensor(self, storage: Any, offset: Any, shape: Any, stride: Any, *rest: Any) -> Any:
    if not isinstance(storage, Storage):
      return Inert(storage.name if isinstance(storage, Inert) else 'a tensor')
    if not isinstance(shape, tuple) or not isinstance(stride, tuple):
      return Inert('a tensor without a shape')
    if not fits(offset, shape, stride, storage.count):
      raise ValueError('a tensor beyond its storage')
    start = offset + storage.first
    return StoredArray(
      storage.dtype,
      shape,
      lambda: strided(self.fetch(storage), storage.dtype, start, shape, stride),
    )

  def untyped_tensor(
    self, storage: Any, offset: Any, shape: Any, stride: Any, grad: Any, hooks: Any, dtype: Any
  ) -> Any:
    name = dtype.name.removeprefix('torch.') if isinstance(dtype, Inert) else ''
    kind = SMALL_FLOATS.get(name) or _plain_dtype(_DTYPES.get(name, name))
    if not isinstance(storage, Storage) or kind is None:
      return Inert(f'torch.{name} tensor')
    count, first = (
      n * storage.dtype.itemsize // kind.itemsize for n in (storage.count, storage.first)
    )
    typed = Storage(storage.key, kind, count, first)
    return self.tensor(typed, offset, shape, stride)

  def parameter(self, data: Any, *_: Any) -> Any:
    return data

  def tensor_with_attributes(self, function: Any, kind: Any, arguments: Any, *_: Any) -> Any:
    del kind
    nested = isinstance(function, Global) and function.name.endswith('_rebuild_from_type_v2')
    return Inert('a nested tensor') if nested else self.made_by(function, arguments)

  def mapping(self, items: Any = (), *_: Any) -> dict[Any, Any]:
    if isinstance(items, dict):
      return items
    made: dict[Any, Any] = {}
    if isinstance(items, list | tuple):  # a defaultdict's factory is neither
      self.spend(len(items))
      for key, value in items:
        fill(made, [key, value])
    return made

  def size(self, numbers: Any = (), *_: Any) -> tuple[Any, ...]:
    return tuple(numbers) if len(numbers) <= 32 else ()

  def no_bytes(self, *values: Any) -> Any:
    return Inert('builtins.bytes') if values else b''

  def encoded(self, text: str, encoding: str = '', *_: Any) -> Any:
    if encoding not in ('latin1', 'latin-1') or not isinstance(text, str):
      return Inert('_codecs.encode')
    # Protocol 2 has the bytes of arrays so, each once; a text that is used again costs.
    free = min(len(text), self.text)
    self.text -= free
    self.spend((len(text) - free) >> 4)
    return text.encode('latin-1')

  def numpy_dtype(self, code: Any, *_: Any) -> Any:
    dtype = _plain_dtype(code)
    return Inert(f'numpy.dtype {code}'[:40]) if dtype is None else PlainDtype(dtype)

  def numpy_announced(self, *_: Any) -> StoredArray:
    return StoredArray(np.dtype('f4'), ())

  def numpy_buffer(self, data: Any, dtype: Any, shape: Any, order: Any = 'C', *_: Any) -> Any:
    return StoredArray(*_numpy_array(shape, dtype, order == 'F', data))

  def numpy_scalar(self, dtype: Any, data: Any = b'', *_: Any) -> Any:
    if not isinstance(dtype, PlainDtype):
      return Inert('a numpy scalar')
    return _numpy_array((), dtype, False, data)[2]().item()


_MAKERS: dict[str, Callable[..., Any]] = {
  'torch._utils._rebuild_tensor': Objects.tensor,
  'torch._utils._rebuild_tensor_v2': Objects.tensor,
  'torch._utils._rebuild_tensor_v3': lambda objects, *a: objects.untyped_tensor(*a[:7]),
  'torch._utils._rebuild_parameter': Objects.parameter,
  'torch._utils._rebuild_parameter_with_state': Objects.parameter,
  'torch._utils._rebuild_xla_tensor': Objects.parameter,
  'torch._utils._rebuild_device_tensor_from_numpy': Objects.parameter,
  'torch._tensor._rebuild_from_type_v2': Objects.tensor_with_attributes,
  'torch.Size': Objects.size,
  'collections.OrderedDict': Objects.mapping,
  'collections.defaultdict': Objects.mapping,
  'builtins.dict': Objects.mapping,
  'builtins.bytes': Objects.no_bytes,  # as pickles before protocol 3 write b''
  '_codecs.encode': Objects.encoded,
  'numpy.dtype': Objects.numpy_dtype,
  'numpy.multiarray._reconstruct': Objects.numpy_announced,
  'numpy.multiarray.scalar': Objects.numpy_scalar,
  'numpy.numeric._frombuffer': Objects.numpy_buffer,
}


def fill(mapping: Any, items: list[Any]) -> None:
  """Sets keys and values in turn; keys that are neither text nor numbers get a name each."""
  if len(items) % 2:
    raise ValueError('a key without a value')
  if isinstance(mapping, dict):
    for key, value in zip(items[::2], items[1::2], strict=True):
      small = isinstance(key, int) and -(2**63) <= key < 2**63
      plain = small or key is None or isinstance(key, str | float | bytes)
      mapping[key if plain else Inert(type(key).__name__)] = value


def _plain_dtype(code: Any) -> np.dtype | None:
  """The dtype of a name such as 'f4' or 'float32'; None for anything but numbers."""
  if not isinstance(code, str) or not re.fullmatch(
    r'[<>|=]?([fiub]|bool|u?int|float)\d{0,3}', code
  ):
    return None
  try:
    return np.dtype(code)
  except TypeError:
    return None


def _numpy_array(
  shape: Any, dtype: Any, fortran: bool, data: Any
) -> tuple[np.dtype, tuple[int, ...], Callable[[], np.ndarray]]:
  """An array of which a pickle gives the bytes; Python 2 gives them as text."""
  if not isinstance(dtype, PlainDtype):  # of objects or texts: there is no use for one
    return np.dtype('V1'), (0,), lambda: np.zeros(0)
  if not isinstance(shape, tuple) or not fits(0, shape, (0,) * len(shape), 1):
    raise ValueError('no shape')
  if math.prod(shape) * dtype.value.itemsize != len(data):
    raise ValueError('an array without all of its values')
  kind = dtype.value
  order: Literal['F', 'C'] = 'F' if fortran else 'C'
  native = kind.newbyteorder('=')

  def values() -> np.ndarray:
    raw = data.encode('latin-1') if isinstance(data, str) else data
    return np.frombuffer(raw, kind).reshape(shape, order=order).astype(native, copy=False)

  return native, shape, values
