"""The network, its StableHLO and its ONNX file answer alike on street scenes."""

from pathlib import Path

import pytest

from pspnet_jax.exports import comparison, stablehlo
from pspnet_jax.exports.sample_images import SampleImages
from tests.exports.programs import program

onnx_file = pytest.importorskip('pspnet_jax.exports.onnx_file')
CAMVID = Path(__file__).parents[3] / 'shared' / 'camvid'


@pytest.mark.skipif(not CAMVID.is_dir(), reason='CamVid is not at ../shared/camvid')
def test_twenty_frames_are_labelled_alike():
  made = program((180, 240), depth=18, width=8, head_channels=32)
  frames = SampleImages.of(CAMVID / 'images' / 'val', made.size, made.crop, 'upright').some(20)
  live = made.live()
  for run in (
    onnx_file.runner(onnx_file.make(made)),
    stablehlo.runner(stablehlo.make(made)),
  ):
    found = comparison.compare(live, run, frames)
    assert found.images == 20 and found.share >= 0.9999
    assert found.difference < 1e-4
