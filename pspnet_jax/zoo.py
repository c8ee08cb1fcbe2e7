"""Published weights by name.

  pspnet zoo list [WORD ...]            those that have all words in name or data set
  pspnet zoo get NAME [--output=DIR]    downloads, checks and converts

A PSPNet becomes a folder that predict, evaluate and init_from take, called as it is if --output
does not say otherwise. A backbone stays the file it is, in the cache or copied to --output.
"""

from __future__ import annotations

from absl import flags

from pspnet_jax import cli

FLAGS = flags.FLAGS


def define_flags() -> None:
  """Defines the command's flags; see `cli`."""
  cli.takes_words()
  cli.define_path('output', None, 'The folder to write.')


if __name__ == '__main__':  # ahead of the imports: --help does not wait for JAX
  cli.start('zoo', __doc__, define_flags)

import shutil
from collections.abc import Sequence
from pathlib import Path

from pspnet_jax.errors import UserError, cannot_write
from pspnet_jax.reporting.console import Cell, make_console, print_table, say
from pspnet_jax.runtime import streams
from pspnet_jax.weights import catalogue, download


def show(words: Sequence[str]) -> None:
  """Prints the entries that have all `words` in their names or data sets.

  Raises:
    UserError: if there are none.
  """
  found = [entry for entry in catalogue.entries().values() if _fits(entry, words)]
  if not found:
    raise UserError(f'no published weights have {" and ".join(words)} in name or data set.')
  console = make_console()
  networks = [entry for entry in found if not entry.is_backbone]
  backbones = [entry for entry in found if entry.is_backbone]
  if networks:
    columns: tuple[str, ...] = ('PSPNet', 'data', 'net', 'mIoU', 'ms+flip', 'file')
    rows = [_row(e, catalogue.DATASETS[e.data][0], _net(e), e.score_ms) for e in networks]
    if console.is_terminal and console.width < 110:  # names tell these two as well
      columns = (columns[0], *columns[3:])
      rows = [(row[0], *row[3:]) for row in rows]
    print_table(console, columns, rows)
  if any(entry.source == 'gluoncv' for entry in networks):
    say(console, 'gluoncv does not say at how many scales it measured: several are an assumption.')
  if networks and backbones:
    say(console, '')
  if backbones:
    rows = [_row(e, _net(e), '-'.join(map(str, e.stem_channels)), e.megabytes) for e in backbones]
    print_table(console, ('backbone', 'net', 'stem', 'top-1', 'MB', 'file'), rows)
  for source in sorted({entry.source for entry in found if entry.address is None}):
    say(console, f'by hand: from the folder that {catalogue.PAGES[source]} links.')
  for source in sorted({entry.source for entry in found if entry.address and not entry.digest}):
    say(console, f'{source} publishes no checksums: a file is taken as it comes over https.')


def get(name: str, output: Path | None = None) -> None:
  """Downloads, checks and converts the weights `name`, or keeps a backbone's file.

  Raises:
    UserError: for whatever the user can mend; the download is kept.
  """
  from pspnet_jax.weights import importing, published  # JAX, which the list does without

  entry = catalogue.find(name)
  if entry.is_backbone:
    path = published.fetch(entry)
    for caution in published.cautions(entry):
      streams.show(caution)
    if output is not None:
      try:
        output.mkdir(parents=True, exist_ok=True)
        path = Path(shutil.copy2(path, output))
      except OSError as e:
        raise cannot_write(output, e) from e
    stem = ','.join(map(str, entry.stem_channels))
    streams.show(f'{name} is in {path}. Train from it with')
    start = name if output is None else path
    pooled = ' --config.model.avg_down=True' if entry.avg_down else ''
    streams.show(
      f'--config.init_from={start} --config.model.depth={entry.depth} '
      f'--config.model.stem_channels={stem}{pooled}'
    )
    return
  output = output or Path(name)
  importing.check_is_new(output)
  importing.write(published.load(entry), output)


def _fits(entry: catalogue.Entry, words: Sequence[str]) -> bool:
  text = f'{entry.name} {catalogue.DATASETS[entry.data][0]} {entry.source}'.lower()
  return all(word.lower() in text for word in words)


def _net(entry: catalogue.Entry) -> str:
  return f'R{entry.depth}{"d" if entry.avg_down else ""}'


def _row(entry: catalogue.Entry, first: str, second: str, last: float | None) -> tuple[Cell, ...]:
  path = None if entry.address is None else download.cached(entry.address, entry.file)
  where = 'by hand' if path is None else ('here' if path.is_file() else 'download')
  return (entry.name, first, second, entry.score, last, where)


def main(words: Sequence[str]) -> None:
  match list(words):
    case ['list', *patterns] if FLAGS.output is None:
      show(patterns)
    case ['get', name]:
      get(name, None if FLAGS.output is None else Path(FLAGS.output))
    case _:
      raise UserError('say what to do: pspnet zoo list [WORD ...], or get NAME [--output=DIR].')
