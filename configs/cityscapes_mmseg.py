"""PSPNet on Cityscapes after open-mmlab/mmsegmentation: 40,000 and 80,000 steps of 8 crops.

pspnet prepare --dataset=cityscapes --manual_dir=ZIPS
pspnet train --config=cityscapes_mmseg:r50-769x769-80k --workdir=/tmp/run

Published: mIoU of the validation images in percent, at one scale and at six with the mirror image
(configs/pspnet/metafile.yaml of v1.2.2). Protocol: `mmseg`, whole images of 2048×1024; for the rows
of 769×769 `mmseg_slide`, windows of 769×769 that lie 513 pixels apart in images of 2049×1025.

Sources: configs/pspnet and configs/_base_ of open-mmlab/mmsegmentation. What differs: the
classifiers begin as torch begins a convolution, there with normal deviates of 0.01. AMP is bfloat16
here, which needs no scaling of the loss. The -d32 networks both stride and dilate. RSB are the
"ResNet strikes back" weights of OpenMMLab, trained from with AdamW.
"""

import _mmseg

ADAMW = {
  'name': 'adamw',
  'base_lr': 5e-4,
  'weight_decay': 0.05,
  'decay_norm': True,
  'decay_bias': True,
  'head_multiplier': 1.0,
  'clip_norm': 1.0,
  'warmup_steps': 1_000,
  'warmup_start': 0.001,
  'power': 0.0,  # constant, but for the milestones
  'milestones': (60_000, 72_000),
}

