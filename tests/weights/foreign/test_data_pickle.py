"""Pickles that hold data, and pickles that would run code, fill the memory or never end."""

import collections
import io
import os
import pickle
import struct
import sys

import numpy as np
import pytest

from pspnet_jax.weights.foreign import data_pickle, pickled_objects
from pspnet_jax.weights.foreign.stored import Inert
from tests.weights.foreign.files import values_of


def load(data):
  content, _ = data_pickle.load(io.BytesIO(data), lambda storage: b'')
  return values_of(content)


PLAIN = {
  'numbers': [0, 1, 255, 256, -1, 1 << 40, -(1 << 70), 1.5, float('inf'), True, False, None],
  'texts': ['', 'a', 'é' * 300, b'', b'bytes' * 100],
  'tuples': [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)],
  'nested': {'a': {'b': [{'c': ()}]}, 3: 'three', None: 1.0, 2.5: b'x'},
}


@pytest.mark.parametrize('protocol', range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_data_is_what_pickle_makes_of_it(protocol):
  data = pickle.dumps(PLAIN, protocol)
  assert load(data) == pickle.loads(data) == PLAIN


@pytest.mark.parametrize('protocol', [2, 4, 5])
def test_ordered_and_default_dictionaries_are_dictionaries(protocol):
  ordered = collections.OrderedDict([('b', 1), ('a', 2)])
  assert list(load(pickle.dumps(ordered, protocol)).items()) == [('b', 1), ('a', 2)]
  assert load(pickle.dumps(collections.defaultdict(list, a=[1]), protocol)) == {'a': [1]}


def test_an_object_may_hold_itself():
  itself = []
  itself.append(itself)
  found = load(pickle.dumps(itself))
  assert found[0] is found


class Runs:
  """Makes a file when it is unpickled, by way of what `how` returns."""

  def __init__(self, path, how):
    self.path, self.how = str(path), how

  def __reduce__(self):
    return self.how(self.path)


WAYS = {
  'called': lambda path: (os.system, (f'touch {path}',)),
  'evaluated': lambda path: (eval, (f"__import__('os').mkdir({path!r})",)),
  'in the state': lambda path: (collections.OrderedDict, (), {'x': Runs(path, WAYS['called'])}),
  'as an item': lambda path: (list, (), None, iter([Runs(path, WAYS['called'])])),
}


@pytest.mark.parametrize('protocol', [0, 1, 2, 4, 5])
@pytest.mark.parametrize('way', WAYS)
def test_nothing_is_run(way, protocol, tmp_path):
  trace = tmp_path / 'trace'
  data = pickle.dumps({'before': 1, 'x': Runs(trace, WAYS[way]), 'after': 2}, protocol)
  found = load(data)
  assert not trace.exists() and (found['before'], found['after']) == (1, 2)
  pickle.loads(data)
  assert trace.exists()  # it would have


def text(value):
  return b'X' + struct.pack('<I', len(value)) + value.encode()


# How a pickle asks for a call, in its own letters: each would run `touch trace`.
CALLS = {
  'REDUCE': b'cos\nsystem\n(%b' + b'tR.',
  'INST': b'(%bios\nsystem\n.',
  'OBJ': b'(cos\nsystem\n%bo.',
  'NEWOBJ': b'\x80\x02cos\nsystem\n%b\x85\x81.',
  'NEWOBJ_EX': b'\x80\x04cos\nsystem\n%b\x85}\x92.',
  'STACK_GLOBAL': b'\x80\x04' + text('os') + text('system') + b'\x93%b\x85R.',
  'BUILD': b'cos\nsystem\n%bb.',
}


@pytest.mark.parametrize('call', CALLS)
def test_every_way_to_call_gives_an_inert_name(call, tmp_path):
  trace = tmp_path / 'trace'
  found = load(CALLS[call].replace(b'%b', text(f'touch {trace}')))
  assert isinstance(found, Inert) and found.name == 'os.system' and not trace.exists()


def test_no_module_is_imported_because_a_file_names_it():
  assert load(b'cantigravity\nfly\n(tR.').name == 'antigravity.fly'
  assert 'antigravity' not in sys.modules


BOMBS = {
  'cut short': pickle.dumps(PLAIN)[:-1],
  'nothing': b'',
  'an empty stack': b'.',
  'pops too much': b'00.',
  'no mark': b't.',
  'an unknown opcode': b'\xff.',
  'a memo never filled': b'h\x05.',
  'a text longer than the file': b'\x80\x04\x8d' + struct.pack('<Q', 1 << 60) + b'.',
  'an array longer than the file': b'\x80\x05\x96' + struct.pack('<Q', 1 << 40) + b'.',
  'a frame longer than the file': b'\x80\x04\x95' + struct.pack('<Q', 1 << 62),
  'a key without a value': b'}(K\x01u.',
  'a buffer elsewhere': b'\x80\x05\x97.',
  'a number of too many digits': b'I' + b'9' * 5000 + b'\n.',
  'many lists': b'(' + b']' * 10_001 + b'l.',
  'many copies of a text': b'('
  + text('a' * 4000)
  + b'q\x010c_codecs\nencode\nq\x020'
  + (b'h\x02(h\x01' + text('latin1') + b'tR') * 50
  + b'l.',
}


@pytest.mark.parametrize('bomb', BOMBS)
def test_what_is_no_pickle_or_too_much_is_damage(bomb, monkeypatch):
  monkeypatch.setattr(pickled_objects, 'MOST_STEPS', 10_000)
  with pytest.raises(data_pickle.DAMAGE):
    load(BOMBS[bomb])


def test_depth_costs_nothing():
  found, _ = data_pickle.load(io.BytesIO(b']' * 50_000 + b'a' * 49_999 + b'.'), lambda s: b'')
  depth = 0
  while found:
    found, depth = found[0], depth + 1
  assert depth == 49_999
  deep_key = b'}' + b')' + b'\x85' * 50_000 + b'K\x01s.'  # Python's tuples hash recursively
  [key] = data_pickle.load(io.BytesIO(deep_key), lambda s: b'')[0]
  assert isinstance(key, Inert)


def test_a_memo_is_as_large_as_what_is_in_it():
  assert (
    load(b'K\x05r' + struct.pack('<I', 0xFFFFFFF0) + b'j' + struct.pack('<I', 0xFFFFFFF0) + b'.')
    == 5
  )


def test_large_numbers_are_no_keys():
  [key] = load(b'}\x8a\xff' + b'\x01' * 255 + b'K\x01s.')
  assert isinstance(key, Inert)


def test_python_2_wrote_bytes_as_text():
  assert load(b'U\x02\xe9a.') == 'éa'
  assert np.array_equal(load(pickle.dumps(np.arange(3), 2)), [0, 1, 2])


def test_what_protocol_2_makes_of_arrays_costs_no_steps(monkeypatch):
  monkeypatch.setattr(pickled_objects, 'MOST_STEPS', 10_000)
  arrays = {str(i): np.full(100_000, i, np.float32) for i in range(5)}
  found = load(pickle.dumps(arrays, 2))
  assert all(np.array_equal(found[key], x) for key, x in arrays.items())
