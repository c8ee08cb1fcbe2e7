"""The command export: programs from a workdir, and what it refuses."""

import json
import sys

import cv2
import numpy as np
import pytest

from pspnet_jax.data.scenes import ContextScenes
from pspnet_jax.errors import UserError
from pspnet_jax.evaluation.metrics import Scores
from pspnet_jax.export import _told_of_int8, export, export_program
from pspnet_jax.exports import comparison, stablehlo
from pspnet_jax.weights.checkpoints import Checkpoints
from tests import tiny
from tests.exports.programs import images, program, reference
from tests.models.heads import AsppNet

STEP = 7
pytestmark = pytest.mark.usefixtures('one_device')


def saved(folder, made):
  with Checkpoints(folder) as checkpoints:
    items = {'params': made.params, 'batch_stats': made.batch_stats}
    checkpoints.save(STEP, items, made.card)
  return folder


@pytest.fixture(scope='module')
def made():
  return program(probabilities=False, bins=(1, 2))


@pytest.fixture(scope='module')
def workdir(made, tmp_path_factory):
  return saved(tmp_path_factory.mktemp('w') / 'w', made)


@pytest.fixture(scope='module')
def photographs(tmp_path_factory):
  folder = tmp_path_factory.mktemp('images')
  for i, scene in enumerate(ContextScenes('val', size=(60, 90), length=5)):
    cv2.imwrite(str(folder / f'{i}.png'), scene['image'][..., ::-1])
  return folder


def test_the_command_writes_compares_and_says_what_it_is(workdir, made, photographs, tmp_path):
  pytest.importorskip('onnxruntime')
  from pspnet_jax.exports import onnx_file

  file = tmp_path / 'a' / 'net.onnx'
  arguments = ('--format=onnx', f'--output={file}', f'--images={photographs}', '--size=any')
  result = tiny.run('export', f'--workdir={workdir}', *arguments)
  assert result.returncode == 0, result.stderr
  said = ' '.join(result.stdout.split())
  assert 'PSPNet-10 of step 7: image uint8 [batch, height, width, 3] → labels uint8' in said
  assert 'the windows, scales and mirror images of an evaluation are not in it' in said
  assert f'on 5 of the 5 image(s) of {photographs}: 100.0000 % of 27,000 labels are equal' in said
  assert 'labels are equal, probabilities differ by' in said  # though they are not put out
  image = images((41, 57))
  labels = onnx_file.runner(file.read_bytes())(image)['labels']
  np.testing.assert_array_equal(labels, reference(made)(image)['labels'])


def test_stablehlo_has_its_description_beside_it(workdir, made, tmp_path, capsys):
  file = tmp_path / 'net.stablehlo'
  export_program(workdir, file, 'stablehlo', probabilities=True)
  assert 'on 2 drawn scenes: 100.0000 % of' in capsys.readouterr().out
  assert json.loads((tmp_path / 'net.stablehlo.json').read_text())['size'] == [41, 57]
  image = images((41, 57), 1)
  labels = stablehlo.runner(file.read_bytes())(image)['labels']
  np.testing.assert_array_equal(labels, reference(made)(image)['labels'])
  assert {path.name for path in tmp_path.iterdir()} == {'net.stablehlo', 'net.stablehlo.json'}


def test_int8_says_what_it_costs_on_other_images(workdir, photographs, tmp_path, capsys):
  pytest.importorskip('onnxruntime')
  options = {'int8': True, 'images': photographs}
  export_program(workdir, tmp_path / 'small.onnx', 'onnx', **options)
  said = ' '.join(capsys.readouterr().out.split())
  assert 'int8 by 3 images, on 2 others: ' in said
  assert '% of the labels differ from the float network, and their mean IoU with its' in said


@pytest.mark.parametrize(('right', 'warned'), [(95, False), (60, True)])
def test_int8_says_its_mean_iou_and_warns_where_classes_are_lost(right, warned):
  confusion = np.array([[900, 0], [100 - right, right]])  # of the smaller class
  small = right / 100
  miou = (900 / (900 + 100 - right) + small) / 2
  [said, *warning] = _told_of_int8(Scores(confusion))
  assert said.startswith(f'{(100 - right) / 10:.2f} % of the labels differ from the float network')
  assert said.endswith(f'mean IoU with its labels is {100 * miou:.2f} %.')
  assert bool(warning) == warned and all('below 80 % mean IoU' in text for text in warning)


