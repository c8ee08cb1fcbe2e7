"""Packs a network into a folder to share: weights, config and a model card.

  pspnet pack --workdir=/tmp/scenes --output=/tmp/shared --license=mit

DIR/model.safetensors holds the arrays, DIR/config.json all that is needed to use them, and
DIR/README.md is a model card as Hugging Face's Hub shows it, with the figures that `evaluate` left
in the workdir. --push=OWNER/NAME uploads the folder (pip install 'pspnet_jax[hub]'). --workdir
takes such a folder with every command but train, which starts from it by --config.init_from; that
of evaluate, predict, submit, export and demo takes hf://OWNER/NAME too.
"""

from __future__ import annotations

from absl import flags

from pspnet_jax import cli

FLAGS = flags.FLAGS


def define_flags() -> None:
  """Defines the command's flags; see `cli`."""
  cli.define_network_flags()
  cli.define_path('output', None, 'The folder to write.', required=True)
  flags.DEFINE_string('license', None, "Of the weights, such as mit or cc-by-4.0; else 'unknown'.")
  flags.DEFINE_string('title', None, 'Heads the model card.')
  cli.define_path('picture', None, 'An image to label for the model card.')
  flags.DEFINE_bool('examples', True, 'Takes the validation images that `evaluate` has drawn.')
  flags.DEFINE_string('push', None, 'OWNER/NAME: uploads the folder to the Hub.')
  flags.DEFINE_bool('private', False, 'Whether a repository that is made is private.')


if __name__ == '__main__':  # ahead of the imports: --help does not wait for JAX
  cli.start('pack', __doc__, define_flags)

import dataclasses
import json
import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flax import nnx

from pspnet_jax import predictor
from pspnet_jax.config import files, parts, shared
from pspnet_jax.errors import UserError
from pspnet_jax.inference.card import PSPNET, Card, with_tuples
from pspnet_jax.inference.protocol import Protocol
from pspnet_jax.models.network import Network
from pspnet_jax.pictures import legends, png_files
from pspnet_jax.runtime import paths, storage, streams
from pspnet_jax.runtime.files import is_link
from pspnet_jax.weights import folders, hub, model_card, packed, packed_config
from pspnet_jax.weights.checkpoints import Checkpoints
from pspnet_jax.weights.loaded import Loaded, Which
from pspnet_jax.weights.packed_config import About, Figure

# Licenses of the weights that `pspnet zoo` downloads, where their authors say.
_LICENSES = dict.fromkeys(('gluoncv', 'mmseg', 'paddleseg'), 'apache-2.0')
_LICENSE = re.compile(r'[a-z0-9][a-z0-9.+-]{0,59}')
_EXAMPLES = 'predictions.png'  # that `evaluate` has drawn
_LEGEND_WIDTH = 900  # pixels
_LARGEST_SCORES = 50_000_000  # bytes
_NO_SCORES = (AttributeError, TypeError, ValueError)  # of a file that holds something else


