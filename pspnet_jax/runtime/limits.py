"""How much a file may make us allocate: a few bytes can claim to be gigabytes.

Readers ask here before they decode, with the figures of the file's header. Whoever has larger files
raises a limit by its environment variable, which every message names.
"""

from __future__ import annotations

import dataclasses
import os

from pspnet_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Limit:
  """A limit with the environment variable that replaces it."""

  variable: str
  default: int
  unit: str

  @property
  def value(self) -> int:
    """The limit in force.

    Raises:
      UserError: if the variable holds anything but a positive whole number.
    """
    text = os.environ.get(self.variable, '')
    if not text:
      return self.default
    if not text.isdecimal() or not int(text):
      raise UserError(f'{self.variable}={text}: give a whole number of {self.unit}, 1 or more.')
    return int(text)

  def exceeded_by(self, amount: int) -> str | None:
    """What is wrong with so much, for the end of a sentence; None if it is within the limit."""
    if amount <= self.value:
      return None
    return (
      f'{amount:,} {self.unit}, and {self.value:,} is the limit: if that is meant, raise it with '
      f'the environment variable {self.variable}'
    )


PIXELS = Limit('PSPNET_JAX_MAX_PIXELS', 200_000_000, 'pixels')  # of one image: 0.6 GB as RGB
BYTES = Limit('PSPNET_JAX_MAX_BYTES', 4 << 30, 'bytes')  # of weights or one member of an archive
