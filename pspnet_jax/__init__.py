"""PSPNet (Zhao et al., CVPR 2017) in JAX: train, evaluate and predict."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
  from pspnet_jax.predictor import Predictor, load, load_pretrained

__version__ = '0.1.0'
__all__ = ['Predictor', 'load', 'load_pretrained']


def __getattr__(name: str) -> object:
  # Imported when first used: `import pspnet_jax.data.spec` should not start JAX.
  if name in __all__:
    from pspnet_jax import predictor

    return getattr(predictor, name)
  raise AttributeError(f'module {__name__!r} has no attribute {name!r}')


def __dir__() -> list[str]:
  # What is not imported yet is offered all the same where a notebook completes names.
  return sorted({*globals(), *__all__})
