"""The campaign of faults: hurts training runs in every way that is known, and says what became.

    python -m benchmarks.faults --output=DIR [--only=signal,clock] [--seed=0] [--quick]

Runs are real `pspnet train` processes of a tiny network. What became of a fault is one of

* bit-identical: after the same command again, every array of the last checkpoint, the best one and
  its score are those of an undisturbed run of as many processes;
* sentence: all processes ended in time, each with one sentence, no traceback and the same status,
  where the run cannot go on as it was started, or a checkpoint cannot be read;
* bad: anything else.

DIR/faults.jsonl gets a line for each fault; what is there is not done again.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import signal
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from absl import logging

from benchmarks import fault_files, fault_list
from benchmarks.fault_runs import Bench
from benchmarks.fault_verdicts import Fault

VERDICTS = ('bit-identical', 'sentence', 'bad')
FLIPS = 200


def run(bench: Bench, found: Iterable[Fault], path: Path) -> Iterator[dict[str, Any]]:
  """Judges the faults that `path` has no line of yet, and yields the record of each."""
  before = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
  known = {f'{record["kind"]}: {record["name"]}': record for record in before}
  for fault in found:
    record = known.get(fault.key)
    if record is None:
      outcome = dataclasses.asdict(fault.judge(bench))
      record = {'kind': fault.kind, 'name': fault.name, **outcome}
      with path.open('a') as file:
        file.write(json.dumps(record) + '\n')
    yield record


def table(records: Sequence[dict[str, Any]]) -> str:
  """A row of Markdown for each kind: tried, each verdict, and the longest time to the end."""
  lines = [
    '| fault | tried | bit-identical | sentence | bad | longest to the end |',
    '|---|---|---|---|---|---|',
  ]
  kinds = {
    record['kind']: [r for r in records if r['kind'] == record['kind']] for record in records
  }
  for kind, some in [*kinds.items(), ('**all**', list(records))]:
    some = [r for r in some if r['verdict'] in VERDICTS]
    counts = [sum(r['verdict'] == verdict for r in some) for verdict in VERDICTS]
    longest = max((r['seconds'] for r in some), default=0)
    last = f'{longest:.0f} s' if longest else '–'
    lines.append(f'| {kind} | {len(some)} | {" | ".join(map(str, counts))} | {last} |')
  return '\n'.join(lines)


def main(argv: Sequence[str] | None = None) -> None:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawTextHelpFormatter
  )
  parser.add_argument('--output', type=Path, required=True)
  parser.add_argument('--only', default='', help='parts of "KIND: NAME", by commas')
  parser.add_argument('--seed', type=int, default=0)
  parser.add_argument('--quick', action='store_true', help='a sample of what two processes suffer')
  parser.add_argument('--limit', type=float, default=60, help='seconds from a fault to the end')
  args = parser.parse_args(argv)
  logging.set_verbosity(logging.FATAL)  # Orbax tells of every file that it cannot read
  for number in (signal.SIGINT, signal.SIGHUP):
    # They are ignored in the background, and so they would be by every process started here.
    signal.signal(number, signal.SIG_DFL)
  bench = Bench(args.output, args.limit)
  only = [part.lower() for part in args.only.split(',') if part]

  def chosen(key: str) -> bool:
    return not only or any(part in key.lower() for part in only)

  found = fault_list.faults(args.seed, args.quick)
  if any(map(chosen, fault_files.KINDS)):
    found = itertools.chain(found, fault_files.faults(bench, args.seed, FLIPS))
  records = []
  for record in run(bench, (f for f in found if chosen(f.key)), args.output / 'faults.jsonl'):
    records.append(record)
    if record['verdict'] not in VERDICTS[:2]:
      print(f'{record["verdict"]}: {record["kind"]}: {record["name"]}: {record["why"]}', flush=True)
  print(table(records))


if __name__ == '__main__':
  main()
