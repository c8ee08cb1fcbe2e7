"""Examines a whole data set before it is trained on.

  pspnet doctor --config=folder --config.data.root=ROOT --output=DIR

Reads every image and label of both splits, goes on past whatever would stop training, and says what
is wrong and how to mend it. DIR gets `report.json` and `examples.png`, the worst cases and some
drawn at random. The exit status is 1 when training or its score would go wrong, else 0.
"""

from __future__ import annotations

from absl import flags

from pspnet_jax import cli

FLAGS = flags.FLAGS


def define_flags() -> None:
  """Defines the command's flags; see `cli`."""
  cli.takes_config()
  cli.define_path('output', None, 'Where the report and the pictures go; left out: nowhere.')


if __name__ == '__main__':  # ahead of the imports: --help does not wait for JAX
  cli.start('doctor', __doc__, define_flags)

import functools
import json
import time
from collections.abc import Sequence
from pathlib import Path

import ml_collections

from pspnet_jax.checkup.diagnosis import Finding, Surveyed, diagnose
from pspnet_jax.checkup.report import (
  KIND_COLUMNS,
  advice,
  as_json,
  class_table,
  kind_table,
  messages,
  page,
  verdict,
)
from pspnet_jax.checkup.survey import Fault, examine
from pspnet_jax.config import parts
from pspnet_jax.data.in_order import in_order
from pspnet_jax.data.spec import Source, StoredLabels
from pspnet_jax.errors import UserError
from pspnet_jax.pictures.png_files import as_png
from pspnet_jax.reporting.console import Cell, format_duration
from pspnet_jax.reporting.reporter import Reporter
from pspnet_jax.runtime.files import write_together
from pspnet_jax.runtime.paths import given


def doctor(config: ml_collections.ConfigDict, output: Path | None = None) -> list[Finding]:
  """Reports on the data of `config`; into `output` too, if given.

  Returns:
    What was found, errors first.

  Raises:
    UserError: if there is nothing to read at all, or `output` cannot be written.
  """
  output = None if output is None else given(output)
  started = time.monotonic()
  sources, unopened = _open(config)
  with Reporter(None, total_steps=sum(len(source) for source in sources.values())) as report:
    for split, source in sources.items():
      report.say(f'{split}: {len(source):,} examples')
      for note in getattr(source, 'notes', ()):  # what it left out
        report.say(note)
    done, splits = 0, []
    for split, source in sources.items():
      records = []
      for record in in_order(
        functools.partial(examine, source), range(len(source)), threads=config.threads or None
      ):
        records.append(record)
        done += 1
        report.advance(done)
      surveyed = Surveyed(split, source.spec, records)
      if isinstance(source, StoredLabels):
        surveyed.table = source.table
      unpaired = getattr(source, 'unpaired', ())  # files that a lenient source keeps aside
      surveyed.faults = [Fault(u.kind, str(u.path), u.message) for u in unpaired]
      splits.append(surveyed)
    found = [
      *unopened,
      *diagnose(splits, config.crop_size, skip_bad=config.data_errors == 'skip'),
    ]
    _say(report, splits, found)
    if output is not None:
      _write(output, config, sources, splits, found, time.monotonic() - started)
      report.say(f'Report and pictures: {output / "report.json"}, {output / "examples.png"}')
    report.say(verdict(found, done, format_duration(time.monotonic() - started)))
  return found


def _open(config: ml_collections.ConfigDict) -> tuple[dict[str, Source], list[Finding]]:
  """The splits that can be opened, and a finding for one that cannot."""
  sources: dict[str, Source] = {}
  errors: list[tuple[str, UserError]] = []
  for split in ('train', 'val'):
    try:
      sources[split] = parts.open_split(config, split, lenient=True)
    except UserError as e:
      errors.append((split, e))
  if not sources:
    raise errors[0][1]
  return sources, [Finding('error', 'no such split', s, '', str(e)) for s, e in errors]


def _say(report: Reporter, splits: Sequence[Surveyed], found: Sequence[Finding]) -> None:
  columns, rows = class_table(splits)
  report.table(columns, rows)
  report.say('')
  if found:
    kinds: list[Sequence[Cell]] = [*kind_table(found)]
    report.table(KIND_COLUMNS, kinds)
    report.say('')
  for line in messages(found):
    report.say(line)
  if not any(finding.level == 'error' for finding in found):
    for line in advice(splits).splitlines():
      report.say(line)


def _write(
  output: Path,
  config: ml_collections.ConfigDict,
  sources: dict[str, Source],
  splits: Sequence[Surveyed],
  found: Sequence[Finding],
  seconds: float,
) -> None:
  sheet = page(sources, splits, found, seed=config.seed)
  text = json.dumps(as_json(splits, found, seconds), indent=1, ensure_ascii=False)
  write_together({output / 'report.json': f'{text}\n', output / 'examples.png': as_png(sheet)})


def main(config: ml_collections.ConfigDict) -> None:
  found = doctor(config, Path(FLAGS.output) if FLAGS.output else None)
  if any(finding.level == 'error' for finding in found):
    raise SystemExit(1)
