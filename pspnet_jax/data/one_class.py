"""Refuses labels that show one class alone: a network could only answer it, and would be right."""

from __future__ import annotations

import itertools

import numpy as np

from pspnet_jax.data.illegal_ids import holds_colours, settings
from pspnet_jax.data.in_order import in_order
from pspnet_jax.data.spec import IGNORE_LABEL, Source, StoredLabels
from pspnet_jax.errors import UserError

_WITHOUT_THREADS = 8  # labels: one is enough, as a rule
_UNLABELLED = 256  # so many labels without any class are a test set, or a fault of another kind


def refuse_one_class(source: Source, split: str, *, threads: int | None = None) -> None:
  """Reads labels, drawn from all over the source, until two classes were seen.

  That is one label, as a rule. A source that shows one class again and again is read to its end,
  for only then is it sure that there is no other; if 256 labels show no class whatever, this ends.

  Args:
    source: what to read; by its method `label`, if it has one.
    split: what the source is, for the message.
    threads: that read; see `in_order`.

  Raises:
    UserError: if all labelled pixels are of one class; or what the first label that cannot be
      read raises, if those of the others are.
  """
  read = getattr(source, 'label', lambda index: source[index]['label'])
  bad: list[UserError] = []

  def present(index: int) -> np.ndarray:
    try:
      return np.bincount(read(index).ravel(), minlength=256) > 0
    except UserError as error:
      bad.append(error)
      return np.zeros(256, bool)

  order = np.random.default_rng(0).permutation(len(source)).tolist()
  first, rest = order[:_WITHOUT_THREADS], order[_WITHOUT_THREADS:]
  found = itertools.chain(map(present, first), in_order(present, rest, threads=threads))
  seen = np.zeros(256, bool)
  for count, own in enumerate(found, 1):
    seen |= own
    classes = np.flatnonzero(seen[:IGNORE_LABEL])
    if len(classes) > 1 or (not len(classes) and count >= _UNLABELLED):
      return
  if seen[:IGNORE_LABEL].any():
    raise bad[0] if bad else UserError(_message(source, split, seen))


def _message(source: Source, split: str, seen: np.ndarray) -> str:
  only = int(np.flatnonzero(seen)[0])
  table, files = None, ''
  if isinstance(source, StoredLabels):
    table, files = source.table, f', {source.files(0)[1]} to begin with,'
  nothing = f'no label of the {split} split{files} has a pixel of another class than'
  nothing += f' {source.spec.class_names[only]!r}'
  of_ids = table is not None and not holds_colours(table) and table[IGNORE_LABEL] == IGNORE_LABEL
  if only == 0 and seen[IGNORE_LABEL] and of_ids:
    return (
      f'{nothing}, only ignored ones: if 255 is the second of two classes in these files, '
      f'{settings(label_ids=(0, 255))}.'
    )
  return f'{nothing}, which a network would learn to answer everywhere: check the labels.'
