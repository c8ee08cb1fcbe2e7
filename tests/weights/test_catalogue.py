"""Published weights by name: what is said of them, and how they are had."""

import dataclasses
import hashlib
import io
import re
import subprocess
import sys
from types import SimpleNamespace
from urllib.parse import urlsplit

import numpy as np
import pytest
import torch

import pspnet_jax
from pspnet_jax import zoo
from pspnet_jax.data.spec import DatasetSpec
from pspnet_jax.errors import UserError
from pspnet_jax.inference.card import Card
from pspnet_jax.inference.protocol import MMSEG, MMSEG_SLIDE
from pspnet_jax.models.network import Network
from pspnet_jax.training.init_from import start_from
from pspnet_jax.weights import catalogue, download, published
from pspnet_jax.weights.checkpoints import Checkpoints
from pspnet_jax.weights.foreign.origin import network_conventions
from tests import tiny
from tests.conftest import TINY
from tests.weights import foreign
from tests.weights.file_server import serve
from tests.weights.test_importing import draw, error, logits, torch_logits

ENTRIES = catalogue.entries()
CONFIGS = {name: entry for name, entry in ENTRIES.items() if entry.source == 'mmseg'}
HOSTS = {
  'mmseg': 'download.openmmlab.com',
  'openmmlab': 'download.openmmlab.com',
  'torchvision': 'download.pytorch.org',
  'timm': 'github.com',
}
# mIoU at one scale, and at several with mirror images.
PUBLISHED = {
  'pspnet_r18-d8_4xb2-80k_cityscapes-512x1024': (74.87, 76.04),
  'pspnet_r50-d8_4xb2-80k_cityscapes-512x1024': (78.55, 79.79),
  'pspnet_r101-d8_4xb2-80k_cityscapes-512x1024': (79.76, 81.01),
  'pspnet_r18-d8_4xb2-80k_cityscapes-769x769': (75.90, 77.86),
  'pspnet_r50-d8_4xb2-80k_cityscapes-769x769': (79.59, 80.69),
  'pspnet_r101-d8_4xb2-80k_cityscapes-769x769': (79.77, 81.06),
  'pspnet_r50-d8_4xb4-80k_ade20k-512x512': (41.13, 41.94),
  'pspnet_r101-d8_4xb4-80k_ade20k-512x512': (43.57, 44.35),
  'pspnet_r50-d8_4xb4-160k_ade20k-512x512': (42.48, 43.44),
  'pspnet_r101-d8_4xb4-160k_ade20k-512x512': (44.39, 45.35),
  'pspnet_r50-d8_4xb4-20k_voc12aug-512x512': (76.78, 77.61),
  'pspnet_r101-d8_4xb4-20k_voc12aug-512x512': (78.47, 79.25),
  'pspnet_r50-d8_4xb4-40k_voc12aug-512x512': (77.29, 78.48),
  'pspnet_r101-d8_4xb4-40k_voc12aug-512x512': (78.52, 79.57),
  'semseg_pspnet50_ade20k': (41.89, 42.84),
  'semseg_pspnet101_cityscapes': (78.63, 79.29),
  'caffe_pspnet50_ade20k': (41.68, 42.78),
  'caffe_pspnet101_voc2012': (None, 85.41),
}


def test_every_row_is_an_entry():
  text = (tiny.ROOT / 'pspnet_jax/weights/catalogue.csv').read_text()
  assert len(text.splitlines()) == 1 + len(ENTRIES)  # so no name stands twice
  assert len(CONFIGS) == 54 and len({entry.sha256 for entry in CONFIGS.values()}) == 54
  addresses = {entry.address for entry in ENTRIES.values()} - {None}
  assert len(addresses) == len({download.cached(a) for a in addresses}) == 54 + 3 + 8 + 6
  assert {name: (ENTRIES[name].score, ENTRIES[name].score_ms) for name in PUBLISHED} == PUBLISHED


@pytest.mark.parametrize('entry', [e for e in ENTRIES.values() if e.address], ids=lambda e: e.name)
def test_addresses_are_of_their_publisher_and_carry_the_checksum(entry):
  address = urlsplit(entry.address)
  assert (address.scheme, address.hostname) == ('https', HOSTS[entry.source])
  assert re.fullmatch(r'[0-9a-f]{8}', entry.sha256)
  assert address.path.endswith(f'-{entry.sha256}.pth')


