"""Finds the network in what a file holds, wherever it lies and whatever stands before its names."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pspnet_jax.errors import UserError
from pspnet_jax.runtime.limits import BYTES
from pspnet_jax.weights.foreign import recognise
from pspnet_jax.weights.foreign.name_table import NamedArrays, listed, shown
from pspnet_jax.weights.foreign.origin import Origin
from pspnet_jax.weights.foreign.stored import Inert, StoredArray

_BACKBONE = 'layer1.0.conv1.weight'
_Place = tuple[tuple[str, ...], Mapping[Any, Any]]  # names that lead to a dictionary, and it
_DEEPEST, _MOST_PLACES = 4, 1000  # dictionaries in dictionaries
_MOST_NETWORKS = 100  # in one of them
# Copies of a network that are not the one that was trained, but follow it.
_FOLLOWER = re.compile(
  r'(^|[._])(ema|swa|avg|averaged?|teacher|target|momentum|shadow|\w+_k)([._]|$)'
)


@dataclasses.dataclass(frozen=True)
class Found:
  """A network in a file.

  Attributes:
    origin: whose names it has.
    label: where it lies, as `--key` names it: the dictionaries' names and the prefix of its arrays.
    arrays: by the origin's names, prefixes removed; whatever belongs to no network is not there.
    others: labels of other networks in the file.
    left_out: names of arrays that lie beside it and are no part of it.
  """

  origin: Origin
  label: str
  arrays: NamedArrays
  others: tuple[str, ...] = ()
  left_out: tuple[str, ...] = ()

  def notes(self) -> list[str]:
    """What the user should know, a sentence each."""
    notes = []
    if self.others:
      notes.append(
        f'Taken: {shown(self.label) or "the arrays at the top"}. The file has '
        f'{listed(self.others)} as well; --key=NAME takes another.'
      )
    if self.left_out:
      notes.append(f'Left out, being no part of the network: {listed(self.left_out)}.')
    return notes


@dataclasses.dataclass(frozen=True)
class _Candidate:
  path: tuple[str, ...]
  prefix: str
  origin: Origin
  place: Mapping[Any, Any] = dataclasses.field(repr=False)

  @property
  def label(self) -> str:
    return '.'.join((*self.path, *self.prefix.split('.')[:-1]))


def find(content: Any, where: str, source: str | None = None, key: str | None = None) -> Found:
  """Finds the network and reads its arrays.

  Of several, a whole one goes before a backbone, one that was trained before those that follow it
  (a moving average, a teacher), `state_dict` before other names, and the first before the next.

  Args:
    content: what `reading.opened` gives.
    where: what messages call the file.
    source: the name of an origin; None looks at the keys.
    key: the label of one of several networks; its beginning is enough.

  Raises:
    UserError: if there is none.
  """
  places = list(_places(content, where))
  candidates = [
    candidate
    for path, place in places
    for candidate in _candidates(path, place, recognise.named(source))
  ]
  chosen = _chosen(candidates, where, key)
  if chosen is None and source is not None and key is None:
    chosen = _forced(places, source, where)
  if chosen is None:
    raise _none_known(places, where)
  parts = [chosen, *_encoder(chosen, candidates)]
  taken = {part.label for part in parts}
  labels = dict.fromkeys(c.label for c in candidates if c.label not in taken)
  stored, left_out = _split(parts, where)
  if too_much := BYTES.exceeded_by(sum(array.nbytes for array in stored.values())):
    raise UserError(f'{where}: the arrays of the network take {too_much}.')
  arrays = {name: array.read() for name, array in stored.items()}
  return Found(chosen.origin, chosen.label, arrays, tuple(labels), tuple(left_out))


def _places(content: Any, where: str) -> Iterator[_Place]:
  """All dictionaries, and the names that lead to them."""
  if not isinstance(content, Mapping):
    kind = content.name if isinstance(content, Inert) else f'a {type(content).__name__}'
    raise _nothing(where, kind)
  waiting: list[_Place] = [((), content)]
  seen = {id(content)}
  for path, place in waiting:  # which grows
    yield path, place
    for name, value in place.items():
      inner = isinstance(value, Mapping) and isinstance(name, str) and id(value) not in seen
      if inner and len(path) < _DEEPEST and len(waiting) < _MOST_PLACES:
        seen.add(id(value))
        waiting.append(((*path, name), value))


def _candidates(
  path: tuple[str, ...], place: Mapping[Any, Any], origins: tuple[Origin, ...]
) -> list[_Candidate]:
  """The networks whose marks stand in one dictionary; a network's own backbone is none."""
  # Paddle has a table beside its arrays in which their names stand for names.
  names = {n for n, x in place.items() if isinstance(n, str) and not isinstance(x, str)}
  found: list[_Candidate] = []
  for origin in origins:
    first, *others = origin.marks
    for name in place:
      prefix = name.removesuffix(first) if name in names and name.endswith(first) else None
      if prefix is None or (prefix and not prefix.endswith('.')):
        continue
      if len(found) >= _MOST_NETWORKS:
        return found
      within = any(prefix.startswith(other.prefix) for other in found if _is_whole(other))
      same = any(prefix == other.prefix for other in found)
      if not within and not same and all(prefix + mark in names for mark in others):
        found.append(_Candidate(path, prefix, origin, place))
  return found