def pack(
  workdir: Path | str,
  output: Path | str,
  *,
  which: Which = 'best',
  ema: bool = True,
  model: type[nnx.Module] | None = None,
  license_id: str | None = None,
  title: str | None = None,
  picture: Path | str | None = None,
  examples: bool = True,
  push: str | None = None,
  private: bool = False,
) -> None:
  """Writes one network of `workdir` to the folder `output`; see `packed`.

  Args:
    workdir: of a run or a conversion, or a packed folder.
    output: a new or empty folder, or a packed one, whose files are replaced.
    which, ema: which weights.
    model: the network's class where it is no PSPNet; needed for the picture alone.
    license_id: of the weights; None: the one under which `pspnet zoo` got them, if any.
    title: heads the model card.
    picture: an image to label for it.
    examples: whether the picture that `evaluate` has drawn goes with it.
    push: OWNER/NAME on the Hub, where the folder is uploaded.
    private: whether a repository that is made is private.

  Raises:
    UserError: for whatever the user can mend; nothing is written then, or what was written stays
      if the Hub refuses it.
  """
  if license_id is not None and not _LICENSE.fullmatch(license_id := license_id.lower()):
    raise UserError(f'--license={license_id}: give an identifier such as mit or cc-by-4.0.')
  if push is not None:
    hub.check_name(push)
  elif private:
    raise UserError('--private is of a repository on the Hub: give --push=OWNER/NAME too.')
  workdir, output = storage.given(workdir), paths.given(output)
  packed.check_target(output)
  found = folders.load(workdir, which, lambda card: _built(card, model, picture), ema=ema)

  pictures: dict[str, bytes] = {}
  saved = files.saved_in(workdir)
  training, settings = (None, []) if saved is None else shared.shared(saved)
  measured, notes = _evaluated(workdir / 'evaluation' / 'scores.json', found)
  if packed.is_packed(workdir):
    about = packed_config.read(workdir).about
    figures = (*measured, *(figure for figure in about.figures if figure not in measured))
    about = dataclasses.replace(about, figures=figures)
    for name in ('example.png', _EXAMPLES):  # that of the classes is drawn anew
      if (content := packed.content(workdir, name)) is not None:
        pictures[name] = content
      elif os.path.lexists(workdir / name):
        notes.append(f'{workdir / name} is not what was packed, and is left out.')
  else:
    about = _about_run(workdir, found, training, measured)
  drawn = workdir / 'evaluation' / _EXAMPLES
  if measured and is_link(drawn):
    notes.append(f'{drawn} is a link, and is left out.')
  elif measured and (content := _content(drawn)):
    pictures[_EXAMPLES] = content
  if not examples:
    pictures.pop(_EXAMPLES, None)
  if _EXAMPLES in pictures:
    notes.append(f'{_EXAMPLES} shows images of the validation data: --noexamples leaves it out.')
  about = dataclasses.replace(
    about,
    title=title or about.title,
    license=license_id or about.license or _license_of(found.card),
  )
  if about.license is None:
    notes.append(
      'No license is known, and without one nobody may use the weights: give --license=ID, such as '
      'mit.'
    )
  if picture is not None:
    pictures['example.png'] = _example(found, paths.given(picture))
  pictures['classes.png'] = _classes_picture(found.card)
  where = None if push is None else f'{paths.HUB}{push}'
  text = model_card.text_of(found, about, pictures, settings=settings, where=where)
  packed.write(output, found, about, {packed.README: text.encode(), **pictures})

  megabytes = (output / packed.WEIGHTS).stat().st_size / 1e6
  streams.show(
    f'{found.card.title}, step {found.step} of {workdir}{found.kind}: {megabytes:,.1f} MB, packed '
    f'in {output}.'
  )
  for note in notes:
    streams.show(note)
  if push is not None:
    streams.show(f'Uploaded: {hub.push(output, push, private=private)}')


def _built(card: Card, model: type[nnx.Module] | None, picture: object) -> Network | None:
  """The network where it can be had; its code is needed for a picture alone."""
  needed = picture is not None or card.network.get('name', PSPNET) == PSPNET
  return card.build_network(model) if needed or model is not None else None


def _about_run(
  workdir: Path, found: Loaded, training: Mapping[str, Any] | None, figures: list[Figure]
) -> About:
  """What a workdir knows of its weights, with what was measured of them."""
  data = None if training is None else shared.data_name(training, 'train')
  published = _published(found.card)
  if not figures and training is not None and (figure := _validated(workdir, found, training)):
    figures = [figure]
  title = found.card.title
  if name := data or next((figure.data for figure in published), None):
    title += f' on {name}'
  return About(title, None, (*figures, *published), training)


