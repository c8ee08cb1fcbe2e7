"""Tar archives whose headers claim what they like."""

import gzip
import io
import tarfile

import pytest

from pspnet_jax.runtime.tars import LARGEST_READ, open_tar
from tests import tars


def contents(stream):
  found = {}
  with open_tar(stream) as tar:
    for member in tar:
      file = tar.extractfile(member)
      pieces = iter(lambda file=file: file.read(LARGEST_READ), b'')
      found[member.name] = len(b''.join(pieces))
  return found


@pytest.mark.parametrize('kind', [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize('mode', ['w', 'w:gz'])
def test_archives_of_every_kind_are_read(kind, mode):
  files = {'a': 0, f'{"folder/" * 12}{"n" * 100}': 512, 'b': 700, 'large': LARGEST_READ + 9}
  if kind != tarfile.USTAR_FORMAT:  # which has no room for it
    files['n' * 300] = 1
  buffer = io.BytesIO()
  with tarfile.open(fileobj=buffer, mode=mode, format=kind) as archive:
    for name, size in files.items():
      entry = tarfile.TarInfo(name)
      entry.size = size
      archive.addfile(entry, io.BytesIO(bytes(size)))
  buffer.seek(0)
  with gzip.GzipFile(fileobj=buffer) if mode == 'w:gz' else buffer as stream:
    assert contents(stream) == files


@pytest.mark.parametrize('kind', tars.READ_IN_ONE_PIECE)
@pytest.mark.parametrize('size', [LARGEST_READ + 512, 1 << 60])
def test_a_header_that_is_too_large_is_not_read(kind, size):
  class Stream(io.BytesIO):
    def read(self, size=-1):
      assert 0 <= size <= LARGEST_READ
      return super().read(size)

  with pytest.raises(tarfile.TarError, match=r'a header of .* bytes'):
    contents(Stream(tars.header(kind, size) + bytes(1024)))


def test_nothing_is_kept_of_the_files_that_are_past():
  with open_tar(io.BytesIO(tars.header(tarfile.REGTYPE, 0) * 9 + bytes(1024))) as tar:
    kept = [len(tar.members) for _ in tar]
    assert len(kept) == 9 and max(kept) == 1


def test_what_holds_for_all_files_does_not_grow_without_end():
  def file(i):
    value = f'{LARGEST_READ // 4 + 20:07} {i}={"x" * (LARGEST_READ // 4)}'.encode()
    value = value.ljust(LARGEST_READ // 4 + 19, b'x') + b'\n'
    padded = value + bytes(-len(value) % 512)
    return tars.header(tarfile.XGLTYPE, len(value)) + padded + tars.header(tarfile.REGTYPE, 0)

  assert contents(io.BytesIO(b''.join(map(file, range(3))) + bytes(1024))) == {'name': 0}
  with pytest.raises(tarfile.TarError, match='headers for all files that are too large'):
    contents(io.BytesIO(b''.join(map(file, range(9))) + bytes(1024)))


def test_a_file_that_lies_before_its_header_ends_the_reading():
  with pytest.raises(tarfile.TarError):
    contents(io.BytesIO(tars.header(tarfile.REGTYPE, -1024)))
