"""Stated figures: kept with the code they were measured with, and compared with what it is now."""

import json
import time
from pathlib import Path

import pytest

from benchmarks import ablations, curves, figures
from tests import tiny

NAME = 'context_ablations:table1-baseline'


@pytest.fixture
def kept(tmp_path, monkeypatch):
  monkeypatch.setattr(figures, 'FILE', tmp_path / 'figures.json')
  return tmp_path


def trained(monkeypatch, miou, on_the_way=None):
  """Stands in for an hour of training: writes the scores that it is told."""
  commands = []
  began = time.time()
  monkeypatch.setattr(figures.time, 'time', lambda: began)

  def pspnet(*arguments):
    commands.append(arguments)
    workdir = Path(arguments[-1].removeprefix('--workdir='))
    workdir.mkdir(parents=True)
    last = {'val/mIoU': miou, 'val/mAcc': 0.9, 'val/aAcc': 0.95}
    lines = [{'step': 20, 'train/loss': 1.25}, {'step': 240, 'time': began + 3600, **last}]
    if on_the_way is not None:
      lines.insert(1, {'step': 120, 'time': began + 1800, 'val/mIoU': on_the_way})
    (workdir / 'metrics.jsonl').write_text('\n'.join(map(json.dumps, lines)))

  monkeypatch.setattr(figures, '_pspnet', pspnet)
  return commands


def test_what_a_file_does_counts_and_what_it_says_does_not(tmp_path):
  path = tmp_path / 'a.py'

  def digest(text):
    path.write_text(text)
    return figures.digest(path)

  plain = digest('"""Adds."""\ndef f(x):\n  return x + 1\n')
  assert digest('def f(x):\n  """Adds one."""\n  return (x  # one more\n          + 1)\n') == plain
  assert digest('def f(x):\n  return x + 2\n') != plain


def test_the_configs_that_a_config_imports_bear_on_its_figures():
  bearing = {*figures.bearing_code(NAME)}
  assert {'configs/context_ablations.py', 'configs/context_scenes.py'} <= bearing
  assert 'configs/camvid.py' not in figures.bearing_code(NAME)


def test_a_figure_is_measured_once_and_kept_with_its_code(kept, monkeypatch):
  commands = trained(monkeypatch, 0.5)
  for _ in range(2):
    figures.measure(NAME, [0, 1], kept / 'runs', [])
  assert len(commands) == 3  # two seeds and the short run, and nothing the second time
  record = figures.load()[NAME]
  assert record['seeds']['1']['mIoU'] == 50 and record['fingerprint']['first loss'] == 1.25
  assert figures.changed_since(NAME, record) == []
  record['code']['pspnet_jax/models/pspnet.py'] = 'other'
  assert figures.changed_since(NAME, record) == ['pspnet_jax/models/pspnet.py']


def test_a_run_that_was_evaluated_on_the_way_has_a_curve(kept, monkeypatch, capsys):
  commands = trained(monkeypatch, 0.5, on_the_way=0.25)
  figures.measure(NAME, [0], kept / 'runs', [])
  assert len(commands) == 2
  curve = figures.load()[NAME]['seeds']['0']['curve']
  assert curve == [[120, 30, 25], [240, 60, 50]]
  monkeypatch.setattr('sys.argv', ['curves', f'--plot={kept / "curve.png"}'])
  pytest.importorskip('matplotlib')
  curves.main()
  assert '| 0 | 120 | 30.0 | 25.0 |' in capsys.readouterr().out
  assert (kept / 'curve.png').stat().st_size > 5_000


def test_a_run_of_other_code_is_trained_anew(kept, monkeypatch):
  trained(monkeypatch, 0.5)
  figures.measure(NAME, [0], kept / 'runs', [])
  new = {'pspnet_jax/models/pspnet.py': 'new'}
  monkeypatch.setattr(figures, 'bearing_code', lambda *_: new)
  trained(monkeypatch, 0.7)
  figures.measure(NAME, [0], kept / 'runs', [])
  assert figures.load()[NAME]['seeds']['0']['mIoU'] == 70


