"""Hugging Face's Hub: packed folders are downloaded from there and uploaded to it.

`huggingface_hub` does both. It knows the token of `hf auth login` or HF_TOKEN, keeps what it has
downloaded in its own cache, and asks HF_ENDPOINT where that is set.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pspnet_jax
from pspnet_jax.errors import UserError, cannot_write
from pspnet_jax.reporting.console import make_console, say
from pspnet_jax.runtime.limits import BYTES
from pspnet_jax.runtime.paths import HUB
from pspnet_jax.runtime.plain_text import printable
from pspnet_jax.weights import packed, packed_config

if TYPE_CHECKING:
  from huggingface_hub import HfApi

_NAME = re.compile(r'[A-Za-z0-9_][A-Za-z0-9._-]*/[A-Za-z0-9_][A-Za-z0-9._-]*')
_LOG_IN = 'log in with `hf auth login`, or set HF_TOKEN'


@dataclasses.dataclass(frozen=True)
class _Address:
  name: str  # OWNER/NAME
  revision: str | None  # a branch, a tag or a commit

  def __str__(self) -> str:
    at = f'@{self.revision}' if self.revision else ''
    return f'{HUB}{self.name}{at}'


def check_name(name: str) -> None:
  """Raises UserError unless it is OWNER/NAME as the Hub has them."""
  if not _NAME.fullmatch(name) or '--' in name or '..' in name or len(name) > 96:
    raise UserError(f'{printable(name[:100])} is no name of a repository: give OWNER/NAME.')


def fetch(location: str) -> Path:
  """The folder that an address names, downloaded as far as it is not here yet.

  Only the weights and config.json are. A revision stands for the commit that it is now; if the Hub
  cannot be reached, for the one that it was when it was last downloaded, which is said.

  Args:
    location: hf://OWNER/NAME, or hf://OWNER/NAME@REVISION.

  Raises:
    UserError: if it cannot be had, holds no packed network, or is too large.
  """
  address = _parsed(location)
  api, console = _api(location), make_console(stderr=True)
  from huggingface_hub import errors

  folder, revision = Path(), address.revision or 'main'
  with _in_a_sentence(address):
    unreachable = _unreachable_now(api, address)
    offline = unreachable is not None
    for name in (packed_config.NAME, packed.WEIGHTS):
      try:
        about = api.hf_hub_download(
          address.name, name, revision=revision, local_files_only=offline, dry_run=True
        )
      except errors.LocalEntryNotFoundError as e:
        raise unreachable or e from None
      if about.file_size is None:
        raise UserError(f'{name} of {address} cannot be downloaded: the Hub does not say its size.')
      if too_large := BYTES.exceeded_by(about.file_size):
        raise UserError(f'{name} of {address} has {too_large}.')
      if about.will_download and name == packed.WEIGHTS:
        say(console, f'Fetching {address}, commit {about.commit_hash[:8]}.')
      path = api.hf_hub_download(address.name, name, revision=revision, local_files_only=offline)
      folder = Path(path).parent
      revision = folder.name  # its commit: the weights are of the same, whatever comes meanwhile
  if unreachable is not None:
    say(console, f'The Hub cannot be reached: {address} is taken as it was, commit {revision[:8]}.')
  return folder


def push(folder: Path, name: str, *, private: bool = False) -> str:
  """Uploads a packed folder as one commit; the repository is made if it is not there.

  Files of the folder that `packed.write` did not write stay here, and those of the repository that
  are not in the folder stay there.

  Args:
    folder: see `packed.write`.
    name: OWNER/NAME.
    private: whether a repository that is made is open to its owner alone.

  Returns:
    The commit's address.

  Raises:
    UserError: if the Hub refuses it, or cannot be reached.
  """
  check_name(name)
  api = _api(f'{HUB}{name}')
  from huggingface_hub import CommitOperationAdd, get_token

  if not get_token():
    raise UserError(f'uploading to {name} needs a token that may write: {_LOG_IN}.')
  files = (packed.WEIGHTS, packed_config.NAME, *packed_config.read(folder).files)
  with _in_a_sentence(_Address(name, None), to='write'):
    api.create_repo(name, private=private or None, exist_ok=True)
    commit = api.create_commit(
      name,
      [CommitOperationAdd(file, folder / file) for file in files],
      commit_message='Weights and model card',
    )
  return str(commit.commit_url)


def _parsed(location: str) -> _Address:
  name, at, revision = location.removeprefix(HUB).partition('@')
  check_name(name)
  fits = re.fullmatch(r'[\w./-]{1,200}', revision) and '..' not in revision
  if at and not fits:
    raise UserError(
      f'{printable(location[:200])} names no revision behind its @: give a branch, a tag or a '
      'commit.'
    )
  return _Address(name, revision or None)


def _api(location: str) -> HfApi:
  try:
    from huggingface_hub import HfApi
  except ImportError as e:
    raise UserError(f"{location} needs huggingface_hub: pip install 'pspnet_jax[hub]'.") from e
  return HfApi(library_name='pspnet_jax', library_version=pspnet_jax.__version__)


def _unreachable_now(api: HfApi, address: _Address) -> Exception | None:
  """Asks whether the repository is there; what keeps the Hub from answering, if anything does."""
  from huggingface_hub import errors
  from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]

  try:
    api.model_info(address.name, revision=address.revision)
  except (HTTPError, OSError) as e:
    if isinstance(e, errors.HfHubHTTPError) and e.response.status_code < 500:
      raise
    return e
  return None


@contextlib.contextmanager
def _in_a_sentence(address: _Address, to: str = 'read') -> Iterator[None]:
  """Turns what `huggingface_hub` raises into a sentence, and keeps its log to itself meanwhile."""
  from huggingface_hub import errors, logging
  from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]

  before = logging.get_verbosity()
  logging.set_verbosity(50)  # nothing is as grave
  try:
    yield
  except errors.GatedRepoError as e:
    raise UserError(
      f'{address} is open only to whom its owner lets in: ask on its page, and {_LOG_IN}.'
    ) from e
  except errors.RepositoryNotFoundError as e:
    raise UserError(
      f'{address} is not there, or private and not open to you: check the name, and {_LOG_IN}.'
    ) from e
  except errors.RevisionNotFoundError as e:
    raise UserError(
      f'{address.name} has no revision {address.revision}: give a branch, a tag or a commit.'
    ) from e
  except errors.RemoteEntryNotFoundError as e:
    raise UserError(
      f'{address} is no packed network: it lacks {packed_config.NAME} or {packed.WEIGHTS}.'
    ) from e
  except errors.HfHubHTTPError as e:
    raise UserError(_refusal(address, to, e.response.status_code)) from e
  except errors.LocalEntryNotFoundError as e:
    raise _unreachable(address, to, e.__cause__ or e) from e
  except OSError as e:
    if e.errno is not None and not isinstance(e, ConnectionError) and e.filename is not None:
      raise cannot_write(Path(str(e.filename)), e) from e
    raise _unreachable(address, to, e) from e
  except UserError:
    raise
  except (HTTPError, RuntimeError) as e:
    raise _unreachable(address, to, e) from e
  except (ValueError, KeyError, TypeError, AttributeError) as e:  # of what a server has answered
    raise UserError(f'the Hub does not let you {to} {address} ({_reason(e)}).') from e
  finally:
    logging.set_verbosity(before)


def _refusal(address: _Address, to: str, status: int) -> str:
  if status in (401, 403):
    return f'the Hub does not let you {to} {address} (it answers {status}): {_LOG_IN}.'
  return f'the Hub answers {status} for {address}: try again later.'


def _unreachable(address: _Address, to: str, error: BaseException) -> UserError:
  what, kept = ('downloaded', '; what has come is kept') if to == 'read' else ('uploaded', '')
  return UserError(
    f'{address} cannot be {what} ({_reason(error)}): see to the network and try again{kept}.'
  )


def _reason(error: BaseException) -> str:
  """What an error says, in a part of a sentence, and without the token that was sent."""
  text = re.sub(r'Bearer \S+', 'a token', ' '.join(str(error).split()))
  return printable(text or type(error).__name__)[:200].rstrip('.')
