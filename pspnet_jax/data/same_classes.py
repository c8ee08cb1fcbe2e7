"""Whether the names of two lists mean the same classes, id by id."""

from __future__ import annotations

from collections.abc import Sequence

from pspnet_jax.data.known_classes import numbered_classes

_SHOWN = 5  # classes that a sentence names


def difference(one: Sequence[str], other: Sequence[str], *, other_words: bool) -> str | None:
  """Says why two lists of names are not those of the same classes; None if they are.

  Args:
    one, other: names by class id.
    other_words: whether a class may go by another word, as in weights of another source. At least
      one name is then at the same id in both, and none at another, unless one list has no names
      but only numbers.
  """
  if len(one) != len(other):
    return f'the one knows {len(one)} classes and the other {len(other)}'
  if other_words and (is_numbered(one) or is_numbered(other)):
    return None
  theirs, ours = alike(one, other)
  both = {*theirs} & {*ours}
  differing = [i for i, (a, b) in enumerate(zip(theirs, ours, strict=True)) if a != b]
  elsewhere = [i for i in differing if not other_words or {theirs[i], ours[i]} & both]
  if both and not elsewhere:
    return None
  i = (elsewhere or differing)[0]
  alone = '' if both else 'no class of the one is called as one of the other, and '
  return f'{alone}class {i} of the one is {one[i]}, of the other {other[i]}'


def in_other_words(one: Sequence[str], other: Sequence[str], names: tuple[str, str]) -> str | None:
  """Says what two lists without a `difference` call otherwise; None if that is nothing.

  Args:
    one, other: names by class id.
    names: what has them.
  """
  theirs, ours = alike(one, other)
  if theirs == ours:
    return None
  if is_numbered(one) or is_numbered(other):
    without, named = names if is_numbered(one) else names[::-1]
    return f'The classes of {without} have no names: they are taken for those of {named}, by id.'
  differing = [i for i, (a, b) in enumerate(zip(theirs, ours, strict=True)) if a != b]
  shown = ', '.join(f'{i} ({one[i]}, {other[i]})' for i in differing[:_SHOWN])
  shown += f' and {len(differing) - _SHOWN} more' if len(differing) > _SHOWN else ''
  return (
    f'{names[0]} and {names[1]} call {len(differing)} of {len(one)} classes by other words, which '
    f'are taken to mean the same: {shown}.'
  )


def is_numbered(names: Sequence[str]) -> bool:
  """Whether these are the names that `numbered_classes` gives."""
  return tuple(names) == numbered_classes(len(names)).class_names


def alike(one: Sequence[str], other: Sequence[str]) -> tuple[list[str], list[str]]:
  """Both lists as they are compared: as they stand if else two names of a list were the same."""
  theirs, ours = ([_plain(name) for name in names] for names in (one, other))
  if len({*theirs}) < len(theirs) or len({*ours}) < len(ours):
    return list(one), list(other)
  return theirs, ours


def _plain(name: str) -> str:
  """Names as they are compared: 'Traffic light' is 'traffic_light'."""
  return ''.join(c for c in name.casefold() if c.isalnum()) or name
