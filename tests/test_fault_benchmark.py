"""The campaign of faults judges rightly: what it calls bad is bad, and nothing else."""

import os
import signal
import subprocess
import sys
import time

import jax.numpy as jnp
import pytest

from benchmarks import fault_files, fault_list, fault_verdicts, faults
from benchmarks.fault_hurts import damage
from benchmarks.fault_moments import MARK
from benchmarks.fault_runs import STEPS, Bench, Ended
from benchmarks.fault_verdicts import (
  Fault,
  Outcome,
  complaints,
  ended_in_a_sentence,
  recovered,
  state_of,
)
from pspnet_jax.data.spec import DatasetSpec
from pspnet_jax.inference.card import Card
from pspnet_jax.weights.checkpoints import Checkpoints

SENTENCE = 'Error: the disk is full; step 4 is safe: make room.'
TRACEBACK = 'Traceback (most recent call last):\n  File "x"\nKeyError: 1\n'


@pytest.mark.parametrize(
  ('ended', 'struck', 'found'),
  [
    ([Ended(0, '', 1), Ended(0, '', 2)], (), ''),
    ([Ended(1, SENTENCE, 1), Ended(1, SENTENCE, 2)], (), ''),
    ([Ended(-9, '', 0), Ended(1, SENTENCE, 2)], (0,), ''),
    ([Ended(-9, '', 0)], (), 'process 0 ended with -9 and 0 sentences'),
    ([Ended(0, '', 9)], (0,), 'went on as if nothing had come'),
    ([Ended(None, '', 400)], (0,), 'process 0 did not end'),
    ([Ended(1, SENTENCE, 61)], (), 'process 0 ended after 61 s'),
    ([Ended(1, TRACEBACK + SENTENCE, 1)], (), "wrote 'Traceback (most recent'"),
    ([Ended(1, SENTENCE + '\n' + SENTENCE, 1)], (), 'with 1 and 2 sentences'),
    ([Ended(1, '', 1)], (0,), 'with 1 and 0 sentences'),
    ([Ended(1, SENTENCE, 1), Ended(143, SENTENCE, 1)], (), 'statuses differ: [1, 143]'),
  ],
)
def test_how_processes_ended_is_judged(ended, struck, found):
  said = list(complaints(ended, 60, struck))
  assert (not found and not said) or found in ' '.join(said), said
  verdict = ended_in_a_sentence(ended, 60, struck=struck).verdict
  assert verdict == ('sentence' if not found and any(e.status for e in ended) else 'bad')


@pytest.mark.parametrize(
  ('ended', 'written', 'asked', 'verdict'),
  [
    ([Ended(0, '', 9)], True, {'ends': True}, 'bad'),
    ([Ended(1, SENTENCE, 9)], False, {'marked': True}, 'bad'),
    ([Ended(1, SENTENCE, 9)], True, {'ends': True, 'marked': True}, 'bit-identical'),
    ([Ended(0, '', 9)], False, {}, 'bit-identical'),
  ],
)
def test_a_fault_that_did_not_happen_proves_nothing(
  tmp_path, monkeypatch, ended, written, asked, verdict
):
  monkeypatch.setattr(Bench, '__post_init__', lambda bench: None)
  monkeypatch.setattr(Bench, 'train', lambda bench, *_: [Ended(0, '', 1)])
  monkeypatch.setattr(Bench, 'reference', lambda *_: tmp_path)
  monkeypatch.setattr(fault_verdicts, 'state_of', lambda workdir: {'step': STEPS})
  bench, workdir = Bench(tmp_path), tmp_path / 'run'
  bench.files(workdir).mkdir(parents=True)
  if written:
    (bench.files(workdir) / MARK).touch()
  outcome = recovered(bench, workdir, ended, **asked)
  assert outcome.verdict == verdict
  assert outcome.why == ('the fault did not happen' if verdict == 'bad' else '')


