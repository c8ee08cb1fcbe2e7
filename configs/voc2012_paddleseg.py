"""PSPNet with a distilled "vd" backbone on PASCAL VOC 2012 after PaddlePaddle/PaddleSeg.

pspnet prepare --dataset=voc2012
pspnet train --config=voc2012_paddleseg:r50 --workdir=/tmp/vd

Published: mIoU of the validation images in percent, at one scale and at several with the mirror
image (configs/pspnet/README.md). Protocol: images padded to 512×512 at bottom and right; at several
scales PaddleSeg averages logits, where the mean here is of probabilities.

Sources: configs/pspnet/*voc12aug_512x512_40k.yml and configs/_base_/pascal_voc12.yml. The file of
101 layers leaves out the random scale, and so does its row. What differs: the convolutions of the
heads have no bias before their normalisation, which takes it out again, and images smaller than the
crop are padded after the colours have changed, not before.
"""

import _paddleseg

ROWS = {
  'r50': {
    'depth': 50,
    'ss': (80.76,),
    'ms': (81.18,),
    'checkpoint': 'pspnet_resnet50_os8_voc12aug_512x512_40k',
  },
  'r101': {
    'depth': 101,
    'scale': (1.0, 1.0),
    'ss': (80.22,),
    'ms': (80.68,),
    'checkpoint': 'pspnet_resnet101_os8_voc12aug_512x512_40k',
  },
}


def get_config(row):
  r = ROWS[row]
  c = _paddleseg.base('voc2012', r['depth'], 40_000, batch_size=16, crop_size=(512, 512))
  c.data.train.split = 'trainaug'
  c.augment.scale = r.get('scale', (0.5, 2.0))
  c.eval = {'window': (512, 512), 'padding': 'end'}
  return c
