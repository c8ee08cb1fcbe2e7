"""The command zoo: what it lists, and what it leaves behind."""

import re
import subprocess
import sys
from types import SimpleNamespace

import pytest

import pspnet_jax
from pspnet_jax import zoo
from pspnet_jax.errors import UserError
from pspnet_jax.weights import download, published
from pspnet_jax.weights.checkpoints import Checkpoints
from tests import tiny
from tests.weights import served


@pytest.fixture(scope='module')
def model():
  return served.net()


@pytest.fixture
def names(model, tmp_path, monkeypatch):
  with served.two_names(model, tmp_path / 'cache', monkeypatch) as entries:
    yield entries


@pytest.fixture
def run(names, tmp_path, monkeypatch):
  """`pspnet zoo WORDS` where only `names` are known."""
  script = (
    'import runpy, sys; from pspnet_jax.weights import catalogue; Entry = catalogue.Entry; '
    f'catalogue.entries = lambda: {names!r}; '
    'runpy.run_module("pspnet_jax.zoo", run_name="__main__")'
  )
  monkeypatch.setenv('PYTHONPATH', str(tiny.ROOT))

  def run(*words):
    return subprocess.run(
      [sys.executable, '-c', script, *words],
      capture_output=True,
      text=True,
      cwd=tmp_path,
      env=tiny.environment(),
      check=False,
    )

  return run


@pytest.mark.usefixtures('one_device')
def test_the_command_makes_a_folder_that_goes_before_the_name(run, tmp_path, monkeypatch):
  got = run('get', 'net')
  assert got.returncode == 0, got.stderr
  assert 'output_stride=32, dilations=(1, 1, 2, 4), align_corners=True' in got.stdout
  last = (
    'Written to net: predict with --workdir=net, or train from it with\n--config.init_from=net.'
  )
  assert got.stdout.strip().endswith(last)
  card = Checkpoints(tmp_path / 'net', read_only=True).card()
  assert card.network['dilations'] == (1, 1, 2, 4) and card.published['mIoU'] == 73.88

  by_name = pspnet_jax.load_pretrained('net')
  monkeypatch.chdir(tmp_path)
  monkeypatch.setattr(published, 'fetch', None)
  assert pspnet_jax.load_pretrained('net').card == by_name.card == card


def test_a_wrong_name_is_one_sentence(run):
  result = run('get', 'backbon', '--output=x')
  assert result.returncode == 1 and result.stderr.count('\n') == 1
  assert result.stderr.startswith("Error: no published weights are called 'backbon': did you mean")


def test_a_backbone_stays_a_file(names, tmp_path, capsys):
  zoo.get('backbone', tmp_path / 'kept')
  file = tmp_path / 'kept/backbone.pth'
  assert file.read_bytes() == download.cached(names['backbone'].address).read_bytes()
  assert capsys.readouterr().out.endswith(
    f'--config.init_from={file} --config.model.depth=10 --config.model.stem_channels=2,2,4\n'
  )
  zoo.get('backbone')
  assert '--config.init_from=backbone ' in capsys.readouterr().out


def test_nothing_is_written_over(names, tmp_path, monkeypatch):
  (tmp_path / 'net/checkpoints').mkdir(parents=True)
  monkeypatch.chdir(tmp_path)
  with pytest.raises(UserError, match='net holds checkpoints already'):
    zoo.get('net')
  assert not download.cached(names['net'].address).exists()


def test_the_list_is_of_what_has_all_words(names, capsys):
  published.fetch(names['net'])
  zoo.show(['cityscapes', 'NET'])
  out = capsys.readouterr().out
  assert re.search(r'net +│ Cityscapes │ R10 │ 73.88 │ +76.85 │ here', out)
  assert 'backbone' not in out
  zoo.show([])
  assert re.search(r'backbone +│ R10 │ 2-2-4', capsys.readouterr().out)
  with pytest.raises(UserError, match='no published weights have net and nothing in name'):
    zoo.show(['net', 'nothing'])


def test_the_whole_list_says_where_the_rest_is(capsys):
  zoo.show(['pspnet101'])
  out = capsys.readouterr().out
  assert 'by hand: from the folder that https://github.com/hszhao/semseg links.' in out
  assert 'Pascal VOC 2012 test │ R101 │     - │   85.41 │ by hand' in out


def test_the_list_says_which_scores_are_an_assumption(capsys):
  zoo.show(['psp_resnet101_citys'])
  out = capsys.readouterr().out
  assert re.search(r'Cityscapes │ R101 │ +- │ +79.9', out)
  assert 'gluoncv does not say at how many scales it measured: several are an assump' in out
  zoo.show(['resnet50', 'ssseg'])
  assert 'assumption' not in capsys.readouterr().out


def test_the_list_says_what_nobody_vouches_for(capsys):
  zoo.show(['voc12aug_512x512_40k'])
  out = capsys.readouterr().out
  assert re.search(
    r'pspnet_resnet101_os8_voc12aug_512x512_40k │ .* │ R101d │ 80.22 │ +80.68 │ download', out
  )
  assert 'paddleseg publishes no checksums: a file is taken as it comes over https.' in out
  zoo.show(['psp_resnet101'])
  assert 'no checksums' not in capsys.readouterr().out


@pytest.mark.parametrize('words', [(), ('get',), ('show',), ('get', 'a', 'b')])
def test_other_words_are_answered_with_those_there_are(words, monkeypatch):
  monkeypatch.setattr(zoo, 'FLAGS', SimpleNamespace(output=None))
  with pytest.raises(UserError, match='say what to do'):
    zoo.main(words)
