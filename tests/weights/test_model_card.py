"""The model card as its readers see it: people, and the Hub."""

import dataclasses

import pytest

from pspnet_jax.data.palettes import default_palette
from pspnet_jax.data.spec import DatasetSpec
from pspnet_jax.weights import model_card
from pspnet_jax.weights.packed_config import About, Figure
from tests.weights import packs


def card(**changes):
  return dataclasses.replace(packs.CARD, **changes)


def text(about=packs.ABOUT, pictures=('classes.png',), made=None, **options):
  return model_card.text_of(made or packs.network(), about, pictures, **options)


def test_it_says_what_there_is_to_know():
  found = text(settings=['--config.total_steps=6'], pictures=('example.png', 'classes.png'))
  assert '# A network\n' in found and '3 classes and ' in found
  assert '| streets, 5 images | 50.00 | measured |' in found
  assert '| 0 | sky | #0072b2 | 75.00 |' in found and '| 1 | road | #e69f00 | - |' in found
  assert '](example.png)' in found and '](predictions.png)' not in found
  assert '    --config.total_steps=6\n' in found and 'crops of 33×33 pixels' in found
  assert '## License\n\nmit. ' in found and 'Step 6.' in found


def test_how_to_use_it_names_the_place_it_is_at():
  there = text(where='hf://owner/net')
  assert "pip install 'pspnet_jax[hub]'\npspnet predict --workdir=hf://owner/net --input=" in there
  assert "model = pspnet_jax.load('hf://owner/net')" in there
  here = text()
  assert 'pip install pspnet_jax\npspnet predict --workdir=FOLDER --input=' in here
  assert 'FOLDER is the folder that this file lies in.' in here


def test_a_network_of_ones_own_is_said_to_be_one():
  made = packs.network(card=card(network={'name': 'mine:Net', **packs.CARD.network}))
  found = text(made=made)
  assert "load('FOLDER', model=CLASS)" in found and '--model=MODULE:CLASS' in found
  assert 'is not one of pspnet_jax, but mine:Net' in found and 'Zhao' not in found


def test_what_is_not_known_is_not_claimed():
  found = text(About('Net'), pictures=())
  assert 'None were measured.' in found and 'model-index' not in found
  assert 'Nobody has said under which license' in found and 'license: "unknown"' in found
  assert 'Nothing is known of the data' in found


def test_a_figure_with_a_caveat_says_it_and_is_not_ranked():
  [figure] = packs.ABOUT.figures
  figure = dataclasses.replace(figure, caveat='Images of *x* are trained on.')
  found = text(dataclasses.replace(packs.ABOUT, figures=(figure,)))
  assert r'| 50.00 | measured. **Images of \*x\* are trained on.** |' in found
  assert 'model-index' not in found and '75.00' not in found


def test_where_converted_weights_come_from_is_said():
  source = {'name': 'mmseg', 'zoo': 'pspnet_r50', 'address': 'https://x/y.pth'}
  source |= {'files': {'y.pth': 'sha256:00'}, 'notes': ('No checksum *is* published.',)}
  found = text(made=packs.network(card=card(source=source)))
  assert 'Converted from mmseg.' in found
  assert 'Published as pspnet_r50 at https:&#8288;//x/y.pth' in found
  assert '- y.pth: sha256:00' in found and r'- No checksum \*is\* published.' in found


NAMES = ('a | b\n# owned', '<script>alert(1)</script>', '[x](http://evil)')


def test_names_are_text_and_no_markup():
  spec = DatasetSpec(NAMES, default_palette(3))
  figure = Figure('`how`', '| data', '', {'mIoU': 0.1})
  about = About('<b>x</b>\n---\nlicense: mit', None, (figure,))
  found = text(about, made=packs.network(card=card(spec=spec)))
  _, header, body = found.split('---\n', 2)
  assert r'| 0 | a \| b\\n# owned | #0072b2 |' in body
  assert '<script>' not in body and '<b>' not in body and ' [x](' not in body
  assert r'| \| data | 10.00 | \`how\` |' in body
  assert header.startswith('license: "unknown"\n') and '\nlicense: mit' not in header


def test_the_hub_s_own_library_reads_the_header():
  hub = pytest.importorskip('huggingface_hub')
  about = dataclasses.replace(packs.ABOUT, title='Straßen: "A" \U0001f6e3 #1 \x1b\n- x')
  data = hub.ModelCard(text(about), ignore_metadata_errors=False).data
  assert data.license == 'mit' and data.library_name == 'pspnet_jax'
  assert data.pipeline_tag == 'image-segmentation' and 'jax' in data.tags
  assert data.model_name == r'Straßen: "A" ' + '\U0001f6e3' + r' #1 \x1b\n- x'
  [result] = data.eval_results
  assert (result.metric_type, result.metric_value) == ('mean_iou', 0.5)
  assert (result.dataset_type, result.dataset_name) == ('streets', 'streets, 5 images')
