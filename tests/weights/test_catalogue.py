"""Published weights by name: what is said of them."""

import re
from urllib.parse import urlsplit

import pytest

import pspnet_jax
from pspnet_jax.errors import UserError
from pspnet_jax.models.network import Network
from pspnet_jax.weights import catalogue, download
from pspnet_jax.weights.foreign.origin import network_conventions
from tests import tiny

ENTRIES = catalogue.entries()
CONFIGS = {name: entry for name, entry in ENTRIES.items() if entry.source == 'mmseg'}
HOSTS = {
  'mmseg': 'download.openmmlab.com',
  'openmmlab': 'download.openmmlab.com',
  'torchvision': 'download.pytorch.org',
  'timm': 'github.com',
  'paddleseg': 'bj.bcebos.com',
  'paddle_rs': 'paddleseg.bj.bcebos.com',
  'gluoncv': 'apache-mxnet.s3-accelerate.dualstack.amazonaws.com',
  'sssegmentation': 'github.com',
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
  'pspnet_resnet50_os8_cityscapes_1024x512_80k': (78.83, 79.66),
  'pspnet_resnet101_os8_cityscapes_1024x512_80k': (80.48, 81.29),
  'pspnet_resnet50_os8_voc12aug_512x512_40k': (80.76, 81.18),
  'pspnet_resnet101_os8_voc12aug_512x512_40k': (80.22, 80.68),
  'psp_resnet101_voc': (None, 85.1),
  'psp_resnet101_coco': (None, 70.4),
  'pspnet_resnet50os8_ade20k': (42.64, None),
  'pspnet_resnet101os8_ade20k': (44.55, None),
  'pspnet_resnet50os16_voc': (76.29, None),
  'pspnet_resnet101os8_cityscapes': (79.94, None),
}


def test_every_row_is_an_entry():
  text = (tiny.ROOT / 'pspnet_jax/weights/catalogue.csv').read_text()
  assert len(text.splitlines()) == 1 + len(ENTRIES)  # so no name stands twice
  assert len(CONFIGS) == 54 and len({entry.sha256 for entry in CONFIGS.values()}) == 54
  with_address = [entry for entry in ENTRIES.values() if entry.address]
  places = {download.cached(entry.address, entry.file) for entry in with_address}
  ours, backbones = 54 + 4 + 2 + 5 + 12, 4 + 8 + 6 + 9 + 2
  assert len({entry.address for entry in with_address}) == len(places) == ours + backbones
  assert {name: (ENTRIES[name].score, ENTRIES[name].score_ms) for name in PUBLISHED} == PUBLISHED


@pytest.mark.parametrize('entry', [e for e in ENTRIES.values() if e.address], ids=lambda e: e.name)
def test_addresses_are_of_their_publisher_and_carry_the_checksum(entry):
  address = urlsplit(entry.address)
  assert (address.scheme, address.hostname) == ('https', HOSTS[entry.source])
  if entry.source in ('paddleseg', 'paddle_rs', 'sssegmentation'):  # which publish none
    assert not entry.digest and entry.name in address.path
  elif entry.source == 'gluoncv':
    assert re.fullmatch(r'[0-9a-f]{40}', entry.sha1) and entry.digest == f'sha1:{entry.sha1}'
    assert address.path.endswith(f'/{entry.name}-{entry.sha1[:8]}.zip')
  else:
    assert re.fullmatch(r'[0-9a-f]{8}', entry.sha256) and entry.digest == entry.sha256
    assert address.path.endswith(f'-{entry.sha256}.pth')


def test_files_without_a_name_of_their_own_are_called_like_the_entry():
  files = {name: entry.file for name, entry in ENTRIES.items()}
  voc = 'pspnet_resnet50_os8_voc12aug_512x512_40k'
  assert files[voc] == f'{voc}.pdparams' and not ENTRIES[voc].is_archive
  assert files['psp_resnet50_ade'] == 'psp_resnet50_ade.params'
  assert files['resnet50_vd_ssld_v2'] == 'resnet50_vd_ssld_v2.pdparams'
  assert ENTRIES['psp_resnet50_ade'].is_archive and ENTRIES['resnet50_vd_ssld_v2'].is_archive
  assert files['resnet50_v1c'] == 'resnet50_v1c-2cccc1ad.pth'


def test_shortcuts_pool_in_what_is_called_so():
  pooled = {name for name, entry in ENTRIES.items() if entry.avg_down}
  named = {name for name in ENTRIES if re.search(r'_vd_|^resnet\d+d\.', name)}
  assert pooled == named | {name for name in ENTRIES if ENTRIES[name].source == 'paddleseg'}


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
    'coco_voc': 21,
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
    (e.depth, e.stem_channels, e.output_stride, e.avg_down)
    for e in ENTRIES.values()
    if not e.is_backbone
  }
  assert len(kinds) == 14
  for depth, stem, stride, avg_down in kinds:
    options = network_conventions(align_corners=False, contract_dilation=True, avg_down=avg_down)
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