def test_a_missing_figure_is_asked_for_in_a_sentence(kept, monkeypatch):
  monkeypatch.setattr('sys.argv', ['ablations'])
  with pytest.raises(SystemExit, match='no table was measured'):
    ablations.main()
  monkeypatch.setattr('sys.argv', ['curves'])
  with pytest.raises(SystemExit, match='no run was evaluated on the way'):
    curves.main()
  monkeypatch.setattr('sys.argv', ['figures', f'--confirm={NAME}', f'--output={kept}'])
  with pytest.raises(SystemExit, match='never measured'):
    figures.main()


def test_a_digest_is_that_of_every_python(tmp_path):
  path = tmp_path / 'a.py'
  path.write_text('def f(x: int = 1) -> str:\n  return f"{x!r:>4}" if x else ""\n')
  assert figures.digest(path) == 'ec36b8b6'


def test_changed_code_is_confirmed_only_if_it_computes_the_same(kept, monkeypatch):
  trained(monkeypatch, 0.5)
  figures.measure(NAME, [0], kept / 'runs', [])
  before = figures.load()[NAME]
  figures.keep(NAME, before | {'code': {'pspnet_jax/gone.py': 'x'}})
  trained(monkeypatch, 0.5 + 1e-9)
  assert not figures.confirm(NAME, kept / 'runs', [])
  assert figures.load()[NAME]['code'] == {'pspnet_jax/gone.py': 'x'}
  trained(monkeypatch, 0.5)
  assert figures.confirm(NAME, kept / 'runs', [])
  assert figures.load()[NAME] == before


def test_nothing_is_confirmed_on_another_machine(kept, monkeypatch):
  trained(monkeypatch, 0.5)
  figures.measure(NAME, [0], kept / 'runs', [])
  monkeypatch.setattr(figures, 'machine', lambda: {'processor': 'another'})
  with pytest.raises(RuntimeError, match='another machine'):
    figures.confirm(NAME, kept / 'runs', [])


def test_elsewhere_the_code_of_then_is_run_beside_that_of_now(kept, monkeypatch):
  trained(monkeypatch, 0.5)
  figures.measure(NAME, [0], kept / 'runs', [])
  monkeypatch.setattr(figures, 'machine', lambda: {'processor': 'another'})
  then = kept / 'then'  # an empty checkout
  with pytest.raises(RuntimeError, match=r'is not the code .*models/pspnet.py'):
    figures.confirm(NAME, kept / 'runs', [], then)
  record = figures.load()[NAME]
  figures.keep(NAME, record | {'code': {}})
  commands = trained(monkeypatch, 0.7)
  assert figures.confirm(NAME, kept / 'runs', [], then)
  assert len(commands) == 2  # twenty steps each
  assert figures.load()[NAME] == record  # the figures are those of then, and the code that of now


def test_the_name_of_a_config_does_not_begin_another_one():
  assert figures.named('camvid') == ['camvid', "camvid --config.model.bins='()'"]
  assert figures.named('camvid_long') == ['camvid_long']
  assert figures.named('context_ablations:stride') == [
    'context_ablations:stride-16',
    'context_ablations:stride-32',
  ]
  assert not figures.named('voc2012')


def test_pairs_of_rows_are_counted_by_their_order():
  published = {'a': 1.0, 'b': 2.0, 'c': 3.0}
  ours = {'a': [1, 2], 'b': [5, 6], 'c': [3, 6]}
  assert ablations.order(ours, published) == {
    'as published': 2,  # a below b, and a below c
    'clearly': 2,
    'reversed': 1,
    'clearly reversed': 0,
  }


@pytest.mark.parametrize('name', [name for name, whole in figures.RUNS.items() if whole])
def test_documents_state_the_figures_that_were_kept(name):
  if name not in figures.load():
    pytest.skip('not measured')
  seeds = figures.load()[name]['seeds'].values()
  told = ', '.join(f'{seed["mIoU"]:.1f}' for seed in seeds)
  config = tiny.ROOT / 'configs' / f'{name.partition(" ")[0]}.py'
  assert told in (tiny.ROOT / 'README.md').read_text()
  assert told in config.read_text()
