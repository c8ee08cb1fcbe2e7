"""PSPNet on PASCAL VOC 2012 after CharlesPikachu's sssegmentation: 60 epochs of 10,582 images.

pspnet prepare --dataset=voc2012
pspnet train --config=voc2012_sssegmentation:r101 --workdir=/tmp/run

Published: mIoU of the validation images in percent, at one scale (docs/modelzoo/pspnet/README.md of
SegmentationBLWX/sssegmentation). Protocol: `mmseg`, whole images fitted into 2048×512.

Sources: ssseg/configs/pspnet and ssseg/configs/_base_. It is mmsegmentation's recipe but for the
length, an auxiliary head of 512 channels, and losses averaged over the valid pixels. -d16 has an
output stride of 16.
"""

import _mmseg

ROWS = {
  'r50': {
    'backbone': 'r50',
    'output_stride': 8,
    'ss': (77.93,),
    'checkpoint': 'pspnet_resnet50os8_voc',
  },
  'r50-d16': {
    'backbone': 'r50',
    'output_stride': 16,
    'ss': (76.29,),
    'checkpoint': 'pspnet_resnet50os16_voc',
  },
  'r101': {
    'backbone': 'r101',
    'output_stride': 8,
    'ss': (79.04,),
    'checkpoint': 'pspnet_resnet101os8_voc',
  },
  'r101-d16': {
    'backbone': 'r101',
    'output_stride': 16,
    'ss': (77.92,),
    'checkpoint': 'pspnet_resnet101os16_voc',
  },
}


def get_config(row):
  r = ROWS[row]
  c = _mmseg.base('voc2012', r['backbone'], 39_660)  # 60 epochs of 10,582 images
  c.data.train.split = 'trainaug'
  c.model.update(aux_channels=512, output_stride=r['output_stride'])
  c.loss.avg_non_ignore = True
  return c
