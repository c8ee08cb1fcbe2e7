"""Compares a file with what its publisher says of its content.

A digest is the first digits of a SHA-256, or 'sha1:' and those of a SHA-1. Nothing, '', fits all.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path


def is_sound(path: Path, digest: str) -> bool:
  """Whether the file is there and has the checksum."""
  try:
    with path.open('rb') as file:
      return has_digest(file, digest)
  except OSError:
    return False


def has_digest(file: io.BufferedReader | io.BufferedRandom, digest: str) -> bool:
  """Whether the checksum of all of an open file begins so."""
  file.seek(0)
  kind, _, digits = digest.rpartition(':')
  return hashlib.file_digest(file, kind or 'sha256').hexdigest().startswith(digits)
