"""PSPNet with a distilled "vd" backbone on Cityscapes after PaddlePaddle/PaddleSeg.

pspnet prepare --dataset=cityscapes --manual_dir=ZIPS
pspnet train --config=cityscapes_paddleseg:r50 --workdir=/tmp/vd

Published: mIoU of the validation images in percent, at one scale and at several with the mirror
image (configs/pspnet/README.md). Protocol: whole images; at several scales PaddleSeg averages
logits, where the mean here is of probabilities.

Sources: configs/pspnet/*cityscapes_1024x512_80k.yml and configs/_base_/cityscapes.yml. What
differs: the convolutions of the heads have no bias before their normalisation, which takes it out
again, and images smaller than the crop are padded after the colours have changed, not before.
"""

import _paddleseg

ROWS = {
  'r50': {
    'depth': 50,
    'ss': (78.83,),
    'ms': (79.66,),
    'checkpoint': 'pspnet_resnet50_os8_cityscapes_1024x512_80k',
  },
  'r101': {
    'depth': 101,
    'ss': (80.48,),
    'ms': (81.29,),
    'checkpoint': 'pspnet_resnet101_os8_cityscapes_1024x512_80k',
  },
}


def get_config(row):
  depth = ROWS[row]['depth']
  c = _paddleseg.base('cityscapes', depth, 80_000, batch_size=8, crop_size=(512, 1024))
  c.optimizer.min_lr = 1e-5
  c.eval = {'whole_images': True}
  return c
