"""Restarts a service that has become slow and does not recover.

A rule could compare a number with a limit. This agent looks at the trend as well: a service that is slow but getting
better is left alone, and so is one that has just been started.
"""

from collections.abc import Mapping
from typing import Any

from control_plane.sdk import Agent, Context, Decision, Expectation

SLOW_MS = 200.0
PROBES_MIN = 2  # While a service is being asked it is not asked again: one that takes a second tells once a second.
WARM_UP_S = 3.0
RECOVERING = 0.8  # The last answer took less than this share of the mean: it is getting better.


class LatencyGuard(Agent):
    name = "latency_guard"
    version = "1.0.0"
    listens_to = ("service.probed",)
    reads = ("service_health", "process_health")
    intents = ("restart_service",)

    def decide(self, context: Context) -> list[Decision]:
        health = context.rows.get("service_health", {})
        uptime_s = context.rows.get("process_health", {}).get("uptime_s", WARM_UP_S)
        if context.live or uptime_s < WARM_UP_S or not is_slow(health):
            return []
        mean_ms, best_ms, last_ms = health["latency_mean_ms"], health["latency_best_ms"], health["latency_ms"]
        return [
            context.propose(
                "restart_service",
                because=f"answers take {mean_ms:.0f} ms on average and never less than {best_ms:.0f} ms for 2 s; "
                f"the last took {last_ms:.0f} ms",
                parameters={"grace": "500ms"},
                confidence=0.8,
                expects=Expectation(
                    where=f"rows.service_health.up && rows.service_health.latency_ms < {SLOW_MS}",
                    harm="rows.service_health.up == false",
                    within_ms=2_500,
                    samples_min=3,
                ),
            )
        ]


def is_slow(health: Mapping[str, Any]) -> bool:
    """Slow all through the last two seconds, and not on the way back to normal."""
    best_ms = health.get("latency_best_ms")
    if best_ms is None or health.get("probes", 0) < PROBES_MIN or not health.get("up"):
        return False
    recovering: bool = health["latency_ms"] < RECOVERING * health["latency_mean_ms"]
    return best_ms > SLOW_MS and not recovering
