"""What config.json of a packed folder says: the card, and all else but the arrays themselves."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pspnet_jax
from pspnet_jax.errors import UserError
from pspnet_jax.inference.card import Card
from pspnet_jax.runtime.plain_text import printable

NAME = 'config.json'
FORMAT = 'pspnet_jax'
_LARGEST = 10_000_000  # bytes; a PSPNet-269's has 130,000
_FILE_NAME = re.compile(r'[A-Za-z0-9_]+\.(md|png)')  # they lie in the folder and nowhere else


@dataclasses.dataclass(frozen=True)
class Figure:
  """Scores of a packed network, and how they came about.

  Attributes:
    how: who measured them, and how, in words.
    data: what was measured on.
    which: which images of it, in words, as '100 images'; '' where nobody says.
    values: fractions by name, such as mIoU.
    classes: the IoU of each class by its name, where it is known; None where there is nothing to
      measure.
    caveat: why the scores tell less than they seem to, a sentence; None where nothing is known.
  """

  how: str
  data: str
  which: str
  values: Mapping[str, float]
  classes: Mapping[str, float | None] = dataclasses.field(default_factory=dict)
  caveat: str | None = None


@dataclasses.dataclass(frozen=True)
class About:
  """What is said of a packed network beside its card.

  Attributes:
    title: heads the model card.
    license: an identifier such as 'mit'; None where nobody has said.
    figures: what was measured.
    training: the config that it was trained with, where it was trained here.
  """

  title: str
  license: str | None = None
  figures: tuple[Figure, ...] = ()
  training: Mapping[str, Any] | None = None


@dataclasses.dataclass(frozen=True)
class Packed:
  """What config.json says.

  Attributes:
    card: what the network is.
    step, average: which weights these are; see `Loaded`.
    about: what else is said.
    params, batch_stats: the SHA-256 of each array by its name; see `digests.sha256`.
    files: the SHA-256 of each further file by its name.
  """

  card: Card
  step: int
  average: bool | None
  about: About
  params: Mapping[str, str]
  batch_stats: Mapping[str, str]
  files: Mapping[str, str]


def text_of(packed: Packed) -> str:
  """The content of config.json."""
  about = {field.name: getattr(packed.about, field.name) for field in dataclasses.fields(About)}
  values: dict[str, Any] = {
    'format': FORMAT,
    'library_name': FORMAT,
    'library_version': pspnet_jax.__version__,
    **about,
    'figures': [dataclasses.asdict(figure) for figure in packed.about.figures],
    'card': packed.card.to_json(),
    'step': packed.step,
    'average': packed.average,
    **{name: dict(getattr(packed, name)) for name in ('params', 'batch_stats', 'files')},
  }
  values['sha256'] = _own_sha256(values)
  return json.dumps(values, indent=1) + '\n'


def read(folder: Path) -> Packed:
  """Reads config.json, and no array.

  Raises:
    UserError: if it is not there, not of a packed network, or not as it was written.
  """
  path = folder / NAME
  values = _json_of(path)
  if values.get('format') != FORMAT:
    raise UserError(f'{path} is not of pspnet pack: name a folder that it wrote.')
  if values.get('sha256') != _own_sha256(values):
    raise _damaged(path, 'its own SHA-256 differs')
  try:
    return Packed(
      card=Card.from_json(_typed(values, 'card', dict)),
      step=_step(values),
      average=_typed(values, 'average', bool, optional=True),
      about=About(
        title=_typed(values, 'title', str),
        license=_typed(values, 'license', str, optional=True),
        figures=tuple(_figure(x) for x in _typed(values, 'figures', list)),
        training=_typed(values, 'training', dict, optional=True),
      ),
      params=_texts(values, 'params'),
      batch_stats=_texts(values, 'batch_stats'),
      files=_file_names(values),
    )
  except UserError as e:
    raise UserError(f'{path}: {e}') from e


def _json_of(path: Path) -> dict[str, Any]:
  try:
    with path.open('rb') as file:
      text = file.read(_LARGEST + 1)
    if len(text) > _LARGEST:
      raise ValueError(f'it has more than {_LARGEST:,} bytes')
    values = json.loads(text.decode())
  except FileNotFoundError as e:
    raise UserError(
      f'{path.parent} lacks {NAME}: download or copy all of the packed folder.'
    ) from e
  except OSError as e:
    raise UserError(f'cannot read {path}: {e.strerror or e}.') from e
  except (ValueError, RecursionError) as e:
    raise _damaged(path, (str(e).splitlines() or [''])[0][:100]) from e
  if not isinstance(values, dict):
    raise _damaged(path, 'it is no dictionary')
  return values


def _damaged(path: Path, how: str) -> UserError:
  return UserError(
    f'{path} is not what pspnet pack wrote ({how}): download or copy the folder again.'
  )


def _own_sha256(values: Mapping[str, Any]) -> str:
  """The SHA-256 of all that config.json says, but for itself."""
  rest = {key: value for key, value in values.items() if key != 'sha256'}
  return sha256(json.dumps(rest, sort_keys=True).encode())


def sha256(content: bytes) -> str:
  """The SHA-256 of a file's content, in hexadecimal digits."""
  return hashlib.sha256(content).hexdigest()


def _typed(values: Mapping[str, Any], key: str, kind: type, *, optional: bool = False) -> Any:
  value = values.get(key)
  if type(value) is kind or (optional and value is None):
    return value
  raise UserError(f'its {key} is no {kind.__name__}: it was not written by pspnet pack.')


def _step(values: Mapping[str, Any]) -> int:
  step: int = _typed(values, 'step', int)
  if not 0 <= step < 2**31:
    raise UserError(f'its step is {str(step)[:80]}: it was not written by pspnet pack.')
  return step


def _texts(values: Mapping[str, Any], key: str) -> dict[str, str]:
  found: dict[str, str] = _typed(values, key, dict)
  if not all(isinstance(x, str) for x in found.values()):
    raise UserError(f'its {key} are no texts: it was not written by pspnet pack.')
  return found


def has_training(folder: Path) -> bool:
  """Whether config.json of a packed folder holds the config of a training."""
  return read(folder).about.training is not None


def training_in(values: Any) -> Any:
  """The config of a training in what a config.json holds, a run's or a packed folder's."""
  is_packed = isinstance(values, dict) and values.get('format') == FORMAT
  return values.get('training') if is_packed else values


def _file_names(values: Mapping[str, Any]) -> dict[str, str]:
  found = _texts(values, 'files')
  wrong = next((name for name in found if not _FILE_NAME.fullmatch(name)), None)
  if wrong is not None:
    raise UserError(f'its file {printable(wrong[:80])} has no name that pspnet pack would give.')
  return found


def _figure(values: Any) -> Figure:
  if not isinstance(values, dict):
    raise UserError('its figures are no dictionaries: it was not written by pspnet pack.')
  numbers, classes = _typed(values, 'values', dict), _typed(values, 'classes', dict)
  known = [*numbers.values(), *(x for x in classes.values() if x is not None)]
  if not all(type(x) in (int, float) and 0 <= x <= 1 for x in known):
    raise UserError('its figures are no fractions: it was not written by pspnet pack.')
  how, data, which = (_typed(values, key, str) for key in ('how', 'data', 'which'))
  return Figure(how, data, which, numbers, classes, _typed(values, 'caveat', str, optional=True))
