"""A backbone in this process's memory, gone with it: for tests, for authors of agents and for simulation.

It keeps every promise of `ports.backbone` but durability: what outlives a crash is the MemoryLog, which the test holds.
The contract suite runs on it as on the others; what it does not promise stands there by name (`NOT_IN_MEMORY`).
"""

from control_plane.adapters.memory.backbone import MemoryBackbone
from control_plane.adapters.memory.clock import VirtualClock
from control_plane.adapters.memory.lane import Lane, Order
from control_plane.adapters.memory.log import MemoryLog
from control_plane.adapters.memory.positions import MemoryPositions

__all__ = ["Lane", "MemoryBackbone", "MemoryLog", "MemoryPositions", "Order", "VirtualClock"]
