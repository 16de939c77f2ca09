"""What may stop a decision: one file per step of the order. Every step can only stop; none can allow."""

from control_plane.governance.case import Case
from control_plane.governance.order import first_refusal
from control_plane.governance.peers import Peers, peers_of

__all__ = ["Case", "Peers", "first_refusal", "peers_of"]