def _is_whole(candidate: _Candidate) -> bool:
  return candidate.origin.conventions is not None


def _chosen(candidates: list[_Candidate], where: str, key: str | None) -> _Candidate | None:
  if key is not None:
    fitting = [c for c in candidates if f'{c.label}.'.startswith(f'{key}.')]
    if not fitting:
      labels = listed({c.label or "''" for c in candidates}) or 'none'
      raise UserError(f'{where} has no network at --key={key}, but at {labels}: name one of these.')
    candidates = fitting
  return min(
    candidates,
    key=lambda c: (
      not _is_whole(c),
      bool(_FOLLOWER.search(c.label)),
      c.path[:1] != ('state_dict',) and bool(c.path),
    ),
    default=None,
  )


def _forced(places: list[_Place], source: str, where: str) -> _Candidate:
  """The dictionary and the origin of this name that know the most of each other's names."""
  candidates = [
    _Candidate(path, '', origin, place)
    for path, place in places
    for origin in recognise.named(source)
  ]

  def known(candidate: _Candidate) -> int:
    names = (name for name in candidate.place if isinstance(name, str))
    return sum(candidate.origin.table.ours(name) is not None for name in names)

  best = max(candidates, key=known, default=None)
  if best is None or not known(best):
    raise UserError(
      f'{where} has no array that {source} would name so: leave out --source, or give another file.'
    )
  return best


def _encoder(decoder: _Candidate, candidates: list[_Candidate]) -> list[_Candidate]:
  """The other half of MIT's networks, where one file has both under a prefix each."""
  if decoder.origin.name != 'mit' or f'{decoder.prefix}{_BACKBONE}' in decoder.place:
    return []
  return [c for c in candidates if c.place is decoder.place and not _is_whole(c)][:1]


def _split(parts: list[_Candidate], where: str) -> tuple[dict[str, StoredArray], dict[str, None]]:
  """The arrays that are or should be part of the network, by name; and the names of the others."""
  arrays: dict[str, StoredArray] = {}
  left_out: dict[str, None] = {}
  for name, value in parts[0].place.items():
    if not isinstance(name, str):
      continue
    part = next((p for p in parts if name.startswith(p.prefix)), None)
    short = name if part is None else name.removeprefix(part.prefix)
    table = parts[0].origin.table if part is None else part.origin.table
    if table.is_ignored(short):
      continue
    if part is None or table.is_foreign(short):
      if isinstance(value, StoredArray | Inert):
        left_out[name] = None
    elif isinstance(value, StoredArray) and value.values is not None:
      arrays[short] = value
    else:
      kind = value.name if isinstance(value, Inert) else type(value).__name__
      raise UserError(
        f'{where}: {shown(name)} is a {shown(kind)}, not an array: give a dense state_dict.'
      )
  return arrays, left_out


def _none_known(places: list[_Place], where: str) -> UserError:
  """Why no network was found: other arrays than are known, other things, or nothing."""
  named = [
    (name, value) for _, place in places for name, value in place.items() if isinstance(name, str)
  ]
  if names := {name for name, value in named if isinstance(value, StoredArray)}:
    return UserError(
      f'{where}: arrays named {listed(names)} are of none of the sources known '
      f'({", ".join(recognise.NAMES)}): give a checkpoint of a PSPNet or a ResNet of these.'
    )
  kinds = (f'{value.name} ({name})' for name, value in named if isinstance(value, Inert))
  return _nothing(where, next(kinds, ''))


def _nothing(where: str, kind: str) -> UserError:
  instead = f', but {shown(kind)}' if kind else ''
  return UserError(
    f'{where} holds no arrays by name{instead}: write a dense state_dict() where it came from, and '
    'give that.'
  )