def _evaluated(path: Path, found: Loaded) -> tuple[list[Figure], list[str]]:
  """What `evaluate` measured of these very weights."""
  try:
    with path.open('rb') as file:
      values = json.loads(file.read(_LARGEST_SCORES))
    if values['digests'] != [found.digest]:
      raise KeyError('digests')
    protocol = Protocol(**with_tuples(values['protocol'])).describe(found.card.crop_size)
    numbers = {name: values[name] for name in ('mIoU', 'mAcc', 'aAcc')}
    known = {name: float(x) for name, x in numbers.items() if x is not None and 0 <= x <= 1}
    iou = {str(k): math.nan if x is None else float(x) for k, x in values['IoU'].items()}
    classes = {name: x if 0 <= x <= 1 else None for name, x in iou.items()}
    data = str(values['data'])
    which = shared.images(values['images'], values.get('left_out', 0))
    caveat = ' '.join(map(str, values.get('notes', ()))) or None
  except FileNotFoundError:
    return [], []
  except (OSError, ArithmeticError, LookupError, RuntimeError, *_NO_SCORES):
    return [], [f'{path} is not of these weights: its figures are left out (evaluate them again).']
  how = f'measured by pspnet evaluate: {protocol}'
  return [Figure(how, data, which, known, classes, caveat)], []


def _validated(workdir: Path, found: Loaded, training: Mapping[str, Any]) -> Figure | None:
  """The score by which the checkpoint was chosen, which is that of an average where one is kept."""
  if found.average is False:
    return None
  with Checkpoints(workdir, read_only=True) as checkpoints:
    score = checkpoints.score(found.step)
  if score is None:
    return None
  how = f'measured while training: {found.card.protocol.describe(found.card.crop_size)}'
  config = files.load_saved(workdir / files.SAVED_AS)
  caveat = parts.seen_in_training(config, config)
  data = shared.data_name(training, 'val')
  return Figure(how, data, 'validation split', {'mIoU': score}, caveat=caveat)


def _published(card: Card) -> list[Figure]:
  """What the authors of converted weights published, in percent."""
  known = card.published or {}
  figures = []
  for key, how in (('mIoU', 'published'), ('mIoU_ms', 'published, several scales and mirrored')):
    if isinstance(known.get(key), int | float) and 0 <= known[key] <= 100:
      how = f'{how} at {known.get("source")}'
      figures.append(Figure(how, str(known.get('data')), '', {'mIoU': known[key] / 100}))
  return figures


def _license_of(card: Card) -> str | None:
  """The license of weights that were got by name; whose other files are, nobody knows."""
  source = card.source or {}
  return _LICENSES.get(str(source.get('name'))) if source.get('zoo') else None


def _content(path: Path) -> bytes:
  """The content of a picture; nothing where there is none."""
  try:
    return path.read_bytes()
  except OSError:
    return b''


def _example(found: Loaded, path: Path) -> bytes:
  """The picture with the labels that the network gives it."""
  assert found.network is not None
  label_it = predictor.Predictor(
    found.card, found.params, found.batch_stats, model=found.network.model
  )
  return png_files.as_png(label_it.overlay(path))


def _classes_picture(card: Card) -> bytes:
  entries = [
    legends.LegendEntry(name, '', colour)
    for name, colour in zip(card.spec.class_names, card.spec.palette, strict=True)
  ]
  shape = (len(entries) * _LEGEND_WIDTH, _LEGEND_WIDTH)  # high enough for all
  return png_files.as_png(legends.draw(entries, shape, legends.text_size(_LEGEND_WIDTH)))


def main() -> None:
  pack(
    FLAGS.workdir,
    FLAGS.output,
    which=cli.which_checkpoint(FLAGS.checkpoint),
    ema=FLAGS.ema,
    model=cli.own_network(FLAGS.model),
    license_id=FLAGS.license,
    title=FLAGS.title,
    picture=FLAGS.picture,
    examples=FLAGS.examples,
    push=FLAGS.push,
    private=FLAGS.private,
  )
