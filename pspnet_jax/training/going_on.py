"""What may not change between the two halves of a run."""

from __future__ import annotations

import inspect
from pathlib import Path

from pspnet_jax.errors import UserError
from pspnet_jax.inference.card import PSPNET, Card, with_tuples
from pspnet_jax.models.pspnet import PSPNet
from pspnet_jax.weights.foreign.origin import CONVENTIONS

_DEFAULTS = {key: inspect.signature(PSPNet.__init__).parameters[key].default for key in CONVENTIONS}


def check_same(workdir: Path, there: Card, here: Card) -> None:
  """Refuses to go on where the weights would mean something else than they were trained for.

  The protocol, the crop and the classes' colours may change.

  Args:
    workdir: of the run.
    there: the card of its checkpoint.
    here: that of the run that is to go on from it.

  Raises:
    UserError: if classes, their order, the pixels' mean or deviation, or a convention differ.
  """
  anew = f'start from it in another workdir with --config.init_from={workdir}'
  if there.spec.class_names != here.spec.class_names:
    theirs, ours = (card.spec.class_names for card in (there, here))
    raise UserError(
      f'{workdir} was trained on the {len(theirs)} classes {", ".join(theirs)}, and the data have '
      f'the {len(ours)} {", ".join(ours)}: give it the classes it had, in their order, or {anew}.'
    )
  values = {key: (getattr(there, key), getattr(here, key)) for key in ('mean', 'std')}
  values |= {f'model.{key}': (_option(there, key), _option(here, key)) for key in CONVENTIONS}
  for key, (theirs, ours) in values.items():
    if with_tuples(theirs) != with_tuples(ours):
      raise UserError(
        f'{workdir} was trained with {key}={theirs}, and {ours} would make another network of its '
        f'weights: set config.{key} back, or {anew}.'
      )


def _option(card: Card, key: str) -> object:
  is_pspnet = card.network.get('name', PSPNET) == PSPNET
  return card.network.get(key, _DEFAULTS[key] if is_pspnet else None)
