"""Files that are nearly right: what the fuzz of every reader is fed with.

`make test` tries a few dozen of each; the long run tries twenty thousand of each:

    pytest -m fuzz --hypothesis-profile=long
"""

import resource
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from pspnet_jax.errors import UserError

_COMMON = {
  'deadline': None,  # a loaded machine is slow, too: hangs are what pytest's own time limit is for
  'derandomize': True,  # the suite finds the same each time
  'database': None,
  'suppress_health_check': list(HealthCheck),
}
settings.register_profile('short', max_examples=40, **_COMMON)
settings.register_profile('long', max_examples=20_000, **_COMMON)
settings.load_profile('short')  # --hypothesis-profile, read later, goes before

# A place, as a fraction of the file, what is done there, and the bytes it is done with.
_EDITS = st.lists(
  st.tuples(
    st.floats(0, 1, exclude_max=True),
    st.sampled_from(('replace', 'insert', 'delete', 'cut', 'repeat', 'flip')),
    st.binary(min_size=1, max_size=8)
    | st.sampled_from((b'\0' * 4, b'\xff' * 4, b'\x7f\xff\xff\xff', b'\x80', b'\r\n', b'"', b'{')),
  ),
  min_size=1,
  max_size=6,
)


@st.composite
def mutated(draw: Any, seeds: Sequence[bytes]) -> bytes:
  """One of `seeds` with one to six edits; now and then bytes that resemble nothing."""
  if not draw(st.integers(0, 30)):
    return draw(st.binary(max_size=300))
  data = bytearray(draw(st.sampled_from(list(seeds))))
  for where, how, what in draw(_EDITS):
    at = int(where * len(data))
    if how == 'replace':
      data[at : at + len(what)] = what
    elif how == 'insert':
      data[at:at] = what
    elif how == 'delete':
      del data[at : at + 8 * len(what)]
    elif how == 'cut':
      del data[at:]
    elif how == 'repeat':
      data[at:at] = data[at : at + 64]
    elif data:
      data[at] ^= 1 << what[0] % 8
  return bytes(data)


# JSON of any kind, and where in a tree of JSON it goes: a number for each level on the way.
JSON = st.recursive(
  st.none()
  | st.booleans()
  | st.integers()
  | st.sampled_from((10**400, -1, 0, 1, 2**31, 2**64))
  | st.floats()
  | st.text(max_size=8)
  | st.sampled_from(('', '~', 'name', '?a:b', 'nowhere.own:Own', '../x', 'sgd', '\0', '1,2')),
  lambda inner: (
    st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
  ),
  max_leaves=8,
)
EDITS = st.tuples(
  st.lists(st.integers(0, 40), min_size=1, max_size=3),
  st.sampled_from(('replace', 'remove', 'rename', 'wrap')),
  JSON,
)


def edited(tree: Any, edits: Sequence[tuple[list[int], str, Any]]) -> Any:
  """JSON with `EDITS`: values replaced, removed, under another key, or in a list."""
  for way, how, value in edits:
    inner = tree
    for step in way:
      keys = [*inner] if isinstance(inner, dict) else [*range(len(inner))]
      if not keys:
        break
      outer, key = inner, keys[step % len(keys)]
      inner = outer[key]
      if not isinstance(inner, dict | list) or not inner:
        break
    else:
      step = way[-1]
    if not isinstance(tree, dict | list) or not tree:
      return value
    if how == 'replace':
      outer[key] = value
    elif how == 'wrap':
      outer[key] = [outer[key]]
    elif isinstance(outer, dict):
      old = outer.pop(key)
      if how == 'rename':
        outer[str(value)[:20]] = old
  return tree


def ends_well(read: Callable[..., Any], *arguments: Any, megabytes: int = 600) -> Any:
  """What `read` returns, or None if it refuses in one sentence; whatever else it raises is a find.

  The memory that the process has ever used may not grow by more than `megabytes` meanwhile.
  """
  before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  try:
    return read(*arguments)
  except UserError as error:
    message = str(error)
    assert message.endswith(('.', '?')) and '\n' not in message, message
    return None
  finally:
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10
    assert grown <= megabytes, f'{grown} MB more'


fuzz = pytest.mark.fuzz  # on every test that uses `mutated`
