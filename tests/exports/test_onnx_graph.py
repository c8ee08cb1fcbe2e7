"""A graph keeps its constants once, names nodes after layers, and is refused where it cannot be."""

import numpy as np
import pytest

onnx_graph = pytest.importorskip('pspnet_jax.exports.onnx_graph')


def graph_of_a_sum():
  graph = onnx_graph.Graph()
  x = graph.input('x', 'float32', ('batch', 2))
  graph.scope = 'stage1/0'
  total = graph.add('Add', graph.add('Add', x, graph.ints(1)), graph.ints(1))
  graph.output(total, 'y', 'float32', ('batch', 2))
  return graph


def test_small_constants_are_kept_once_and_large_ones_are_not_looked_at():
  graph = onnx_graph.Graph()
  assert graph.ints(1, 2) == graph.ints(1, 2) != graph.ints(2, 1)
  assert graph.constant(np.zeros(2, np.float32)) != graph.constant(np.zeros(2, np.int32))
  assert graph.constant(np.zeros((1, 2))) != graph.constant(np.zeros((2, 1)))
  large = np.zeros(1000)
  assert graph.constant(large) != graph.constant(large)


def test_a_graph_that_is_wrong_does_not_pass():
  with pytest.raises(Exception, match='stage1/0/Add'):  # the checker of onnx; it names the node
    graph_of_a_sum().model({})  # int64 added to float32


def test_more_than_a_file_holds_is_refused(monkeypatch):
  monkeypatch.setattr(onnx_graph, '_MOST_BYTES', 4)
  with pytest.raises(onnx_graph.TooLarge):
    graph_of_a_sum().model({})
