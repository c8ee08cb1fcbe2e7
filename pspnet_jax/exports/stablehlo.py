"""StableHLO by jax.export: one file for CPUs, CUDA GPUs and TPUs, which JAX alone runs."""

from __future__ import annotations

import json
from pathlib import Path

import jax
import numpy as np
from jax import export

from pspnet_jax.errors import UserError
from pspnet_jax.exports.program import WRITER, Program, Run, Size

PLATFORMS = ('cpu', 'cuda', 'tpu')
_LARGEST_DESCRIPTION = 1_000_000  # bytes; 255 classes take a hundredth


def check(size: Size) -> None:
  """Raises UserError for a free size."""
  if size is None:
    raise UserError(
      '--size=any: StableHLO holds the matrices that pool and interpolate one size: give '
      '--size=HEIGHT,WIDTH, and write a file for each size.'
    )


def description_of(output: Path) -> Path:
  """The second file, which tells about the one that is written.

  Raises:
    UserError: if there is one that `Program.described` did not write.
  """
  path = output.with_name(f'{output.name}.json')
  if path.is_file() and not _is_description(path):
    raise UserError(
      f'{path} is there and tells of no export, and the description of {output} would replace it: '
      'move it, or give another --output.'
    )
  return path


def _is_description(path: Path) -> bool:
  if path.stat().st_size > _LARGEST_DESCRIPTION:
    return False
  try:
    content = json.loads(path.read_bytes())
  except (ValueError, RecursionError):
    return False
  return isinstance(content, dict) and str(content.get('written_by')).startswith(WRITER)


def make(program: Program) -> bytes:
  """Lowers the program for every platform, its weights inside, for any number of images.

  `lax.platform_dependent` keeps what each platform computes in its own way.

  Raises:
    UserError: if the network cannot be traced for a number of images that is not known.
  """
  check(program.size)
  run, weights = program.function()
  shape = export.symbolic_shape(', '.join(map(str, program.shape)))
  image = jax.ShapeDtypeStruct(shape, np.uint8)
  weights = jax.tree.map(np.asarray, weights)
  try:
    lower = export.export(jax.jit(lambda image: run(weights, image)), platforms=PLATFORMS)
    return bytes(lower(image).serialize())
  except jax.errors.InconclusiveDimensionOperation as e:
    raise UserError(
      f'the network {program.network.model.__name__} looks at the number of images '
      f'({str(e).partition(chr(10))[0][:200]}): write it for any number of them.'
    ) from e


def runner(content: bytes) -> Run:
  """Makes the function of a file, as its loader does."""
  call = jax.jit(export.deserialize(bytearray(content)).call)
  return lambda image: jax.tree.map(np.asarray, call(image))
