"""The command pack: from a run to a folder that others use."""

import dataclasses
import json
import subprocess

import numpy as np
import pytest
from PIL import Image

import pspnet_jax
from pspnet_jax.config import files
from pspnet_jax.data.scenes import ContextScenes
from pspnet_jax.errors import UserError
from pspnet_jax.evaluate import evaluate
from pspnet_jax.export import export
from pspnet_jax.inference.card import Card
from pspnet_jax.models.network import Network
from pspnet_jax.models.pspnet import PSPNet
from pspnet_jax.pack import pack
from pspnet_jax.training.init_from import start_from
from pspnet_jax.weights import folders, packed, packed_config
from pspnet_jax.weights.checkpoints import Checkpoints
from tests import tiny
from tests.conftest import TINY

pytestmark = pytest.mark.usefixtures('one_device')

SPEC = ContextScenes('val', length=1, size=(33, 49)).spec
CARD = Card({'num_classes': SPEC.num_classes, **TINY}, SPEC, (33, 49))
NETWORK = Network(**CARD.network)


def checkpoint(folder, card=CARD, seed=0, **items):
  params, batch_stats = NETWORK.init(seed)
  items = {'params': params, 'batch_stats': batch_stats, **items}
  with Checkpoints(folder) as checkpoints:
    checkpoints.save(6, items, card, 0.25)
  return folder


@pytest.fixture
def run(tmp_path):
  """A workdir as a training leaves it."""
  folder = checkpoint(tmp_path / 'run')
  files.save(tiny.config(tmp_path), folder / 'config.json')
  return folder


@pytest.mark.slow  # two evaluations and a picture
def test_a_packed_run_does_what_the_run_does(run, tmp_path, capsys):
  config = tiny.config(tmp_path)
  scores = evaluate(config, run)
  image = np.random.default_rng(0).integers(0, 256, (33, 49, 3), np.uint8)
  Image.fromarray(image).save(tmp_path / 'i.png')
  pack(run, tmp_path / 'p', license_id='CC-BY-4.0', picture=tmp_path / 'i.png', title='Scenes')
  said = capsys.readouterr().out
  assert f'PSPNet-10, step 6 of {run}: ' in said and 'predictions.png shows images of the' in said
  names = {'README.md', 'classes.png', 'config.json', 'example.png', packed.WEIGHTS}
  assert {x.name for x in (tmp_path / 'p').iterdir()} == names | {'predictions.png'}

  readme = (tmp_path / 'p/README.md').read_text()
  assert 'license: "cc-by-4.0"' in readme and '# Scenes\n' in readme and '](example.png)' in readme
  assert f'| context_scenes, 5 images | {100 * scores.miou:.2f} |' in readme
  assert 'measured by pspnet evaluate: windows of 33×49' in readme
  assert '    --config.total_steps=6\n' in readme and str(tmp_path) not in readme
  about = packed_config.read(tmp_path / 'p').about
  assert about.figures[0].values['mIoU'] == scores.miou
  assert about.training['total_steps'] == 6

  assert repr(pspnet_jax.load_pretrained(tmp_path / 'p')) == repr(pspnet_jax.load(run))

  saved = files.saved_in(tmp_path / 'p')  # the data that it was trained on
  again = evaluate(files.load_saved(saved), tmp_path / 'p', output=tmp_path / 'scores')
  np.testing.assert_array_equal(again.confusion, scores.confusion)


def test_what_was_left_out_and_what_was_trained_on_stand_beside_the_figure(run, tmp_path):
  scores = {'digests': [folders.load(run).digest], 'data': 'streets', 'images': 7, 'protocol': {}}
  scores |= {'left_out': 1, 'notes': ['Images of f/val are both trained on and evaluated.']}
  scores |= {'mIoU': 0.9, 'mAcc': 0.8, 'aAcc': None, 'IoU': {'sky': 0.5, 'car': None}}
  (run / 'evaluation').mkdir()
  (run / 'evaluation/scores.json').write_text(json.dumps(scores))
  pack(run, tmp_path / 'p')
  readme = (tmp_path / 'p/README.md').read_text()
  assert '| streets, 7 images (1 left out as unusable) | 90.00 | 80.00 |' in readme
  assert '**Images of f/val are both trained on and evaluated.** |' in readme
  assert 'model-index' not in readme
  [figure] = packed_config.read(tmp_path / 'p').about.figures
  assert figure.caveat == scores['notes'][0]


