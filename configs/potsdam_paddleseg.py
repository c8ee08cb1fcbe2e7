"""PSPNet with a distilled "vd" backbone on ISPRS Potsdam after PaddlePaddle/PaddleSeg.

pspnet prepare --dataset=potsdam --manual_dir=ARCHIVES
pspnet train --config=potsdam_paddleseg:r50 --workdir=/tmp/vd

Published: mIoU of the validation images in percent, at one scale
(contrib/RSSegBenchmark/README.md). Protocol: whole tiles of 512×512.

Sources: contrib/RSSegBenchmark/configs/pspnet/pspnet_resnet50_vd_potsdam_512x512_80k.yml and
configs/_base_/potsdam.yml there. A batch has four images a GPU, and four GPUs are taken to be
meant, as in PaddleSeg's own recipes. What differs: the convolutions of the heads have no bias
before their normalisation, which takes it out again, and images smaller than the crop are padded
after the colours have changed, not before. Pixels of colours that are no class's, nearly all of the
label of 4_12 and most cars of that of 6_7, were impervious surface there
(contrib/RSSegBenchmark/data/prepare_potsdam.py) and are ignored here.
"""

import _paddleseg

ROWS = {'r50': {'ss': (77.69,), 'checkpoint': 'pspnet_resnet50_vd_potsdam_512x512_80k'}}


def get_config(row):
  del row  # there is one
  c = _paddleseg.base('potsdam', 50, 80_000, batch_size=16, crop_size=(512, 512))
  c.optimizer.weight_decay = 5e-4
  c.eval = {'whole_images': True}
  return c
