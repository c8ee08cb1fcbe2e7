"""Tar headers that no program would write."""

import tarfile

READ_IN_ONE_PIECE = (
  *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
  *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
)


def header(kind: bytes, size: int) -> bytes:
  """A header of a kind that claims a size, which may be below zero."""
  entry = tarfile.TarInfo('name')
  entry.type, entry.size = kind, size
  return entry.tobuf(tarfile.GNU_FORMAT)
