"""The soak in small: each part is sampled, and the table is of the first sample and the last."""

import json

import pytest

from benchmarks import soak
from pspnet_jax.runtime import compiler_options


@pytest.mark.slow
@pytest.mark.usefixtures('one_device')
def test_every_part_is_sampled_and_kept(tmp_path, monkeypatch, capsys):
  def start(part, flags):  # in this process, which is sooner
    soak.main([f'--part={part}', *options])

  monkeypatch.setattr(soak, '_start', start)
  monkeypatch.setattr(compiler_options, 'for_network', lambda *args, **kwargs: {})
  options = [f'--output={tmp_path}', '--steps=4', '--images=6', '--sizes=2']
  soak.main(options)
  report = json.loads((tmp_path / 'soak.json').read_text())
  assert tuple(report) == soak.PARTS
  for part, found in report.items():
    done = [sample['done'] for sample in found['samples']]
    assert done[-1] == (4 if part == 'train' else 6) and done == sorted(set(done))
    for sample in found['samples']:
      assert sample['mb'] > 50 and sample['files'] > 2 and sample['threads'] > 0
  whole, windows = (
    found[-1]['compilations'] - found[0]['compilations']
    for found in (report['whole']['samples'], report['windows']['samples'])
  )
  assert whole >= 1 > windows == 0  # one size after the other, and windows of one size
  table = (tmp_path / 'soak.md').read_text().splitlines()
  assert len(table) == 2 + 2 * len(soak.PARTS) and table[2].startswith('| train | 1 |')
  # Asked again, what is there is kept; asked for more, it is not.
  monkeypatch.setattr(soak, '_start', lambda part, flags: pytest.fail(part))
  soak.main(options)
  assert capsys.readouterr().out.count('| evaluate | 6 |') == 2
  with pytest.raises(pytest.fail.Exception, match='windows'):
    soak.main([*options[:2], '--images=7', '--sizes=2'])
