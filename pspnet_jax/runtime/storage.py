"""The place of a workdir: a folder of this computer, or one in a bucket of Google Cloud Storage.

One in a bucket is an `epath.Path`, of etils, which Orbax uses: it has the methods of a `Path`, but
for `is_symlink`, and `stat` has other fields. Annotations say `Path` of both. A bucket has objects
with names and no folders: what was made there is there once something lies in it. Writing an object
is whole or not at all; there is no appending, renaming, locking or linking.

The environment says who may: what `gcloud auth application-default login` left, a service account
(GOOGLE_APPLICATION_CREDENTIALS), or the machine's own account on Google Cloud.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import logging
import os
import re
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from pspnet_jax.errors import UserError, cannot_write
from pspnet_jax.runtime import paths
from pspnet_jax.runtime.plain_text import printable

_SCHEME = 'gs://'
_BUCKET = re.compile(r'[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]')
_PATIENCE = 30.0  # seconds that a bucket may take to answer at all
_OUT_OF_REACH = ('UNAVAILABLE', 'DEADLINE_EXCEEDED', 'retry attempts failed')  # TensorStore's
_LIBRARIES = ('gcsfs', 'google')
_NEEDED = 'the roles Storage Object User and Storage Legacy Bucket Reader'


def given(path: str | os.PathLike[str]) -> Path:
  """The workdir that was given: gs://BUCKET/FOLDER, or as `paths.given` has it.

  Raises:
    UserError: for an address of another kind, or where gcsfs is not installed.
  """
  if not is_remote(path):
    return _given_here(os.fspath(path))
  text = os.fspath(path)
  bucket, _, folder = text.removeprefix(_SCHEME).rstrip('/').partition('/')
  parts = folder.split('/')
  if not _BUCKET.fullmatch(bucket) or any(part in ('', '.', '..') for part in parts):
    raise UserError(f'{printable(text)} is no folder of a bucket: give gs://BUCKET/FOLDER.')
  # These would mean something else to one of the libraries that read the address.
  if found := re.search(r'[#?*\[\]\\\x00-\x1f\x7f]', folder):
    raise UserError(
      f'{printable(text)} has {printable(found[0])!r} in its name, which not all that read it take '
      'for a name: give a folder without.'
    )
  _prepare(text)
  from etils import epath

  return cast(Path, epath.Path(f'{_SCHEME}{bucket}/{folder}'))


def is_remote(path: str | os.PathLike[str]) -> bool:
  """Whether it is in a bucket, by its address."""
  return os.fspath(path).startswith(_SCHEME)


def is_address(path: str | os.PathLike[str]) -> bool:
  """Whether it is in a bucket or on the Hub, and no folder of this computer."""
  return is_remote(path) or paths.is_on_hub(path)


def absolute(path: Path) -> Path:
  """The path from the root on; an `epath.Path` takes its address for a relative one."""
  return path if is_remote(path) else path.absolute()


def location(path: str | os.PathLike[str]) -> Path | str:
  """What was given as a network's place: `given`, or an address of the Hub as it is."""
  return str(path) if paths.is_on_hub(path) else given(path)


def check(folder: Path) -> None:
  """Raises UserError if the bucket of a folder is not there, or may not be read.

  Orbax asks for the bucket, too, so that the right to do that is needed.
  """
  if not is_remote(folder):
    return
  try:
    _bucket(folder).reload(timeout=_PATIENCE, retry=None)
  except Exception as e:
    if (said := sentence(e, folder)) is None:
      raise
    raise UserError(said) from e


def blob(path: Path) -> Any:
  """The object of a path, as google-cloud-storage has it, which knows conditions on writing."""
  return _bucket(path).blob(str(path).removeprefix(_SCHEME).partition('/')[2])


def copy_objects(folder: Path, to: Path, but_for: str) -> None:
  """Copies what lies in a folder of a bucket to another one there; nothing passes through here.

  Args:
    folder, to: of the same bucket.
    but_for: a file of the folder that is left out.
  """
  bucket = _bucket(folder)
  before, after = (f'{blob(path).name}/' for path in (folder, to))
  for found in bucket.list_blobs(prefix=before):
    if (name := found.name.removeprefix(before)) != but_for:
      copy, token = bucket.blob(after + name), ''
      while token is not None:  # the service copies large ones in several goes
        token, _, _ = copy.rewrite(found, token=token or None)


