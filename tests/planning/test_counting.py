import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from pspnet_jax.planning import counting, hlo

KB = 1024
LOOP = """HloModule loop

%body (s: (s32[], f32[256], f32[10,256])) -> (s32[], f32[256], f32[10,256]) {
  %s = (s32[], f32[256]{0}, f32[10,256]{1,0}) parameter(0)
  %i = s32[] get-tuple-element(%s), index=0
  %x = f32[256]{0} get-tuple-element(%s), index=1
  %rows = f32[10,256]{1,0} get-tuple-element(%s), index=2
  %twice = f32[256]{0} add(%x, %x)
  %row = f32[1,256]{1,0} bitcast(%twice)
  %zero = s32[] constant(0)
  %kept = f32[10,256]{1,0} dynamic-update-slice(%rows, %row, %i, %zero)
  ROOT %t = (s32[], f32[256]{0}, f32[10,256]{1,0}) tuple(%i, %twice, %kept)
}

%condition (s: (s32[], f32[256], f32[10,256])) -> pred[] {
  %s = (s32[], f32[256]{0}, f32[10,256]{1,0}) parameter(0)
  %i = s32[] get-tuple-element(%s), index=0
  %n = s32[] constant(10)
  ROOT %less = pred[] compare(%i, %n), direction=LT
}

ENTRY %main (s: (s32[], f32[256], f32[10,256])) -> (s32[], f32[256], f32[10,256]) {
  %s = (s32[], f32[256]{0}, f32[10,256]{1,0}) parameter(0)
  ROOT %loop = (s32[], f32[256]{0}, f32[10,256]{1,0}) while(%s), condition=%condition, \
body=%bodyKNOWN
}
"""


def counted(text, **options):
  return counting.count(hlo.read(text), **options)


@pytest.mark.parametrize(
  ('known', 'turns'),
  [('', 10), (', backend_config={"known_trip_count":{"n":"7"}}', 7)],
)
def test_a_loop_counts_as_often_as_it_runs(known, turns):
  found = counted(LOOP.replace('KNOWN', known))
  by_name = {work.instruction.name: work for work in found.work}
  assert by_name['twice'].times == turns
  assert by_name['twice'].memory == turns * 3 * KB
  # It writes one of the ten rows at a time, read from where it was and two indices.
  assert by_name['kept'].memory == turns * (2 * KB + 8)
  assert not found.endless


def test_a_loop_of_unknown_length_counts_once_and_is_named():
  text = LOOP.replace('KNOWN', '').replace('constant(10)', 'parameter(1)')
  found = counted(text)
  assert found.endless == ['loop']
  assert {work.times for work in found.work} == {1}


def test_compiled_loops_count_what_their_turns_touch():
  """Each of the seven turns reads one row of the input and writes one of the output."""

  def scanned(xs):
    return lax.scan(lambda carry, x: (carry, jnp.tanh(x @ x)), 0, xs)[1]

  xs = jax.ShapeDtypeStruct((7, 64, 64), jnp.float32)
  found = counted(jax.jit(scanned).lower(xs).compile().as_text())
  assert sum(found.flops.values()) == 7 * 2 * 64**3
  # A turn's product has one factor here, which both operands are: it is read once or twice.
  whole, unit = found.memory, 7 * 64 * 64 * 4
  assert 4 * unit < whole < 12 * unit
  assert not found.endless

  def unrolled(xs):
    return jnp.stack([jnp.tanh(x @ x) for x in xs])

  beside = counted(jax.jit(unrolled).lower(xs).compile().as_text())
  assert beside.flops == found.flops


FUSIONS = """HloModule fusions

%sliced (p: f32[1024], q: f32[256]) -> f32[256] {
  %p = f32[1024]{0} parameter(0)
  %q = f32[256]{0} parameter(1)
  %negative = f32[1024]{0} negate(%p)
  %some = f32[256]{0} slice(%negative), slice={[0:256]}
  ROOT %sum = f32[256]{0} add(%some, %q)
}

%put (rows: f32[10,256], row: f32[256], i: s32[]) -> (f32[10,256], f32[256]) {
  %rows = f32[10,256]{1,0} parameter(0)
  %row = f32[256]{0} parameter(1)
  %i = s32[] parameter(2)
  %zero = s32[] constant(0)
  %new = f32[256]{0} negate(%row)
  %wide = f32[1,256]{1,0} bitcast(%new)
  %kept = f32[10,256]{1,0} dynamic-update-slice(%rows, %wide, %i, %zero)
  ROOT %both = (f32[10,256]{1,0}, f32[256]{0}) tuple(%kept, %new)
}

ENTRY %main (a: f32[1024], b: f32[256], rows: f32[10,256], i: s32[]) -> (f32[10,256], f32[256]) {
  %a = f32[1024]{0} parameter(0)
  %b = f32[256]{0} parameter(1)
  %rows = f32[10,256]{1,0} parameter(2)
  %i = s32[] parameter(3)
  %part = f32[256]{0} fusion(%a, %b), kind=kLoop, calls=%sliced
  ROOT %out = (f32[10,256]{1,0}, f32[256]{0}) fusion(%rows, %part, %i), kind=kLoop, calls=%put
}
"""