ROWS = {
  'r50-512x1024-40k': {
    'backbone': 'r50',
    'crop_size': (512, 1024),
    'steps': 40_000,
    'ss': (77.85,),
    'ms': (79.18,),
    'checkpoint': 'pspnet_r50-d8_4xb2-40k_cityscapes-512x1024',
  },
  'r101-512x1024-40k': {
    'backbone': 'r101',
    'crop_size': (512, 1024),
    'steps': 40_000,
    'ss': (78.34,),
    'ms': (79.74,),
    'checkpoint': 'pspnet_r101-d8_4xb2-40k_cityscapes-512x1024',
  },
  'r50-769x769-40k': {
    'backbone': 'r50',
    'crop_size': (769, 769),
    'steps': 40_000,
    'ss': (78.26,),
    'ms': (79.88,),
    'checkpoint': 'pspnet_r50-d8_4xb2-40k_cityscapes-769x769',
  },
  'r101-769x769-40k': {
    'backbone': 'r101',
    'crop_size': (769, 769),
    'steps': 40_000,
    'ss': (79.08,),
    'ms': (80.28,),
    'checkpoint': 'pspnet_r101-d8_4xb2-40k_cityscapes-769x769',
  },
  'r18-512x1024-80k': {
    'backbone': 'r18',
    'crop_size': (512, 1024),
    'steps': 80_000,
    'ss': (74.87,),
    'ms': (76.04,),
    'checkpoint': 'pspnet_r18-d8_4xb2-80k_cityscapes-512x1024',
  },
  'r50-512x1024-80k': {
    'backbone': 'r50',
    'crop_size': (512, 1024),
    'steps': 80_000,
    'ss': (78.55,),
    'ms': (79.79,),
    'checkpoint': 'pspnet_r50-d8_4xb2-80k_cityscapes-512x1024',
  },
  'r50-rsb-512x1024-80k': {
    'backbone': 'r50-rsb',
    'crop_size': (512, 1024),
    'steps': 80_000,
    'ss': (78.47,),
    'ms': (79.45,),
    'checkpoint': 'pspnet_r50-d8-rsb_4xb2-adamw-80k_cityscapes-512x1024',
  },
  'r101-512x1024-80k': {
    'backbone': 'r101',
    'crop_size': (512, 1024),
    'steps': 80_000,
    'ss': (79.76,),
    'ms': (81.01,),
    'checkpoint': 'pspnet_r101-d8_4xb2-80k_cityscapes-512x1024',
  },
  'r101-amp-512x1024-80k': {
    'backbone': 'r101',
    'crop_size': (512, 1024),
    'steps': 80_000,
    'ss': (79.46,),
    'checkpoint': 'pspnet_r101-d8_4xb2-amp-80k_cityscapes-512x1024',
    'dtype': 'bfloat16',
  },
  'r18-769x769-80k': {
    'backbone': 'r18',
    'crop_size': (769, 769),
    'steps': 80_000,
    'ss': (75.9,),
    'ms': (77.86,),
    'checkpoint': 'pspnet_r18-d8_4xb2-80k_cityscapes-769x769',
  },
  'r50-769x769-80k': {
    'backbone': 'r50',
    'crop_size': (769, 769),
    'steps': 80_000,
    'ss': (79.59,),
    'ms': (80.69,),
    'checkpoint': 'pspnet_r50-d8_4xb2-80k_cityscapes-769x769',
  },
  'r101-769x769-80k': {
    'backbone': 'r101',
    'crop_size': (769, 769),
    'steps': 80_000,
    'ss': (79.77,),
    'ms': (81.06,),
    'checkpoint': 'pspnet_r101-d8_4xb2-80k_cityscapes-769x769',
  },
  'r18b-512x1024-80k': {
    'backbone': 'r18b',
    'crop_size': (512, 1024),
    'steps': 80_000,
    'ss': (74.23,),
    'ms': (75.79,),
    'checkpoint': 'pspnet_r18b-d8_4xb2-80k_cityscapes-512x1024',
  },
  'r50b-512x1024-80k': {
    'backbone': 'r50b',
    'crop_size': (512, 1024),
    'steps': 80_000,
    'ss': (78.22,),
    'ms': (79.46,),
    'checkpoint': 'pspnet_r50b-d8_4xb2-80k_cityscapes-512x1024',
  },
  'r101b-512x1024-80k': {
    'backbone': 'r101b',
    'crop_size': (512, 1024),
    'steps': 80_000,
    'ss': (79.69,),
    'ms': (80.79,),
    'checkpoint': 'pspnet_r101b-d8_4xb2-80k_cityscapes-512x1024',
  },
  'r18b-769x769-80k': {
    'backbone': 'r18b',
    'crop_size': (769, 769),
    'steps': 80_000,
    'ss': (74.92,),
    'ms': (76.9,),
    'checkpoint': 'pspnet_r18b-d8_4xb2-80k_cityscapes-769x769',
  },
  'r50b-769x769-80k': {
    'backbone': 'r50b',
    'crop_size': (769, 769),
    'steps': 80_000,
    'ss': (78.5,),
    'ms': (79.96,),
    'checkpoint': 'pspnet_r50b-d8_4xb2-80k_cityscapes-769x769',
  },
  'r101b-769x769-80k': {
    'backbone': 'r101b',
    'crop_size': (769, 769),
    'steps': 80_000,
    'ss': (78.87,),
    'ms': (80.04,),
    'checkpoint': 'pspnet_r101b-d8_4xb2-80k_cityscapes-769x769',
  },
  'r50-d32-512x1024-80k': {
    'backbone': 'r50',
    'crop_size': (512, 1024),
    'steps': 80_000,
    'ss': (73.88,),
    'ms': (76.85,),
    'checkpoint': 'pspnet_r50-d32_4xb2-80k_cityscapes-512x1024',
    'output_stride': 32,
  },
  'r50-d32-rsb-512x1024-80k': {
    'backbone': 'r50-rsb',
    'crop_size': (512, 1024),
    'steps': 80_000,
    'ss': (74.09,),
    'ms': (77.18,),
    'checkpoint': 'pspnet_r50-d32_rsb_4xb2-adamw-80k_cityscapes-512x1024',
    'output_stride': 32,
  },
  'r50b-d32-512x1024-80k': {
    'backbone': 'r50b',
    'crop_size': (512, 1024),
    'steps': 80_000,
    'ss': (72.61,),
    'ms': (75.51,),
    'checkpoint': 'pspnet_r50b-d32_4xb2-80k_cityscapes-512x1024',
    'output_stride': 32,
  },
}


def get_config(row):
  r = ROWS[row]
  slides = r['crop_size'] == (769, 769)
  scale = (2049, 1025) if slides else (2048, 1024)
  c = _mmseg.base('cityscapes', r['backbone'], r['steps'], crop_size=r['crop_size'], scale=scale)
  c.batch_size = 8
  c.eval_every = r['steps'] // 10
  if slides:
    c.model.align_corners = True
    c.eval.protocol = 'mmseg_slide'
  if 'output_stride' in r:
    c.model.update(output_stride=r['output_stride'], dilations=(1, 1, 2, 4))
  if 'dtype' in r:
    c.model.dtype = r['dtype']
  if r['backbone'] == 'r50-rsb':
    c.optimizer = ADAMW
  return c
