"""The other members of a subject's fleets: what may already be down when one more is acted on.

A fleet is known only where every partition was heard of not long ago; what is not known says why.
"""

from collections.abc import Mapping

from msgspec import Struct

from control_plane.catalogue.fleets import SMALL_FLEET_BELOW, Fleet, Fleets
from control_plane.messages.summary import FleetSummary
from state.rows import Row, Standing


class Peers(Struct, frozen=True, kw_only=True):
    """The other members of one fleet that the subject is in. `down` are those not healthy or with a live command.

    `here` members are in the subject's partition, itself among them. `untold` of them would be down, itself among them,
    that were not when the other partitions were told last.
    """

    fleet: str
    others: int = 0
    healthy: int = 0
    in_flight: int = 0
    down: int = 0
    self_healthy: bool = False
    here: int = 1
    untold: int = 0
    unknown: str = ""

    @property
    def size(self) -> int:
        """Members of the fleet, the subject among them."""
        return self.others + 1

    @property
    def share(self) -> float:
        """The share of the fleet that is down once the subject is acted on: what is acted on is down."""
        return (self.down + 1) / self.size

    def part_of(self, share_max: float) -> int:
        """How many more may go down here until the other partitions are told: this partition's part, by its members, of
        what was left then, and one in any case."""
        most = int(share_max * self.size)
        most += (most + 1) / self.size <= share_max
        known_down = self.down + 1 - self.untold
        return max(1, (most - known_down) * self.here // self.size)

    @property
    def healthy_share(self) -> float:
        """The share of the fleet that is healthy now, the subject as it is now."""
        return (self.healthy + self.self_healthy) / self.size

    @property
    def is_small(self) -> bool:
        """Whether the fleet is one of which a share says little."""
        return self.size < SMALL_FLEET_BELOW


def peers_of(before: Row, now: Row, fleets: Fleets, known: Mapping[str, FleetSummary]) -> tuple[Peers, ...]:
    """The peers of a row's subject in each of its fleets. What is known counts the row as it was `before`."""
    then, as_of_now = before.standing, now.standing
    return tuple(_peers_in(fleet, then, as_of_now, known.get(fleet.name)) for fleet in fleets.of(now.subject))


def _peers_in(fleet: Fleet, then: Standing | None, now: Standing | None, summary: FleetSummary | None) -> Peers:
    if summary is None:
        return Peers(fleet=fleet.name, unknown="nothing was told of it yet")
    own_size, own_healthy, own_in_flight, own_down = fleet.counts(then)
    return Peers(
        fleet=fleet.name,
        others=summary.size - own_size,
        healthy=summary.healthy - own_healthy,
        in_flight=summary.in_flight - own_in_flight,
        down=summary.down - own_down,
        self_healthy=fleet.counts(now)[1] > 0,
        here=summary.here - own_size + 1,
        untold=summary.untold - own_down + 1,
        unknown=summary.unknown,
    )
