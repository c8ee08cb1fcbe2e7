"""Reads labels from MATLAB files."""

from __future__ import annotations

import io

import numpy as np
import scipy.io

from pspnet_jax.data.label_ids import map_ids
from pspnet_jax.errors import UserError
from pspnet_jax.runtime.limits import PIXELS


def mat_label(where: str, data: bytes, name: str, table: np.ndarray) -> np.ndarray:
  """The label in a MATLAB file, as `label_ids.read_label` has it of an image file.

  Args:
    where: for messages.
    data: what the file holds, in MATLAB's formats up to version 7.
    name: of the variable that holds the ids, a matrix.
    table: from ids to class ids; see `label_ids.label_table`.

  Returns:
    uint8 [H, W]: class ids and IGNORE_LABEL.

  Raises:
    UserError: if the file is damaged or has no such matrix, or it holds an illegal id.
  """
  try:
    shapes = {found: shape for found, shape, _ in scipy.io.whosmat(io.BytesIO(data))}
    height, width = shapes[name]
    if too_large := PIXELS.exceeded_by(height * width):
      raise UserError(f'{where} has {too_large}.')
    ids = scipy.io.loadmat(io.BytesIO(data), variable_names=[name])[name]
    whole = np.ascontiguousarray(ids).astype(np.uint16)
    if ids.dtype.kind not in 'uif' or not (whole == ids).all():
      raise ValueError(f'{name} holds other values than ids')
  except UserError:
    raise
  except Exception as e:  # whatever a damaged file makes of SciPy's reader
    reason = ' '.join(f'{type(e).__name__}: {e}'.split())[:200]
    raise UserError(
      f'{where} holds no matrix {name} ({reason}): download the archive again.'
    ) from e
  return map_ids(where, whole, table)
