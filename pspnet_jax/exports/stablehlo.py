"""StableHLO by jax.export: one file for CPUs, CUDA GPUs and TPUs, which JAX alone runs."""

from __future__ import annotations

import jax
import numpy as np
from jax import export

from pspnet_jax.errors import UserError
from pspnet_jax.exports.program import Program, Run, Size

PLATFORMS = ('cpu', 'cuda', 'tpu')


def check(size: Size) -> None:
  """Raises UserError for a free size."""
  if size is None:
    raise UserError(
      '--size=any: StableHLO holds the matrices that pool and interpolate one size: give '
      '--size=HEIGHT,WIDTH, and write a file for each size.'
    )


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
