"""What is said of a run that was hurt: that it lost nothing, that it told, or neither."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.fault_moments import MARK
from benchmarks.fault_runs import Bench, Ended
from pspnet_jax.weights.checkpoints import Checkpoints
from pspnet_jax.weights.stored_step import StoredStep

_DUMPS = re.compile(
  r'Traceback \(most recent|Fatal Python error|^F\d{4} |\*\*\* |Check failure|core dumped', re.M
)


@dataclasses.dataclass(frozen=True)
class Outcome:
  """What became of a fault: `verdict` is 'bit-identical', 'sentence' or 'bad'."""

  verdict: str
  seconds: float = 0.0
  why: str = ''
  said: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Fault:
  """One fault.

  Attributes:
    kind: the row of the table that it counts in.
    name: tells it from the others of its kind.
    judge: makes it, on a bench.
  """

  kind: str
  name: str
  judge: Callable[[Bench], Outcome]

  @property
  def key(self) -> str:
    return f'{self.kind}: {self.name}'


def recovered(
  bench: Bench,
  workdir: Path,
  ended: Sequence[Ended],
  count: int = 1,
  *,
  struck: Sequence[int] = (),
  ends: bool = False,
  marked: bool = False,
  again: Mapping[str, Any] = {},
) -> Outcome:
  """What became of a run that was hurt and is started again as it was.

  Args:
    bench: where it ran.
    workdir: of the run.
    ended: its processes, but for those that were spared.
    count: how many train together.
    struck: which of them a signal hit.
    ends: whether the fault ends processes: if none failed, there was none.
    marked: whether `Moments` made the fault, which leaves a file.
    again: what is given to `Bench.train` when it is started again.
  """
  seconds, said = max(e.seconds for e in ended), tuple(x for e in ended for x in e.sentences)
  made = not marked or (bench.files(workdir) / MARK).exists()
  if not made or (ends and all(e.status == 0 for e in ended)):
    return Outcome('bad', seconds, 'the fault did not happen', said)
  for why in complaints(ended, bench.limit, struck):
    return Outcome('bad', seconds, why, said)
  for _ in range(2):
    later = bench.train(workdir, count, **again)
    if not any(e.status for e in later):
      break
  else:
    return Outcome('bad', seconds, f'it does not go on: {later[0].said[-300:]}', said)
  expected, found = state_of(bench.reference(count)), state_of(workdir)
  different = [key for key in expected if found.get(key) != expected[key]]
  if different:
    return Outcome('bad', seconds, f'other {", ".join(different)} in the end', said)
  return Outcome('bit-identical', seconds, '', said)


def ended_in_a_sentence(
  ended: Sequence[Ended], limit: float, expected: str = '', struck: Sequence[int] = ()
) -> Outcome:
  """What became of a run that cannot go on as it was started."""
  seconds, said = max(e.seconds for e in ended), tuple(x for e in ended for x in e.sentences)
  for why in complaints(ended, limit, struck):
    return Outcome('bad', seconds, why, said)
  if not any(e.status for e in ended):
    return Outcome('bad', seconds, 'nothing was noticed', said)
  if not any(expected in x for x in said):
    return Outcome('bad', seconds, f'no sentence speaks of {expected!r}', said)
  return Outcome('sentence', seconds, '', said)


def state_of(workdir: Path) -> dict[str, Any]:
  """What a run has come to: the arrays of its last checkpoint, all read, and its best."""
  with Checkpoints(workdir, read_only=True) as checkpoints:
    latest, best = checkpoints.step('latest'), checkpoints.best_step
    score = None if best is None else checkpoints.score(best)
    digests = StoredStep(checkpoints.directory / str(latest)).verified()
  return {'step': latest, 'best': best, 'score': score, **digests}


def complaints(ended: Sequence[Ended], limit: float, struck: Sequence[int] = ()) -> Iterator[str]:
  """Yields what is wrong with the way in which processes ended.

  Args:
    ended: all of them.
    limit: in seconds.
    struck: which of them a signal hit: they need not say anything.
  """
  for i, e in enumerate(ended):
    if e.status is None:
      yield f'process {i} did not end'
    elif e.seconds > limit:
      yield f'process {i} ended after {e.seconds:.0f} s'
    elif e.status == 0 and i in struck:
      yield f'process {i} went on as if nothing had come'
    if found := _DUMPS.search(e.said):
      yield f'process {i} wrote {found[0].strip()!r}'
    elif e.status not in (0, None) and len(e.sentences) != 1:
      silent = i in struck and e.status is not None and e.status < 0 and not e.sentences
      if not silent:
        yield f'process {i} ended with {e.status} and {len(e.sentences)} sentences'
  statuses = {e.status for e in ended if e.status is not None and e.status >= 0}
  if len(statuses) > 1:
    yield f'the exit statuses differ: {sorted(statuses)}'
