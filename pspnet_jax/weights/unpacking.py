"""Takes the one weight file out of an archive that came from elsewhere."""

from __future__ import annotations

import contextlib
import gzip
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

from pspnet_jax.errors import UserError
from pspnet_jax.runtime.files import whole_file
from pspnet_jax.runtime.limits import BYTES
from pspnet_jax.runtime.tars import open_tar

_DAMAGE = (
  *(zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error),
  *(EOFError, ValueError, NotImplementedError, RuntimeError),  # cut short, or packed in other ways
)
_ZIP = b'PK\x03\x04'


def unpack(archive: Path, suffix: str, output: Path) -> None:
  """Writes the first file of the archive that ends with `suffix`, whatever else it is called.

  Args:
    archive: .zip or .tar.gz, told by its content.
    suffix: such as '.params'.
    output: where it goes; no name in the archive decides on that.

  Raises:
    UserError: if the archive is damaged, too large or has no such file.
  """
  try:
    with archive.open('rb') as file, _member(file, suffix) as member:
      if member is None:
        raise UserError(f'{archive} holds no file that ends with {suffix}: give another.')
      with whole_file(output) as out:
        shutil.copyfileobj(member, out, 1 << 20)
  except UserError:
    raise
  except _TooMuch as e:
    raise UserError(f'{archive} unpacks to {e}.') from e
  except _DAMAGE as e:
    raise UserError(f'{archive} is damaged or no archive: download it again.') from e
  except OSError as e:
    raise UserError(f'cannot unpack {archive}: {e.strerror or e}.') from e


class _TooMuch(Exception):
  pass


class _Bounded:
  """A stream of which only so much may be read: an archive can be made to fill a disk."""

  def __init__(self, stream: IO[bytes]):
    self._stream = stream

  def tell(self) -> int:
    return self._stream.tell()

  def seek(self, position: int) -> int:
    self._check(position)
    return self._stream.seek(position)

  def read(self, size: int = -1) -> bytes:
    data = self._stream.read(size)
    self._check(self.tell())
    return data

  def _check(self, position: int) -> None:
    if fault := BYTES.exceeded_by(position):
      raise _TooMuch(fault)


@contextlib.contextmanager
def _member(file: IO[bytes], suffix: str) -> Iterator[Any]:
  """The file that is looked for, open; None if there is none."""
  beginning = file.read(len(_ZIP))
  file.seek(0)
  if beginning == _ZIP:
    with zipfile.ZipFile(file) as whole:
      found = [entry for entry in whole.infolist() if entry.filename.endswith(suffix)]
      if not found:
        yield None
        return
      with whole.open(found[0]) as inner:
        yield _Bounded(inner)
    return
  with gzip.open(file) as stream:
    bounded: Any = _Bounded(cast(IO[bytes], stream))
    with open_tar(bounded) as tar:
      for entry in tar:
        if entry.isfile() and entry.name.endswith(suffix):
          yield tar.extractfile(entry)
          return
      yield None