def test_a_fusion_counts_what_it_touches_once():
  part, out = counted(FUSIONS).work
  assert part.memory == 3 * KB  # a quarter of a, b, and the result
  assert out.memory == 3 * KB + 4  # the row, its place among the others, and itself


def test_what_is_still_in_the_cache_is_set_apart_and_not_left_out():
  for cache, cached in ((0, 0), (12 * KB, KB), (1 * KB, KB), (KB - 1, 0)):
    found = counted(FUSIONS, cache_bytes=cache)
    assert found.memory == 6 * KB + 4
    assert found.cached == cached  # `part`, read right after it was made


BRANCHES = """HloModule branches

%small (x: f32[256]) -> f32[256] {
  %x = f32[256]{0} parameter(0)
  ROOT %y = f32[256]{0} negate(%x)
}

%large (x: f32[256]) -> f32[256] {
  %x = f32[256]{0} parameter(0)
  %y = f32[256]{0} negate(%x)
  ROOT %z = f32[256]{0} add(%x, %y)
}

%outer (x: f32[256]) -> f32[256] {
  %x = f32[256]{0} parameter(0)
  ROOT %y = f32[256]{0} call(%x), to_apply=%small
}

ENTRY %main (x: f32[256], which: s32[]) -> f32[256] {
  %x = f32[256]{0} parameter(0)
  %which = s32[] parameter(1)
  %called = f32[256]{0} call(%x), to_apply=%outer
  %start = ((f32[256]{0}), f32[256]{0}) async-start(%called), calls=%small
  %done = f32[256]{0} async-done(%start)
  ROOT %y = f32[256]{0} conditional(%which, %done, %done), branch_computations={%small, %large}
}
"""


def test_called_computations_count_and_of_branches_the_largest():
  found = counted(BRANCHES)
  assert [work.instruction.opcode for work in found.work] == ['negate', 'negate', 'negate', 'add']
  assert found.memory == (2 + 2 + 2 + 3) * KB


CALLS = """HloModule calls

%add (x: f32[], y: f32[]) -> f32[] {
  %x = f32[] parameter(0)
  %y = f32[] parameter(1)
  ROOT %sum = f32[] add(%x, %y)
}

ENTRY %main (x: bf16[256,8], w: bf16[8,16]) -> bf16[256,16] {
  %x = bf16[256,8]{1,0} parameter(0)
  %w = bf16[8,16]{1,0} parameter(1)
  %call = (bf16[256,16]{1,0}, s8[4194304]{0}) custom-call(%x, %w), \
custom_call_target="__cublas$lt$matmul", backend_config={"gemm_backend_config":\
{"dot_dimension_numbers":{"lhs_contracting_dimensions":["1"]}}}
  %y = bf16[256,16]{1,0} get-tuple-element(%call), index=0
  %sent = bf16[256,16]{1,0} all-reduce-start(%y), to_apply=%add
  %sum = bf16[256,16]{1,0} all-reduce-done(%sent)
  %copied = (bf16[256,16]{1,0:T(8,128)(2,1)S(1)}, bf16[256,16]{1,0:T(8,128)(2,1)}, u32[]) \
copy-start(%sum)
  ROOT %out = bf16[256,16]{1,0:T(8,128)(2,1)S(1)} copy-done(%copied)
}
"""


def test_calls_messages_and_what_stays_on_the_chip():
  found = counted(CALLS)
  call, message, copy = found.work
  assert call.memory == 2 * (256 * 8 + 8 * 16 + 256 * 16)  # without the library's scratch
  assert found.calls() == {('__cublas$lt$matmul', ''): 1}
  assert found.messages() == {'all-reduce': (1, 2 * 256 * 16)}
  assert message.memory == 2 * 2 * 256 * 16
  tiles = 2 * 256 * 128
  assert copy.memory == tiles and copy.on_chip == tiles  # out of memory, into the chip
  assert found.on_chip == tiles


def test_kernels_of_ones_own_have_names():
  call = 'custom_call_target="__cublas$lt$matmul"'
  text = CALLS.replace(
    call,
    'custom_call_target="tpu_custom_call", metadata={op_name="jit(f)/jvp(stem)/twice/pallas_call"}',
  )
  assert counted(text).calls() == {('tpu_custom_call twice', ''): 1}


def test_every_array_of_a_compiled_program_counts_once():
  x = jax.ShapeDtypeStruct((1000,), np.float32)
  compiled = jax.jit(lambda x, y: (x + y) * 2).lower(x, x).compile()
  assert counted(compiled.as_text()).memory == 3 * 4000
