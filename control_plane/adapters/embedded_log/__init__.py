"""A durable, partitioned log on one machine: what `embedded://PATH` stands on.

One process writes it, others may read along. It is no distributed system: past one machine the log is Kafka.
"""

from control_plane.adapters.embedded_log.log import EmbeddedLog
from control_plane.adapters.embedded_log.model import Append, Durability, GroupOffset, Maintained, TopicConfig

__all__ = ["Append", "Durability", "EmbeddedLog", "GroupOffset", "Maintained", "TopicConfig"]