def test_packing_what_was_packed_says_the_same(run, tmp_path):
  scores = {'digests': [folders.load(run).digest], 'data': 'scenes', 'images': 5, 'protocol': {}}
  scores |= {'mIoU': 0.9, 'mAcc': 0.8, 'aAcc': None, 'IoU': {'sky': 0.5, 'car': None}}
  (run / 'evaluation').mkdir()
  (run / 'evaluation/scores.json').write_text(json.dumps(scores))
  (run / 'evaluation/predictions.png').write_bytes(b'x')
  pack(run, tmp_path / 'a', license_id='mit', title='Scenes')
  assert '| scenes, 5 images | 90.00 | 80.00 |' in (tmp_path / 'a/README.md').read_text()
  pack(tmp_path / 'a', tmp_path / 'b')
  for name in ('README.md', 'classes.png', 'predictions.png', packed.WEIGHTS):
    assert (tmp_path / 'b' / name).read_bytes() == (tmp_path / 'a' / name).read_bytes()
  pack(tmp_path / 'b', tmp_path / 'b', title='Streets', examples=False)
  assert not (tmp_path / 'b/predictions.png').exists()
  assert '# Streets\n' in (tmp_path / 'b/README.md').read_text()
  export(tmp_path / 'b', tmp_path / 'x.pth', 'mmseg')


def test_of_a_packed_folder_only_pictures_that_were_packed_are_taken(run, tmp_path, capsys):
  pack(run, tmp_path / 'a', license_id='mit')
  (tmp_path / 'secret').write_bytes(b'secret')
  (tmp_path / 'a/example.png').symlink_to(tmp_path / 'secret')
  (tmp_path / 'a/predictions.png').write_bytes(b'other')  # which its config.json does not name
  (tmp_path / 'a/classes.png').write_bytes(b'changed')
  pack(tmp_path / 'a', tmp_path / 'b')
  said = capsys.readouterr().out
  for name in ('example.png', 'predictions.png'):
    assert f'a/{name} is not what was packed, and is left out.' in said
  assert {x.name for x in (tmp_path / 'b').iterdir()} == {
    *('README.md', 'classes.png', 'config.json', packed.WEIGHTS)
  }
  assert (tmp_path / 'b/classes.png').read_bytes() != b'changed'  # it is drawn anew


def test_a_link_is_not_the_picture_of_an_evaluation(run, tmp_path, capsys):
  scores = {'digests': [folders.load(run).digest], 'data': 'scenes', 'images': 5, 'protocol': {}}
  scores |= {'mIoU': 0.9, 'mAcc': 0.8, 'aAcc': None, 'IoU': {'sky': 0.5, 'car': None}}
  (run / 'evaluation').mkdir()
  (run / 'evaluation/scores.json').write_text(json.dumps(scores))
  (tmp_path / 'secret').write_bytes(b'secret')
  (run / 'evaluation/predictions.png').symlink_to(tmp_path / 'secret')
  pack(run, tmp_path / 'p')
  assert not (tmp_path / 'p/predictions.png').exists()
  assert 'predictions.png is a link, and is left out.' in capsys.readouterr().out


def test_the_score_of_training_stands_where_nothing_else_was_measured(run, tmp_path, capsys):
  pack(str(run), str(tmp_path / 'p'))  # paths may be texts
  [figure] = packed_config.read(tmp_path / 'p').about.figures
  assert figure.values == {'mIoU': 0.25} and figure.which == 'validation split'
  assert figure.how.startswith('measured while training: ')
  assert 'No license is known' in capsys.readouterr().out


def test_figures_of_other_weights_are_left_out_and_that_is_said(run, tmp_path, capsys):
  (run / 'evaluation').mkdir()
  (run / 'evaluation/predictions.png').write_bytes(b'x')
  scores = {'digests': ['0'], 'mIoU': 0.9, 'mAcc': 0.9, 'aAcc': 0.9, 'IoU': {}, 'protocol': {}}
  for content in (json.dumps(scores), '{}', '[', '[]', '{"digests": 1e999}'):
    (run / 'evaluation/scores.json').write_text(content)
    pack(run, tmp_path / 'p')
    assert 'scores.json is not of these weights' in capsys.readouterr().out
    [figure] = packed_config.read(tmp_path / 'p').about.figures
    assert figure.values == {'mIoU': 0.25}
  assert not (tmp_path / 'p/predictions.png').exists()


def test_the_moving_average_is_packed_or_the_others_if_asked(tmp_path):
  average, _ = NETWORK.init(1)
  workdir = checkpoint(tmp_path / 'run', ema_params=average)
  name = 'classifier/conv/kernel'
  for ema, expected in ((True, average), (False, NETWORK.init(0)[0])):
    pack(workdir, tmp_path / str(ema), ema=ema)
    found = packed.load(tmp_path / str(ema), ema=ema)
    np.testing.assert_array_equal(found.params[name], expected[name])
    figures = packed_config.read(tmp_path / str(ema)).about.figures
    assert len(figures) == 0  # of which data, no config says
  assert '(not their moving average)' in (tmp_path / 'False/README.md').read_text()