@pytest.mark.parametrize('entry', CONFIGS.values(), ids=CONFIGS)
def test_names_and_columns_agree(entry):
  found = re.fullmatch(
    r'pspnet_r(\d+)(b?)-d(\d+)[-_]?(rsb)?_4xb\d-(?:adamw-|amp-)?\d+k_([\w-]+)-(\d+)x(\d+)',
    entry.name,
  )
  depth, b, stride, rsb, data, height, width = found.groups()
  assert entry.depth == int(depth) and entry.output_stride == int(stride)
  assert entry.stem_channels == ((64,) if b or rsb else (32, 32, 64))
  assert entry.crop_size == (int(height), int(width))
  assert entry.data == data.replace('-', '_').replace('voc12aug', 'voc2012').replace(
    'stuff_', 'stuff'
  )
  assert entry.align_corners == (height == '769')
  slid = {'769': 513, '480': 320}.get(height)
  assert entry.stride == slid and entry.window == (slid and entry.crop_size)
  of_size = {'769': (2049, 1025), '480': (520, 520), '896': (896, 896)}
  of_data = {'cityscapes': (2048, 1024), 'loveda': (1024, 1024)}
  of_data |= dict.fromkeys(('potsdam', 'vaihingen'), (512, 512))
  assert entry.test_scale == of_size.get(height, of_data.get(entry.data, (2048, 512)))
  # The file's older name says the same.
  file = entry.address.rsplit('/', 1)[1]
  assert file.startswith(f'pspnet_r{depth}{b}-d{stride}_') and f'{height}x{width}' in file
  assert ('fp16' in file) == ('amp' in entry.name) and ('rsb' in file) == bool(rsb)
  assert f'_{data.replace("-", "_")}_' in file.replace('-', '_')


def test_data_sets_have_their_number_of_classes():
  numbers = {name: count for name, (_, count) in catalogue.DATASETS.items()}
  assert numbers == {
    'cityscapes': 19,
    'ade20k': 150,
    'voc2012': 21,
    'voc2012_test': 21,
    'imagenet': 1000,
    'pascal_context': 60,
    'pascal_context_59': 59,
    'coco_stuff10k': 171,
    'coco_stuff164k': 171,
    'loveda': 7,
    'potsdam': 6,
    'vaihingen': 6,
    'isaid': 16,
  }
  assert {entry.data for entry in ENTRIES.values()} == numbers.keys()
  assert {entry.source for entry in ENTRIES.values()} == catalogue.PAGES.keys()


def test_every_network_can_be_built():
  kinds = {
    (e.depth, e.stem_channels, e.output_stride) for e in ENTRIES.values() if not e.is_backbone
  }
  assert len(kinds) == 10
  for depth, stem, stride in kinds:
    options = network_conventions(align_corners=False, contract_dilation=True)
    network = Network(19, depth=depth, stem_channels=stem, output_stride=stride, **options)
    assert network.param_shapes['classifier/conv/bias'].shape == (19,)


@pytest.mark.parametrize(
  ('name', 'message'),
  [
    ('pspnet_r50-d8_80k_ade20k-512x512', 'did you mean pspnet_r50-d8_4xb4-80k_ade20k-512x512'),
    ('resnet50v1c', 'did you mean resnet50_v1c'),
    ('zzz', 'pspnet zoo list has all names'),
  ],
)
def test_an_unknown_name_is_answered_with_a_near_one(name, message):
  for ask in (catalogue.find, catalogue.named, pspnet_jax.load_pretrained):
    with pytest.raises(UserError, match=message):
      ask(name)


