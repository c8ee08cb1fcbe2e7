"""Reads what `torch.save` and `pickle.dump` write, without torch and without running anything.

`paddle.save` writes a state dict by `pickle.dump`.
"""

from __future__ import annotations

import contextlib
import io
import mmap
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from pspnet_jax.errors import UserError
from pspnet_jax.runtime.limits import BYTES
from pspnet_jax.weights.foreign import data_pickle
from pspnet_jax.weights.foreign.pickled_objects import Storage

ZIP = b'PK\x03\x04'  # how a file of torch.save begins since PyTorch 1.6
_LEGACY = 0x1950A86A20F9469CFC6C  # the first object of an older one
_DAMAGE = (
  *data_pickle.DAMAGE,
  zipfile.BadZipFile,  # a checksum that does not hold is one
  zlib.error,
  EOFError,
  NotImplementedError,  # a way of compressing that torch does not use
  RuntimeError,  # encrypted
)


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Any]:
  """What the file holds, as `data_pickle.load` gives it; its arrays can be read within the block.

  Raises:
    UserError: if it is damaged, cut short or another kind of file; here or when an array is read.
  """
  with path.open('rb') as file:
    zipped = file.read(4) == ZIP
    if zipped:
      with _damage_named(path):
        archive = zipfile.ZipFile(file)
      yield _zipped(archive, path)
    else:
      with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        yield _legacy(content, path)


@contextlib.contextmanager
def _damage_named(path: Path) -> Iterator[None]:
  try:
    yield
  except UserError:
    raise
  except _DAMAGE as e:
    why = f' ({e})' if isinstance(e, zipfile.BadZipFile) and 'CRC' in str(e) else ''
    raise UserError(
      f'{path} is damaged, cut short{why} or no checkpoint of arrays: download it again, '
      'or give another.'
    ) from e


def _zipped(archive: zipfile.ZipFile, path: Path) -> Any:
  """A folder in an archive: data.pkl, and a file in data/ for each storage."""
  with _damage_named(path):
    entries = {entry.filename: entry for entry in archive.infolist()}
    size = path.stat().st_size
    if any(entry.header_offset + entry.compress_size > size for entry in entries.values()):
      raise ValueError('a member beyond the end')
    unpacked = BYTES.exceeded_by(sum(entry.file_size for entry in entries.values()))
    if unpacked:
      raise UserError(f'{path} unpacks to {unpacked}.')
    found = [name for name in entries if name.endswith('/data.pkl') and name.count('/') == 1]
    if not found:
      raise UserError(
        f'{path} is an archive without a data.pkl, which torch.save would have written: unpack it '
        'if the weights lie in it, or give another.'
      )
    folder = found[0].removesuffix('data.pkl')
    if f'{folder}constants.pkl' in entries:
      raise UserError(
        f'{path} is a TorchScript program (torch.jit.save), of which the weights are one part: '
        f"write them alone in PyTorch, by torch.save(torch.jit.load('{path.name}').state_dict(), "
        'FILE), and give that.'
      )
    byteorder = f'{folder}byteorder'
    if byteorder in entries and archive.read(byteorder) != b'little':
      raise UserError(f'{path} was written on a big-endian machine: save it on another.')
    fetch = _fetcher(path, lambda storage: archive.read(f'{folder}data/{storage.key}'))
    content, _ = data_pickle.load(io.BytesIO(archive.read(found[0])), fetch)
    return content


def _legacy(content: mmap.mmap, path: Path) -> Any:
  """Five pickles, and the storages end to end; or a single pickle, which pickle.dump wrote."""
  if content[257:262] == b'ustar':
    raise UserError(f'{path} is a tar archive: unpack it, and give the checkpoint in it.')
  places: dict[str, slice] = {}
  fetch = _fetcher(path, lambda storage: content[places[storage.key]])
  stream = cast(BinaryIO, content)
  with _damage_named(path):
    first, _ = data_pickle.load(stream, fetch)
    if first != _LEGACY:
      return first
    for _ in ('version', 'machine'):
      data_pickle.load(stream, fetch)
    data, storages = data_pickle.load(stream, fetch)
    keys, _ = data_pickle.load(stream, fetch)
    place = content.tell()
    for key in keys:
      storage = storages[key]
      if int.from_bytes(content[place : place + 8], 'little') != storage.count:
        raise ValueError('another number of elements')
      places[key] = slice(place + 8, place + 8 + storage.count * storage.dtype.itemsize)
      place = places[key].stop
    if place > len(content):
      raise ValueError('storages beyond the end')
    return data


def _fetcher(
  path: Path, read: Callable[[Storage], bytes]
) -> Callable[[Storage], bytes | memoryview]:
  """Reads whole storages, and keeps the last one: layers in a row may be parts of one."""
  last: tuple[str, bytes] | None = None

  def fetch(storage: Storage) -> memoryview:
    nonlocal last
    with _damage_named(path):
      if last is None or last[0] != storage.key:
        last = None  # not both of them in memory
        last = (storage.key, read(storage))
      needed = (storage.first + storage.count) * storage.dtype.itemsize
      if len(last[1]) < needed:
        raise ValueError('a storage without all of its elements')
      return memoryview(last[1])[:needed]

  return fetch