def sentence(error: BaseException, where: Path | None = None) -> str | None:
  """Says in one sentence what a bucket, or the way there, refused.

  None for other errors, for a folder of this computer, and where no bucket was named at all. Where
  nothing says that a bucket was in use, the error has to come from what speaks with one.

  Args:
    error: of gcsfs, google-cloud-storage, or TensorStore, which says all in the text of plain ones.
    where: what was read or written, for the message.
  """
  if not (_prepare_once.cache_info().currsize if where is None else is_remote(where)):
    return None
  name = 'the bucket' if where is None else str(where)
  for e in chain(error):
    home, kind, text = type(e).__module__.partition('.')[0], type(e).__name__, str(e)
    if where is None and not _is_of_a_bucket(e):
      continue
    code = getattr(e, 'code', None)
    of_account = type(e).__module__.startswith('google.auth.') and kind != 'TransportError'
    if of_account or 'Project was not passed' in text:
      return (
        f'{name} cannot be opened, since no account is known here that may be used: run `gcloud '
        'auth application-default login` and set GOOGLE_CLOUD_PROJECT, or set '
        'GOOGLE_APPLICATION_CREDENTIALS.'
      )
    forbidden = text.startswith('Forbidden: ') or _says(e, 'PERMISSION_DENIED', 'UNAUTHENTICATED')
    if code in (401, 403) or forbidden:
      return f'{name} may not be used by this account, which needs {_NEEDED} on the bucket.'
    if home == 'google' and kind == 'NotFound':
      return f'{name} is in no bucket that there is: check its name, or make the bucket first.'
    gone = home in ('aiohttp', 'requests', 'urllib3') or kind in ('RetryError', 'TransportError')
    server = isinstance(code, int) and (code >= 500 or code in (408, 429))
    if gone or server or _says(e, *_OUT_OF_REACH):
      why = ' '.join(text.split())[:120] or kind
      return f'{name} cannot be reached ({printable(why)}): check the network, and run this again.'
  return None


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
  """Turns what the operating system or a bucket refuses in the block into a sentence.

  Raises:
    UserError: if `path` cannot be written.
  """
  try:
    yield
  except Exception as e:
    if (said := sentence(e, path)) is not None:
      raise UserError(said) from e
    if isinstance(e, OSError):
      raise cannot_write(path, e) from e
    raise


def chain(error: BaseException | None) -> Iterator[BaseException]:
  """The error, and what it came of."""
  seen = 0
  while error is not None and seen < 20:
    yield error
    error, seen = error.__cause__ or error.__context__, seen + 1


def _is_of_a_bucket(error: BaseException) -> bool:
  """Whether a library that speaks with a bucket has raised it, and not the Hub's, say."""
  if type(error).__module__.partition('.')[0] in _LIBRARIES or type(error) is ValueError:
    return True  # of plain ones `_says` asks more
  frames = traceback.walk_tb(error.__traceback__)
  return any(f.f_globals.get('__name__', '').partition('.')[0] in _LIBRARIES for f, _ in frames)


def _says(error: BaseException, *words: str) -> bool:
  """Whether it is TensorStore's of a bucket: a plain one, which has no number of a local disk's.

  JAX uses the same words of processes and devices, in a RuntimeError or one of its own.
  """
  text = str(error)
  return (
    type(error) is ValueError
    and any(word in text for word in words)
    and '[os_error_code=' not in text
  )


def _given_here(text: str) -> Path:
  scheme, found, rest = text.partition('://')
  if found and scheme in ('gcs', 's3', 'az', 'abfs', 'file'):
    instead = f'give a folder or {_SCHEME}BUCKET/FOLDER'
    instead = f'write {_SCHEME}{rest}' if scheme == 'gcs' else instead
    raise UserError(f'{printable(text)} is an address of another kind: {instead}.')
  return paths.given(text)


@functools.cache
def _prepare_once() -> None:
  from fsspec.config import conf

  # Nothing imports TensorFlow, which epath would prefer, unless the user asks for it.
  os.environ.setdefault('EPATH_USE_TF', 'false')
  # What gcsfs remembers of a folder does not know of what TensorStore or others write there.
  conf.setdefault('gcs', {}).setdefault('use_listings_cache', False)
  # It reports each failure, with a traceback, before it raises it.
  logging.getLogger('gcsfs').setLevel(logging.CRITICAL + 1)


def _prepare(text: str) -> None:
  if importlib.util.find_spec('gcsfs') is None:
    raise UserError(f"{printable(text)} needs gcsfs: pip install 'pspnet_jax[gs]'.")
  _prepare_once()


def _bucket(path: Path) -> Any:
  return _client().bucket(str(path).removeprefix(_SCHEME).partition('/')[0])


@functools.cache
def _client() -> Any:
  from google.cloud import storage

  return storage.Client()