def test_paths_go_before_names(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  assert catalogue.named('resnet50_v1c') is ENTRIES['resnet50_v1c']
  assert catalogue.named('resnet50.tv_in1k') is ENTRIES['resnet50.tv_in1k']
  (tmp_path / 'resnet50_v1c').mkdir()
  for path in ('resnet50_v1c', 'gone.pth', 'gone/net', 'a.pth,b.pth', 'gone.safetensors'):
    assert catalogue.named(path) is None


def test_files_without_an_address_are_explained():
  with pytest.raises(UserError, match=r'github.com/hszhao/PSPNet links, .*convert --input=FILE'):
    published.load(ENTRIES['caffe_pspnet50_ade20k'])


def test_a_backbone_is_no_network():
  with pytest.raises(UserError, match=r'--config\.init_from=resnet50_v1c'):
    pspnet_jax.load_pretrained('resnet50_v1c')


# From here on two files of our own, on a server of our own.
OPTIONS = dict(
  TINY, stem_channels=(2, 2, 4), contract_dilation=True, output_stride=32, dilations=(1, 1, 2, 4)
)


@pytest.fixture(scope='module')
def model():
  made, image = foreign.model(**OPTIONS), draw(64, 72)
  made.cls[4].bias.data -= torch.tensor(torch_logits(made, image).mean((0, 1)))
  return made


@pytest.fixture
def names(model, tmp_path, monkeypatch):
  """'net', of mmseg's kind with conventions that no shape tells, and 'backbone'."""
  monkeypatch.setenv('PSPNET_JAX_CACHE', str(tmp_path / 'cache'))
  monkeypatch.setenv('no_proxy', '127.0.0.1')
  state = model.state_dict()
  net = {'state_dict': foreign.mmseg(state), 'meta': {'CLASSES': list('abcde')}}
  contents = [to_bytes(net), to_bytes(foreign.imagenet(state, 'v1c'))]
  with serve(contents[0]) as one, serve(contents[1], 'backbone.pth') as two:
    changes = {'depth': 10, 'stem_channels': (2, 2, 4)}
    entries = {
      'net': dataclasses.replace(
        ENTRIES['pspnet_r50-d32_4xb2-80k_cityscapes-512x1024'],
        **(changes | {'name': 'net', 'align_corners': True, 'crop_size': (48, 64)}),
        address=one.address,
        sha256=hashlib.sha256(contents[0]).hexdigest()[:8],
      ),
      'backbone': dataclasses.replace(
        ENTRIES['resnet50_v1c'],
        **(changes | {'name': 'backbone'}),
        address=two.address,
        sha256=hashlib.sha256(contents[1]).hexdigest(),
      ),
    }
    monkeypatch.setattr(catalogue, 'entries', lambda: entries)
    yield entries


def to_bytes(content) -> bytes:
  buffer = io.BytesIO()
  torch.save(content, buffer)
  return buffer.getvalue()


def test_a_name_becomes_the_network_of_its_authors(names, model):
  converted, image = published.load(names['net']), draw(64, 72)
  assert error(logits(converted, image), torch_logits(model, image)) < 2e-5
  card = converted.card
  assert card.crop_size == (48, 64) and card.spec.class_names == tuple('abcde')
  file = download.cached(names['net'].address)
  assert card.source == {
    'name': 'mmseg',
    'files': {'net.pth': f'sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}'},
    'zoo': 'net',
    'address': names['net'].address,
  }
  assert card.published['mIoU'] == 73.88 and card.published['mIoU_ms'] == 76.85
  assert card.published['source'].endswith('v1.2.2/configs/pspnet/metafile.yaml')
  assert Card.from_json(card.to_json()) == card


def test_protocols_are_those_of_the_configs():
  whole = published.protocol(ENTRIES['pspnet_r50-d8_4xb4-80k_ade20k-512x512'])
  assert whole == MMSEG and whole.scaled_size((512, 683), 1.0) == (512, 683)
  slid = published.protocol(ENTRIES['pspnet_r50-d8_4xb2-80k_cityscapes-769x769'])
  assert slid.window == (769, 769) and slid.stride == 513 / 769
  assert slid.scaled_size((1024, 2048), 1.0) == (1025, 2049)
  assert dataclasses.replace(slid, window='crop', base_size=(2048, 512)) == MMSEG_SLIDE
  context = published.protocol(ENTRIES['pspnet_r101-d8_4xb4-40k_pascal-context-480x480'])
  assert context.base_size == (520, 520) and context.window == (480, 480)
  assert round(context.stride * 480) == 320


def fresh(num_classes, **changes):
  """Card and initial values of a new network that the files fit."""
  options = {**OPTIONS, **changes}
  spec = DatasetSpec(tuple(map(str, range(num_classes))), ((0, 0, 0),) * num_classes)
  card = Card(network={'num_classes': num_classes, **options}, spec=spec, crop_size=(33, 33))
  return card, *Network(num_classes, **options).init(0)


def test_a_run_starts_from_a_name(names):
  card, params, stats = fresh(5, dilations=None)
  new, _, notes = start_from('net', card, params, stats)
  expected = published.load(names['net']).params
  assert all(np.array_equal(new[name], expected[name]) for name in expected)
  assert notes == [
    'Starting from net.',
    'It was made with dilations=(1, 1, 2, 4), and here it is None.',
  ]
  new, _, notes = start_from('backbone', card, params, stats)
  name = 'backbone/stage4/0/conv1/conv/kernel'
  np.testing.assert_array_equal(new[name], expected[name])
  assert notes == [
    'Starting from backbone.',
    'Not taken from there, but fresh: all but the backbone.',
  ]


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


@pytest.mark.parametrize('words', [(), ('get',), ('show',), ('get', 'a', 'b')])
def test_other_words_are_answered_with_those_there_are(words, monkeypatch):
  monkeypatch.setattr(zoo, 'FLAGS', SimpleNamespace(output=None))
  with pytest.raises(UserError, match='say what to do'):
    zoo.main(words)
