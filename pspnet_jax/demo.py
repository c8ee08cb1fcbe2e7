"""Shows a trained PSPNet at work, on a web page.

  pspnet demo --workdir=/tmp/scenes

Drop an image into the page to see its classes, their areas and how sure the network is. With
--workdir=A,B the answers of both stand side by side, or are one by the mean of their
probabilities. The page is for this computer alone unless --host says otherwise; it has no login.
--config.eval.KEY=VALUE changes the protocol, as in --config.eval.flip=True.
"""

from __future__ import annotations

from absl import flags

from pspnet_jax import cli

FLAGS = flags.FLAGS


def define_flags() -> None:
  """Defines the command's flags; see `cli`."""
  cli.takes_protocol()
  cli.define_network_flags(several=True)
  flags.DEFINE_string('host', '127.0.0.1', 'Who may see it: 0.0.0.0 is everybody on the network.')
  flags.DEFINE_integer('port', 7860, '0 takes one that is free.')
  flags.DEFINE_string('root_path', None, 'Where a proxy shows the page, such as /pspnet.')
  cli.define_path('examples', None, 'A folder of images to offer.')
  flags.DEFINE_integer('max_megapixels', 24, 'The largest image it takes.')


if __name__ == '__main__':  # ahead of the imports: --help does not wait for JAX
  cli.start('demo', __doc__, define_flags)

from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

from pspnet_jax import predictor
from pspnet_jax.data.image_files import list_images
from pspnet_jax.errors import UserError
from pspnet_jax.predictor import Predictor
from pspnet_jax.runtime import storage, streams
from pspnet_jax.runtime.paths import given
from pspnet_jax.web import private
from pspnet_jax.weights.folders import Location
from pspnet_jax.weights.loaded import Which

_MOST_EXAMPLES = 12


def demo(
  workdirs: Sequence[Location],
  *,
  host: str = '127.0.0.1',
  port: int = 7860,
  root_path: str | None = None,
  examples: Path | None = None,
  max_megapixels: int = 24,
  which: Which = 'best',
  **options: Any,
) -> None:
  """Serves the page until it is interrupted; the networks are loaded as `predictor.load` does.

  Raises:
    UserError: for whatever the user can mend.
  """
  if max_megapixels < 1:
    raise UserError(f'--max_megapixels={max_megapixels} takes no image: give 1 or more.')
  names = _short_names(workdirs)
  with private.settings() as folder:
    try:
      from pspnet_jax.web import page, results, serving, uploads
    except ImportError as e:
      if (e.name or '').partition('.')[0] not in ('gradio', 'fastapi', 'uvicorn'):
        raise
      raise UserError(f"the page needs Gradio ({e}): pip install 'pspnet_jax[demo]'.") from e
    with serving.listen(host, port) as opened:  # before minutes of loading
      offered = _examples(examples) if examples else ()
      whole = predictor.load(workdirs, which=which, **options)
      models = whole.members
      alone = zip(names, models, strict=True)
      ways = {'Side by side': [results.Labeller(x, y.label_and_confidence) for x, y in alone]}
      if len(models) > 1:
        ways['Together'] = [results.Labeller(' and '.join(names), whole.label_and_confidence)]
      about = page.Page(
        title=_title(models),
        about=_about(models, workdirs, names),
        spec=whole.spec,
        exif=whole.card.exif,
        ways=ways,
        max_pixels=max_megapixels * 1_000_000,
        examples=offered,
      )
      for note in whole.notes:
        streams.show(note)
      most_bytes = uploads.most_bytes(max_megapixels * 1_000_000)
      # Signals are caught from here on: while networks are loaded, one ends the process at once.
      with serving.AskedToStop() as asked, private.folder(folder):
        blocks = page.build(about, folder)
        streams.show(f'{whole.origin} is on {serving.address_of(opened)} until Ctrl-C.')
        serving.serve(blocks, opened, folder, asked, most_bytes=most_bytes, root_path=root_path)


def _examples(folder: Path) -> tuple[Path, ...]:
  """The images that are offered."""
  found = list_images(folder).found
  if len(found) > _MOST_EXAMPLES:
    streams.show(f'{folder} has {len(found):,} images: the first {_MOST_EXAMPLES} are offered.')
  return tuple(found[:_MOST_EXAMPLES])


def _title(models: Sequence[Predictor]) -> str:
  titles = dict.fromkeys(model.card.title for model in models)  # each once, in order
  return f'{" and ".join(titles)}: {models[0].spec.num_classes} classes'


def _about(
  models: Sequence[Predictor], workdirs: Sequence[Location], names: Sequence[str]
) -> tuple[str, ...]:
  """Says which weights these are, without the folders of this computer."""
  return tuple(
    model.origin.replace(str(workdir), name)
    for model, workdir, name in zip(models, workdirs, names, strict=True)
  )


def _short_names(workdirs: Sequence[Location]) -> list[str]:
  """The ends of the paths and of the Hub's addresses that tell them apart.

  Raises:
    UserError: if a workdir is named twice.
  """
  paths = [PurePath(x) if storage.is_address(x) else given(x).resolve() for x in workdirs]
  for i, path in enumerate(paths):
    if path in paths[:i]:
      raise UserError(f'{workdirs[i]} is named twice: name each workdir once.')
  depth = 1
  while len({path.parts[-depth:] for path in paths}) < len(paths):
    depth += 1
  return [str(PurePath(*path.parts[-depth:])) for path in paths]


def main() -> None:
  demo(
    FLAGS.workdir,
    host=FLAGS.host,
    port=FLAGS.port,
    root_path=FLAGS.root_path,
    examples=FLAGS.examples,
    max_megapixels=FLAGS.max_megapixels,
    which=cli.which_checkpoint(FLAGS.checkpoint),
    ema=FLAGS.ema,
    model=cli.own_network(FLAGS.model),
    **cli.protocol_options(),
  )
