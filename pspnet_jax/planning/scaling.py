"""Expected times of a step on more devices than it was compiled for: a model, not a measurement.

Each device keeps as many images as it has, and the program its messages, whose number and bytes
hardly depend on the number of devices. A message takes the links' latency, and its bytes their
bandwidth; nothing of either is taken to be hidden behind computing. Compiled programs send each
message where its result is needed, and the gradients in a few large ones at the end.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from pspnet_jax.planning.devices import GIGA

MICRO = 1e-6
DEVICES = (8, 64, 512)  # that are told of
COLUMNS = (
  *('', 'devices', 'batch_size', 'ms a step', 'ms of waiting', 'ms of sending'),
  *('images/s', 'of linear'),
)
ENOUGH = 0.8  # of linear; what is more needs no advice


@dataclasses.dataclass(frozen=True)
class Links:
  """How devices of a kind reach each other.

  Attributes:
    group: devices that are joined directly: those of a host, or the chips of a TPU slice.
    sides: dimensions of the mesh in which they are joined; 1 is a chain.
    bandwidth: bytes a second that each sends within its group, in one direction.
    setup: seconds of a message before anything travels.
    hop: seconds from one device to the next in its group.
    network: bytes a second that each sends to other groups, all at once; 0 where nothing is known.
    network_hop: seconds from group to group.
    source: of these figures.
  """

  group: int
  sides: int
  bandwidth: float
  setup: float
  hop: float
  network: float
  network_hop: float
  source: str

  def reach(self, devices: int) -> bool:
    """Whether so many devices can be told of: one group, or whole ones that a network joins."""
    return devices <= self.group or (self.network > 0 and devices % self.group == 0)

  def latency(self, devices: int) -> float:
    """Seconds of the smallest all-reduce: there and back through the group, then the groups' tree.

    NCCL's own estimate for its trees has this form (`ncclTopoTuneModel`, src/graph/tuning.cc); on
    a mesh the way is the sum of its sides.
    """
    inside, groups = self._split(devices)
    way = 2 * self.sides * (inside ** (1 / self.sides) - 1)
    return self.setup + way * self.hop + 2 * math.log2(groups) * self.network_hop

  def sending(self, devices: int, size: float) -> float:
    """Seconds that the bytes of all-reduces take at the links' speed.

    Every device sends and receives (n - 1)/n of them twice within its group. Between groups each
    sums its share, one part in n of its group's, so that all of a host's network cards work.
    """
    inside, groups = self._split(devices)
    within = 2 * (inside - 1) / inside * size / self.bandwidth
    if groups == 1:
      return within
    return within + 2 * (groups - 1) / groups * size / inside / self.network

  def _split(self, devices: int) -> tuple[int, int]:
    if devices < 1 or not self.reach(devices):
      raise ValueError(f'{devices} devices are not whole groups of {self.group} that are joined')
    inside = min(devices, self.group)
    return inside, devices // inside


def _nvidia(bandwidth: float, card: float, source: str) -> Links:
  """`bandwidth` in GB/s, and `card` in Gb/s, of the network card that each of eight GPUs has.

  Latencies are NCCL's, of trees with its LL protocol: 15, 45 and 75 µs for 8, 64 and 512. A card
  gives 94 % of its line rate: 46 to 48 GB/s of 400 Gb/s (NVIDIA/nccl-tests, issue 290).
  """
  latencies = {'setup': 6.8 * MICRO, 'hop': 0.6 * MICRO, 'network_hop': 5 * MICRO}
  network = 0.94 * card / 8 * GIGA
  source = f"NCCL's own estimate of latencies, {source}, and a card of {card:.0f} Gb/s a GPU"
  return Links(8, 1, bandwidth * GIGA, network=network, source=source, **latencies)


def _tpu(group: int, sides: int, link: float) -> Links:
  """`link` in GB/s, one way; sides are taken to have no link from end to end, which doubles it.

  A hop takes about 1 µs, a message of three 8 (jax-ml.github.io/scaling-book/sharding).
  """
  source = 'links as on cloud.google.com/tpu/docs, latencies as in jax-ml.github.io/scaling-book'
  return Links(group, sides, sides * link * GIGA, 5 * MICRO, MICRO, 0, 0, source)


_HOPPER = _nvidia(370, 400, '370 GB/s of NVLink 4 as NCCL reaches (NVIDIA/nccl-tests, issue 212)')
# The names are those of `devices.DEVICES`.
LINKS: Mapping[str, Links] = {
  'h100': _HOPPER,
  'h200': _HOPPER,
  'a100': _nvidia(235, 200, "235 GB/s of NVLink 3 as NCCL's tuning has it"),
  'v5e': _tpu(256, 2, 50),
  'v5p': _tpu(6144, 3, 100),
  'v6e': _tpu(256, 2, 100),
}


class Load(NamedTuple):
  """What a step is on one of several devices.

  Attributes:
    images: that each device has.
    computing: seconds of a step on one device alone, measured or the least.
    messages: how many of each kind, and the bytes that each device sends in them, as
      `counting.Counted.messages` has them; all are taken for all-reduces.
  """

  images: int
  computing: float
  messages: Mapping[str, tuple[int, float]]


@dataclasses.dataclass(frozen=True)
class Expected:
  """A step on some number of devices.

  Attributes:
    devices: how many.
    images: a batch, on all of them together.
    computing: seconds of one device's own work.
    waiting: seconds of the messages, were they empty.
    sending: seconds of their bytes.
  """

  devices: int
  images: int
  computing: float
  waiting: float
  sending: float

  @property
  def seconds(self) -> float:
    """The whole step."""
    return self.computing + self.waiting + self.sending

  @property
  def images_per_second(self) -> float:
    """Images a second, of all devices together."""
    return self.images / self.seconds

  @property
  def efficiency(self) -> float:
    """The share of what as many devices would do that need not wait for each other."""
    return self.computing / self.seconds


def expected(links: Links, devices: int, load: Load) -> Expected:
  """The time of a step on some number of devices.

  Raises:
    ValueError: if the links do not reach so many.
  """
  images = load.images * devices
  if devices == 1:
    return Expected(1, images, load.computing, 0.0, 0.0)
  waiting = sum(times for times, _ in load.messages.values()) * links.latency(devices)
  sending = links.sending(devices, sum(sent for _, sent in load.messages.values()))
  return Expected(devices, images, load.computing, waiting, sending)


def rows(links: Links, loads: Mapping[str, Load]) -> list[list[str]]:
  """What `COLUMNS` name, of each program by its name, on each number of devices in `DEVICES`."""
  table = []
  for name, load in loads.items():
    for found in (expected(links, n, load) for n in DEVICES if links.reach(n)):
      times = found.seconds, found.waiting, found.sending
      table.append(
        [
          *(name, str(found.devices), str(found.images)),
          *(f'{1e3 * x:.3g}' for x in times),
          *(f'{found.images_per_second:.0f}', f'{100 * found.efficiency:.0f} %'),
        ]
      )
  return table


def remarks(links: Links, load: Load, *, ghost: int) -> Iterator[str]:
  """What the table stands on, from where messages are the limit, and what there is to do then.

  Args:
    links: between the devices.
    load: a program as configured.
    ghost: the ghost_batch_size that needs no message, where it is another than as configured.
  """
  yield f'Expected, not measured; nothing of a message hidden; {links.source}.'
  if beyond := [n for n in DEVICES if not links.reach(n)]:
    yield f'{beyond[0]} are more than the {links.group} of one slice: nothing is said of them.'
  told = (expected(links, n, load) for n in DEVICES if links.reach(n))
  slow = next((x for x in told if x.efficiency < ENOUGH), None)
  if slow is None:
    return
  if slow.waiting < slow.sending:
    what = 'sending bytes: more images a device send no more of them'
  else:
    what = 'waiting for messages, one after the other: more images a device need no more of them'
    if ghost:
      what += f', and model.ghost_batch_size={ghost} leaves out those of the statistics'
  yield f'On {slow.devices} devices most is lost in {what}.'