def test_what_is_judged_already_is_not_done_again(tmp_path):
  done = []

  def fault(name, verdict):
    return Fault('kind', name, lambda bench: done.append(name) or Outcome(verdict, 3.0))

  for _ in range(2):
    found = [fault('a', 'bit-identical'), fault('b', 'bad'), fault('c', 'skipped')]
    records = list(faults.run(None, found, tmp_path / 'faults.jsonl'))
  assert done == ['a', 'b', 'c'] and len((tmp_path / 'faults.jsonl').read_text().splitlines()) == 3
  assert '| kind | 2 | 1 | 0 | 1 | 3 s |' in faults.table(records)


def test_faults_have_names_of_their_own():
  names = [fault.key for fault in fault_list.faults(seed=0, quick=False)]
  assert len(names) == len(set(names)) > 90


def test_files_that_are_damaged_are_judged(tmp_path, monkeypatch):
  spec = DatasetSpec(('a', 'b'), ((0, 0, 0), (9, 9, 9)))
  network = {'num_classes': 2, 'depth': 10, 'stem_channels': (4, 4, 8), 'width': 4, 'bins': (1, 2)}
  card = Card(
    network=network | {'head_channels': 8, 'aux_channels': 8}, spec=spec, crop_size=(9, 9)
  )
  built = card.build_network()
  items = {
    name: {key: jnp.full(x.shape, 0.5, x.dtype) for key, x in shapes.items()}
    for name, shapes in (('params', built.param_shapes), ('batch_stats', built.batch_stat_shapes))
  }
  workdir = tmp_path / 'reference'
  with Checkpoints(workdir) as checkpoints:
    checkpoints.save(STEPS, items, card, 0.5)
  monkeypatch.setattr(Bench, '__post_init__', lambda bench: None)
  monkeypatch.setattr(Bench, 'reference', lambda bench: workdir)
  bench = Bench(tmp_path)
  verdicts = {}
  for fault in fault_files.faults(bench, seed=0, flips=2):
    if 'flipped' in fault.kind or fault.name in ('card/metadata', 'commit_success.txt'):
      verdicts[fault.kind, fault.name] = fault.judge(bench).verdict
  assert len(verdicts) in (5, 8)  # there is no commit_success.txt on every file system
  assert 'bad' not in verdicts.values()
  assert verdicts['each file of a checkpoint emptied', 'card/metadata'] == 'sentence'
  # What the campaign compares differs where a run came to something else.
  found = state_of(workdir)
  assert (found['step'], found['best'], found['score']) == (STEPS, STEPS, 0.5)
  with Checkpoints(tmp_path / 'other') as checkpoints:
    other = {**items, 'batch_stats': {key: x + 1 for key, x in items['batch_stats'].items()}}
    checkpoints.save(STEPS, other, card, 0.5)
  different = state_of(tmp_path / 'other')
  assert [key for key in found if found[key] != different[key]] == ['batch_stats']


def test_only_workers_of_a_command_are_killed():
  pytest.importorskip('pyarrow')
  from benchmarks.batch_predict import workers

  script = 'import subprocess as s; s.run(["sleep", "61"])'
  name = b'sleep\x0061'
  own, other = (
    subprocess.Popen([sys.executable, '-c', script], start_new_session=True) for _ in range(2)
  )
  try:
    while len(found := workers(os.getpid(), name)) < 2:
      time.sleep(0.05)
    [ours], [theirs] = workers(own.pid, name), workers(other.pid, name)
    assert ours != theirs and {ours, theirs} == {*found}
  finally:
    for process in (own, other):
      os.killpg(process.pid, signal.SIGKILL)
      process.wait()


def test_a_file_is_damaged_as_named(tmp_path):
  path = tmp_path / 'x'
  for how, expected in (('flip', b'ab\x62d'), ('cut', b'ab'), ('empty', b'')):
    path.write_bytes(b'abcd')
    damage(path, how)
    assert path.read_bytes() == expected
  damage(path, 'remove')
  assert not path.exists()
