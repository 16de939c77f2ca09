"""One decision before the guards: all that a guard may look at."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from control_plane.catalogue import Intent
from control_plane.governance.peers import Peers
from control_plane.messages import Decision, Event, Subject
from control_plane.ports.expressions import Program
from state.rows import RecentAction, Row


class Case(Struct, frozen=True, kw_only=True):
    """A decision with the row as it is at this moment. `now_ms` is log time.

    `rows` holds the parts that the agent read, as policies see them; `scope` is what `still_when` is evaluated on.
    `granted` is what the agent may ever propose; `from_outside` marks a proposal that was made on an older row;
    `invalid_expression` says which expression of the decision does not compile; `peers` are the other members of the
    fleets that the subject is in. `superseded` marks an answer to a context that its agent was sent a newer one after.
    """

    decision: Decision
    intent: Intent | None
    event: Event
    subject: Subject
    row: Row
    now_ms: int
    granted: tuple[str, ...]
    rows: Mapping[str, Mapping[str, Any]]
    ages_ms: Mapping[str, int]
    scope: Any
    still_when: Program | None = None
    invalid_expression: str | None = None
    peers: tuple[Peers, ...] = ()
    from_outside: bool = False
    superseded: bool = False

    @property
    def catalogued(self) -> Intent:
        """The intent's catalogue entry, for guards after the first, which refuses a decision without one."""
        assert self.intent is not None, "the grant guard comes first and refuses what is not in the catalogue"
        return self.intent

    def actions_within(self, window_ms: int) -> tuple[RecentAction, ...]:
        """The subject's actions of the last `window_ms`, this intent's or not."""
        return tuple(action for action in self.row.recent if action.at_ms > self.now_ms - window_ms)
