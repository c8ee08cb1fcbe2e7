"""PSPNet on COCO-Stuff 10k and 164k after open-mmlab/mmsegmentation: 16 crops of 512×512.

pspnet prepare --dataset=coco_stuff164k
pspnet train --config=coco_stuff_mmseg:164k-r50-320k --workdir=/tmp/run

Published: mIoU of the validation images in percent, at one scale and at six with the mirror image
(configs/pspnet/metafile.yaml of v1.2.2). Protocol: `mmseg`, whole images fitted into 2048×512.

Sources: configs/pspnet and configs/_base_ of open-mmlab/mmsegmentation. What differs: the
classifiers begin as torch begins a convolution, there with normal deviates of 0.01.
"""

import _mmseg

ROWS = {
  '10k-r50-20k': {
    'backbone': 'r50',
    'steps': 20_000,
    'ss': (35.69,),
    'ms': (36.62,),
    'checkpoint': 'pspnet_r50-d8_4xb4-20k_coco-stuff10k-512x512',
  },
  '10k-r101-20k': {
    'backbone': 'r101',
    'steps': 20_000,
    'ss': (37.26,),
    'ms': (38.52,),
    'checkpoint': 'pspnet_r101-d8_4xb4-20k_coco-stuff10k-512x512',
  },
  '10k-r50-40k': {
    'backbone': 'r50',
    'steps': 40_000,
    'ss': (36.33,),
    'ms': (37.24,),
    'checkpoint': 'pspnet_r50-d8_4xb4-40k_coco-stuff10k-512x512',
  },
  '10k-r101-40k': {
    'backbone': 'r101',
    'steps': 40_000,
    'ss': (37.76,),
    'ms': (38.86,),
    'checkpoint': 'pspnet_r101-d8_4xb4-40k_coco-stuff10k-512x512',
  },
  '164k-r50-80k': {
    'backbone': 'r50',
    'steps': 80_000,
    'ss': (38.8,),
    'ms': (39.19,),
    'checkpoint': 'pspnet_r50-d8_4xb4-80k_coco-stuff164k-512x512',
  },
  '164k-r101-80k': {
    'backbone': 'r101',
    'steps': 80_000,
    'ss': (40.34,),
    'ms': (40.79,),
    'checkpoint': 'pspnet_r101-d8_4xb4-80k_coco-stuff164k-512x512',
  },
  '164k-r50-160k': {
    'backbone': 'r50',
    'steps': 160_000,
    'ss': (39.64,),
    'ms': (39.97,),
    'checkpoint': 'pspnet_r50-d8_4xb4-160k_coco-stuff164k-512x512',
  },
  '164k-r101-160k': {
    'backbone': 'r101',
    'steps': 160_000,
    'ss': (41.28,),
    'ms': (41.66,),
    'checkpoint': 'pspnet_r101-d8_4xb4-160k_coco-stuff164k-512x512',
  },
  '164k-r50-320k': {
    'backbone': 'r50',
    'steps': 320_000,
    'ss': (40.53,),
    'ms': (40.75,),
    'checkpoint': 'pspnet_r50-d8_4xb4-320k_coco-stuff164k-512x512',
  },
  '164k-r101-320k': {
    'backbone': 'r101',
    'steps': 320_000,
    'ss': (41.95,),
    'ms': (42.42,),
    'checkpoint': 'pspnet_r101-d8_4xb4-320k_coco-stuff164k-512x512',
  },
}


def get_config(row):
  r = ROWS[row]
  return _mmseg.base(f'coco_stuff{row.partition("-")[0]}', r['backbone'], r['steps'])