def test_published_figures_and_licenses_of_converted_weights_go_with_them(tmp_path):
  published = {'data': 'ADE20K', 'mIoU': 41.5, 'mIoU_ms': 42.5, 'source': 'https://x'}
  source = {'name': 'mmseg', 'zoo': 'pspnet_r50', 'files': {'a.pth': 'sha256:0'}}
  card = dataclasses.replace(CARD, source=source, published=published)
  pack(checkpoint(tmp_path / 'zoo', card), tmp_path / 'p')
  about = packed_config.read(tmp_path / 'p').about
  assert about.license == 'apache-2.0' and about.title == 'PSPNet-10 on ADE20K'
  assert [f.values['mIoU'] for f in about.figures] == pytest.approx([0.415, 0.425])
  assert about.figures[0].how == 'published at https://x'
  own = dataclasses.replace(card, source={'name': 'mmseg'}, published=None)  # a file of anybody's
  pack(checkpoint(tmp_path / 'own', own), tmp_path / 'q')
  assert packed_config.read(tmp_path / 'q').about.license is None


class Mine(PSPNet):
  """A network of one's own."""


def test_a_network_of_ones_own_is_packed_without_its_code_and_loads_with_it(tmp_path):
  card = dataclasses.replace(CARD, network={'name': 'tests.test_pack:Mine', **CARD.network})
  workdir = checkpoint(tmp_path / 'run', card)
  pack(workdir, tmp_path / 'p')
  with pytest.raises(UserError, match=r'give --model=tests\.test_pack:Mine, or model= in Python'):
    pspnet_jax.load(tmp_path / 'p')
  assert 'Mine-10' in repr(pspnet_jax.load(tmp_path / 'p', model=Mine))
  with pytest.raises(UserError, match='give --model='):
    pack(workdir, tmp_path / 'q', picture=tmp_path / 'i.png')  # which it has to label


def test_a_run_starts_from_a_packed_network(run, tmp_path):
  pack(run, tmp_path / 'p')
  fresh, stats = NETWORK.init(3)
  params, _, notes = start_from(str(tmp_path / 'p'), CARD, fresh, stats)
  expected, _ = NETWORK.init(0)
  for name, x in expected.items():
    np.testing.assert_array_equal(params[name], x)
  assert notes[0] == f'Starting from {tmp_path / "p"}.'


def test_scores_of_an_address_go_where_they_are_told(tmp_path):
  with pytest.raises(UserError, match='results of hf://a/b have no folder: give --output=DIR'):
    evaluate(tiny.config(tmp_path), 'hf://a/b')


@pytest.mark.parametrize(
  ('options', 'message'),
  [
    ({'license_id': 'my own'}, '--license=my own: give an identifier'),
    ({'push': 'net'}, 'net is no name of a repository: give OWNER/NAME'),
    ({'private': True}, '--private is of a repository on the Hub'),
    ({'picture': 'gone.png'}, 'gone.png'),
    ({'which': 7}, 'has no step 7'),
  ],
)
def test_what_is_wrong_is_one_sentence_and_nothing_is_written(run, tmp_path, options, message):
  with pytest.raises(UserError, match=message):
    pack(run, tmp_path / 'p', **options)
  assert not (tmp_path / 'p').exists()


@pytest.mark.slow  # two commands
def test_the_command_uploads_and_another_labels_with_what_came(run, tmp_path):
  pytest.importorskip('huggingface_hub')
  from tests.weights import hub_server

  Image.new('RGB', (40, 30)).save(tmp_path / 'i.png')

  def start(server, name, *arguments):
    return subprocess.run(
      tiny.command(name, *arguments),
      capture_output=True,
      text=True,
      cwd=tiny.ROOT,
      env=tiny.environment() | hub_server.environment(server, tmp_path / 'cache'),
      check=False,
    )

  with hub_server.serve() as server:
    output = f'--output={tmp_path / "p"}'
    result = start(server, 'pack', f'--workdir={run}', output, '--push=owner/net', '--license=mit')
    assert result.returncode == 0, result.stderr
    assert f'Uploaded: {server.address}/owner/net/commit/' in result.stdout
    assert hub_server.TOKEN not in result.stdout + result.stderr
    [files_there] = server.repositories['owner/net'].commits
    assert b'--workdir=hf://owner/net --input=' in files_there['README.md']
    assert files_there.keys() == {x.name for x in (tmp_path / 'p').iterdir()}
    arguments = (f'--input={tmp_path / "i.png"}', f'--output={tmp_path / "out"}')
    result = start(server, 'predict', '--workdir=hf://owner/net', *arguments)
    assert result.returncode == 0, result.stderr
    assert 'Labelling with step 6 of hf://owner/net.' in result.stdout
    assert (tmp_path / 'out/labels/i.png').is_file()
