"""The program as an ONNX model, and how onnxruntime runs it.

Plain operators of opset 17 alone, so that onnxruntime, TensorRT and OpenVINO take it.
"""

from __future__ import annotations

import numpy as np
import onnxruntime
from flax import nnx
from onnx import TensorProto

from pspnet_jax.errors import UserError
from pspnet_jax.exports.onnx_graph import Graph, TooLarge
from pspnet_jax.exports.onnx_network import PSPNetWriter
from pspnet_jax.exports.program import Outputs, Program, Run
from pspnet_jax.inference.card import PSPNET, Card
from pspnet_jax.models.pspnet import PSPNet

METADATA_KEY = 'pspnet_jax'
DTYPE = 'float32'  # whatever the network was trained in


def check(card: Card) -> None:
  """Raises UserError for any network but a PSPNet."""
  if (name := card.network.get('name', PSPNET)) != PSPNET:
    raise UserError(
      f'the network is {name} (config.model.name), and ONNX is written operator by operator for '
      f'PSPNets only: write it with --format=stablehlo --model={name}.'
    )


def make(program: Program) -> bytes:
  """Writes the network's operations as ONNX nodes.

  Args:
    program: of a network that computes in `DTYPE`.

  Raises:
    UserError: if it is no PSPNet, or the weights are more than one file holds.
  """
  check(program.card)
  graph = Graph()
  image = graph.input('image', 'uint8', program.shape)
  # TensorRT wants uint8 to become another type before anything else.
  pixels = graph.add('Cast', image, to=TensorProto.FLOAT)
  pixels = graph.add('Transpose', pixels, perm=[0, 3, 1, 2])
  mean = graph.constant(np.asarray(program.card.mean, np.float32)[:, None, None])
  pixels = graph.add('Sub', pixels, mean)
  logits = _logits(graph, program, pixels)
  graph.scope = 'labels'
  logits = graph.add('Transpose', logits, perm=[0, 2, 3, 1])  # while they are few
  logits = _upsampled(graph, program, pixels, logits)
  labels = graph.add('ArgMax', logits, axis=3, keepdims=0)
  outputs = {'labels': graph.add('Cast', labels, to=TensorProto.UINT8)}
  if program.probabilities:
    outputs['probabilities'] = graph.add('Softmax', logits, axis=3)
  for name, (dtype, shape) in program.outputs.items():
    graph.output(outputs[name], name, dtype, shape)
  try:
    return graph.model({METADATA_KEY: program.described()}).SerializeToString()
  except TooLarge as e:
    raise UserError(
      f'the weights are {e}, and an ONNX file holds less than 2: write --format=stablehlo.'
    ) from e


def _logits(graph: Graph, program: Program, pixels: str) -> str:
  network = program.network
  if network.options['dtype'] != DTYPE:
    raise ValueError(f'ONNX is written of a network in {DTYPE}, not {network.options["dtype"]}.')
  folded, _ = network.fold(program.params, program.batch_stats)
  options = {**network.options, 'dtype': np.dtype(DTYPE)}
  writer = PSPNetWriter(
    graph,
    nnx.eval_shape(lambda: PSPNet(**options, rngs=nnx.Rngs(0))),
    {name: np.asarray(x) for name, x in folded.items()},
    output_stride=network.options.get('output_stride', 8),
    size=program.size,
  )
  return writer.logits(pixels, program.card.std)


def _upsampled(graph: Graph, program: Program, pixels: str, logits: str) -> str:
  """Resizes [N, h, w, C] to the image.

  With channels last onnxruntime interpolates and finds the highest in a third of the time.
  """
  ints = graph.ints

  def sizes(value: str, begin: int, end: int) -> str:
    return graph.add('Slice', graph.add('Shape', value), ints(begin), ints(end), ints(0))

  sides = sizes(pixels, 2, 4) if program.size is None else ints(*program.size)
  shape = graph.add('Concat', sizes(logits, 0, 1), sides, sizes(logits, 3, 4), axis=0)
  rule = 'align_corners' if program.network.align_corners else 'half_pixel'
  return graph.add(
    'Resize', logits, '', '', shape, mode='linear', coordinate_transformation_mode=rule
  )


def runner(content: bytes, threads: int = 0) -> Run:
  """Makes the function of a model, as onnxruntime on the CPU runs it.

  Args:
    content: of the file.
    threads: how many compute; 0: as many as there are cores.
  """
  options = onnxruntime.SessionOptions()
  options.intra_op_num_threads = threads
  options.log_severity_level = 3  # errors
  session = onnxruntime.InferenceSession(content, options, providers=['CPUExecutionProvider'])
  names = [output.name for output in session.get_outputs()]

  def run(image: np.ndarray) -> Outputs:
    return dict(zip(names, session.run(names, {'image': image}), strict=True))

  return run
