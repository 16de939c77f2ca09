"""What policy is asked. Code gathers the facts; Rego rules on them."""

from typing import Any

from control_plane.governance.case import Case
from control_plane.messages import Question
from control_plane.messages.wire import ms_of, utc

ACTIONS_FACT_WINDOW_MS = 600_000


def question(case: Case) -> Question:
    """The question that a decision puts to the policy engine, once no guard refused it."""
    decision = case.decision
    return Question(
        id=decision.lineage.message_id,
        input={
            "decision": {
                "agent": decision.agent,
                "version": decision.agent_version,
                "intent": decision.intent,
                "subject": {"kind": case.subject.kind, "name": case.subject.name, "id": case.subject.id},
                "parameters": decision.parameters,
                "confidence": decision.confidence,
                "because": decision.because,
            },
            "intent": case.catalogued.as_input(),
            "event": {
                "type": case.event.type,
                "subject": case.event.subject,
                "source": case.event.lineage.source,
                "occurred_at": case.event.occurred_at.isoformat().replace("+00:00", "Z"),
                "data": case.event.data,
            },
            "rows": case.rows,
            "facts": _facts(case),
            "autonomy": {"level": "act"},
            "lineage": {
                "hop_count": decision.lineage.hop_count,
                "correlation_id": decision.lineage.correlation_id,
            },
            "now": utc(case.now_ms).isoformat().replace("+00:00", "Z"),
        },
    )


def _facts(case: Case) -> dict[str, Any]:
    recent = case.actions_within(ACTIONS_FACT_WINDOW_MS)
    return {
        "hour_utc": utc(case.now_ms).hour,
        "in_flight": len(case.row.live),
        "actions_last_10m": len(recent),
        "recent_actions": [
            {
                "intent": action.intent,
                "agent": action.agent,
                "age_ms": case.now_ms - action.at_ms,
                "outcome": action.outcome,
                "effect": action.effect,
            }
            for action in recent
        ],
        "event_age_ms": max(0, case.now_ms - ms_of(case.event.occurred_at)),
        "ages_ms": dict(case.ages_ms),
        **_fleet_facts(case),
    }


def _fleet_facts(case: Case) -> dict[str, Any]:
    """Of the fleet of which most would be down; nothing where one of the subject's fleets is not known."""
    if not case.peers or not case.row.registered or any(peers.unknown for peers in case.peers):
        return {}
    widest = max(case.peers, key=lambda peers: peers.share)
    return {
        "fleet": widest.fleet,
        "fleet_size": widest.size,
        "fleet_share": widest.share,
        "fleet_healthy_share": widest.healthy_share,
        "fleet_in_flight": widest.in_flight,
    }