def test_a_file_that_is_another_network_does_not_get_its_name(workdir, tmp_path, monkeypatch):
  pytest.importorskip('onnxruntime')
  monkeypatch.setattr(comparison, 'FLOAT32', comparison.Allowed(-1.0, 0.0, 0.0))
  with pytest.raises(UserError, match='is not the network it was made of'):
    export_program(workdir, tmp_path / 'x.onnx', 'onnx')
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
  ('options', 'says'),
  [
    ({'size': '33'}, r"^--size=33: give HEIGHT,WIDTH in pixels, or 'any'\.$"),
    ({'size': '0,5'}, r'^--size=0,5: give'),
    ({'size': '4,50'}, r'^--size=4,50: a side is less than the 8 pixels'),
    ({'size': 'any'}, r'^--size=any: StableHLO holds'),
    ({'int8': True}, r'^--int8 is onnxruntime'),
    ({'format_name': 'onnx', 'int8': True}, r'^--int8 needs images .*: give --images=FOLDER\.$'),
    ({'images': 'nowhere'}, r'nowhere does not exist: give an image or a folder'),
    ({'output': '.'}, r'^--output=\. is a folder: name a file in it\.$'),
    ({'which': 3}, r'has no step 3; it has \[7\]'),
  ],
)
def test_what_cannot_be_written_is_refused_in_a_sentence(workdir, tmp_path, options, says):
  arguments = {'output': tmp_path / 'x', 'format_name': 'stablehlo', **options}
  with pytest.raises(UserError, match=says):
    export_program(workdir, **arguments)
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('format_name', ['stablehlo', 'onnx', 'mmseg'])
def test_a_file_that_cannot_be_written_is_refused_before_the_network_is_read(tmp_path, format_name):
  (tmp_path / 'file').write_text('x')
  write = export if format_name == 'mmseg' else export_program
  with pytest.raises(UserError, match=r'^cannot write to .*file/a/x: .*file is not a folder\.$'):
    write(tmp_path / 'nowhere', tmp_path / 'file' / 'a' / 'x', format_name)


@pytest.mark.parametrize('content', ['{"mine": 1}', '{"written_by": "me"}', '[1]', '\ufeff?', ''])
def test_a_description_replaces_none_but_a_description(workdir, tmp_path, content):
  beside = tmp_path / 'x.json'
  beside.write_text(content, encoding='utf-8')
  with pytest.raises(UserError, match=r'x\.json is there and tells of no export'):
    export_program(workdir, tmp_path / 'x', 'stablehlo')
  assert beside.read_text(encoding='utf-8') == content
  beside.write_text(program().described(), encoding='utf-8')
  assert stablehlo.description_of(tmp_path / 'x') == beside


@pytest.mark.parametrize('module', ['onnx', 'onnxruntime'])
def test_without_onnx_it_says_what_to_install(workdir, tmp_path, monkeypatch, module):
  for name in [x for x in sys.modules if x.startswith('pspnet_jax.exports.onnx')]:
    monkeypatch.delitem(sys.modules, name)
  import pspnet_jax.exports

  for name in ('onnx_file', 'onnx_graph', 'onnx_network', 'onnx_axes'):
    monkeypatch.delattr(pspnet_jax.exports, name, raising=False)
  monkeypatch.setitem(sys.modules, module, None)
  says = rf"^--format=onnx needs {module}: pip install 'pspnet_jax\[onnx\]'\.$"
  with pytest.raises(UserError, match=says):
    export_program(workdir, tmp_path / 'x.onnx', 'onnx')


def test_a_network_of_ones_own_goes_to_stablehlo_if_it_is_named(tmp_path):
  workdir = saved(tmp_path / 'w', program(model=AsppNet))
  with pytest.raises(UserError, match='imported only if you name it'):
    export_program(workdir, tmp_path / 'x', 'stablehlo')
  export_program(workdir, tmp_path / 'x', 'stablehlo', model=AsppNet)
  assert (tmp_path / 'x').is_file()


def test_flags_of_programs_do_not_bear_on_weights(workdir, tmp_path):
  arguments = (f'--workdir={workdir}', f'--output={tmp_path / "x"}', '--probabilities')
  result = tiny.run('export', *arguments)
  assert result.returncode == 1 and result.stderr.count('\n') == 1
  assert '--format=semseg writes weights alone: leave --probabilities out.' in result.stderr
