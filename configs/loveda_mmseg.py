"""PSPNet on LoveDA after open-mmlab/mmsegmentation: 80,000 steps of 16 crops of 512×512.

pspnet prepare --dataset=loveda
pspnet train --config=loveda_mmseg:r50-80k --workdir=/tmp/run

Published: mIoU of the validation images in percent, at one scale and at six with the mirror image
(configs/pspnet/metafile.yaml of v1.2.2). Protocol: `mmseg`, whole images of 1024×1024.

Sources: configs/pspnet and configs/_base_ of open-mmlab/mmsegmentation. What differs: the
classifiers begin as torch begins a convolution, there with normal deviates of 0.01.
"""

import _mmseg

ROWS = {
  'r50-80k': {
    'backbone': 'r50',
    'steps': 80_000,
    'ss': (50.46,),
    'ms': (50.19,),
    'checkpoint': 'pspnet_r50-d8_4xb4-80k_loveda-512x512',
  },
  'r101-80k': {
    'backbone': 'r101',
    'steps': 80_000,
    'ss': (51.86,),
    'ms': (51.34,),
    'checkpoint': 'pspnet_r101-d8_4xb4-80k_loveda-512x512',
  },
  'r18-80k': {
    'backbone': 'r18',
    'steps': 80_000,
    'ss': (48.62,),
    'ms': (47.57,),
    'checkpoint': 'pspnet_r18-d8_4xb4-80k_loveda-512x512',
  },
}


def get_config(row):
  r = ROWS[row]
  return _mmseg.base('loveda', r['backbone'], r['steps'], test_scale=(1024, 1024))
