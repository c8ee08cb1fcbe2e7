"""The benchmark of exports, at sizes of seconds: what it compares is the same network."""

import json

import pytest

pytest.importorskip('onnxruntime')
from benchmarks import onnx_export, timing
from pspnet_jax.config import files
from tests import tiny

SMALL = ['--depth=10', '--width=4', '--num_classes=5']


def test_times_are_those_of_the_same_network(tmp_path, capsys, monkeypatch):
  monkeypatch.setattr(timing, 'LEAST_SECONDS', 0)
  path = tmp_path / 'times.json'
  onnx_export.main([*SMALL, '--sizes=41', '--rounds=2', '--threads=1', f'--json={path}'])
  [row] = json.loads(path.read_text())['rows']
  assert row['labels equal'] == 1 and row['classes seen'] > 1
  assert row['ratio'] > 0 and '| 41² |' in capsys.readouterr().out


def test_files_of_a_workdir_are_scored(tmp_path, capsys):
  from tests.exports.programs import program
  from tests.test_export import saved

  made = program((33, 49), probabilities=False, num_classes=11)
  workdir = saved(tmp_path / 'w', made)
  files.save(tiny.config(tmp_path), workdir / 'config.json')
  onnx_export.main([f'--workdir={workdir}', '--int8', '--limit=2'])
  out = capsys.readouterr().out
  assert '| ONNX | ' in out and '| ONNX int8, ' in out and '2 images of 33×49' in out
