"""The metrics of one process: an observer of its loop, and gauges of what it holds. Never waits and never raises."""

from collections.abc import Callable, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Gauge, ProcessCollector

from control_plane.adapters.telemetry.dispatch import DispatchCollector, DispatchCounts
from control_plane.adapters.telemetry.gauges import LagCollector
from control_plane.adapters.telemetry.opa import BundlesCollector, OpaCollector, OpaCounters
from control_plane.adapters.telemetry.slow_agents import SlowAgentCounts, SlowAgentsCollector
from control_plane.adapters.telemetry.tally import Tally
from control_plane.loop.step import Done
from control_plane.messages import Command, DeadLetter, Decision, Effect, Event, Verdict
from control_plane.messages.event import OUTCOME_PREFIX
from control_plane.ports.bundles import Bundles
from state.projections import Gaps

_NO_REASON: Final = "none"


class Telemetry:
    """Implements `control_plane.partition.Observer`; `registry` holds everything that the process counts."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(namespace="setpoint", registry=registry)
        self._events = Tally("setpoint_events", "Events folded.", ("type",), registry)
        self._notes = Tally(
            "setpoint_event_notes",
            "Events that changed nothing: duplicate (folded before) or unmatched (nothing waited for it).",
            ("note",),
            registry,
        )
        self._missed = Tally(
            "setpoint_rules_missed",
            "Rules that could not match an event because a field that they read is missing or of another type.",
            ("type",),
            registry,
        )
        self._late = Tally(
            "setpoint_late_values",
            "Values that came too late for the window of a row's field; how late is allowed stands in the row.",
            ("row",),
            registry,
        )
        self._unread = Tally(
            "setpoint_expression_misses",
            "Values that a row's field did not take: missing, of another type, or too large.",
            ("row",),
            registry,
        )
        self._decisions = Tally("setpoint_decisions", "Decisions proposed.", ("agent", "intent"), registry)
        self._verdicts = Tally(
            "setpoint_verdicts",
            "Verdicts, by the step of the order that ended them and the code of their first reason.",
            ("answer", "stage", "code"),
            registry,
        )
        self._problems = Tally(
            "setpoint_policy_problems",
            "Decisions denied because the policy engine could not rule.",
            ("intent",),
            registry,
        )
        self._commands = Tally("setpoint_commands", "Commands released.", ("intent", "executor"), registry)
        self._outcomes = Tally("setpoint_outcomes", "Outcomes that came back.", ("intent", "status"), registry)
        self._effects = Tally("setpoint_effects", "Effects judged.", ("intent", "effect"), registry)
        self._dead_letters = Tally("setpoint_dead_letters", "Records that could not be processed.", ("code",), registry)
        self._came_in = Tally(
            "setpoint_trigger_items",
            "What triggers brought in: event, dead_letter, or passed_by, which no definition asks for.",
            ("trigger", "became"),
            registry,
        )
        self._failures = Tally(
            "setpoint_agent_failures", "Agents that raised or answered nonsense.", ("agent", "code"), registry
        )

    def stepped(self, event: Event, done: Done) -> None:
        """Count one step of the loop."""
        self._events.add(event.type)
        if event.type.startswith(OUTCOME_PREFIX):
            self._outcomes.add(str(event.data.get("intent", "")), event.type.removeprefix(OUTCOME_PREFIX))
        if done.missed:
            self._missed.add(event.type, many=done.missed)
        for part, gaps in done.gaps:
            self._count_gaps(part, gaps)
        for note in done.notes:
            self._notes.add(note)
        for failure in done.failures:
            self._failures.add(failure.agent, failure.reason.code)
        for message in done.said:
            self._say(message)

    def dead_lettered(self, letter: DeadLetter) -> None:
        """Count one dead letter."""
        self._dead_letters.add(letter.code)

    def came_in(self, trigger: str, became: str, many: int) -> None:
        """Count what a trigger brought in."""
        self._came_in.add(trigger, became, many=many)

    def watch_partitions(self, owned: Callable[[], Mapping[int, str]]) -> None:
        """Show how many partitions this process owns."""
        gauge = Gauge("setpoint_partitions_owned", "Partitions that this process owns.", registry=self.registry)
        gauge.set_function(lambda: len(owned()))

    def watch_lag(
        self,
        lag: Callable[[], Mapping[tuple[str, str, int], int]],
        stopped: Callable[[], Mapping[tuple[str, str, int], str]],
    ) -> None:
        """Show how many records each group has yet to commit, and which wait for a person's word, by (group, topic,
        partition)."""
        self.registry.register(LagCollector(lag))
        gauge = Gauge(
            "setpoint_partitions_stopped",
            "Partitions that this process stopped, because their log is no longer the one that was applied.",
            registry=self.registry,
        )
        gauge.set_function(lambda: len(stopped()))

    def watch_topics(self, unusual: Callable[[], int]) -> None:
        """Show how many settings of the log's topics are not as they should be."""
        gauge = Gauge("setpoint_topic_settings_unusual", "Settings of topics that are unusual.", registry=self.registry)
        gauge.set_function(unusual)

    def watch_dispatch(self, counts: DispatchCounts) -> None:
        """Show what dispatch counts."""
        self.registry.register(DispatchCollector(counts))

    def watch_slow_agents(self, counts: SlowAgentCounts) -> None:
        """Show what slow agents count."""
        self.registry.register(SlowAgentsCollector(counts))

    def _count_gaps(self, part: str, gaps: Gaps) -> None:
        if gaps.late:
            self._late.add(part, many=gaps.late)
        if gaps.missed:
            self._unread.add(part, many=gaps.missed)

    def watch_opa(self, counters: OpaCounters) -> None:
        """Show what an OPA did for this process."""
        self.registry.register(OpaCollector(counters))

    def watch_bundles(self, bundles: Bundles, now_ms: Callable[[], int]) -> None:
        """Show which OPAs run which policies."""
        self.registry.register(BundlesCollector(bundles, now_ms))

    def _say(self, message: object) -> None:
        match message:
            case Decision():
                self._decisions.add(message.agent, message.intent)
            case Verdict():
                code = message.reasons[0].code if message.reasons else _NO_REASON
                self._verdicts.add(message.answer, message.stage, code)
                if message.problem is not None:
                    self._problems.add(message.intent)
            case Command():
                self._commands.add(message.intent, message.executor)
            case Effect():
                self._effects.add(message.intent, message.effect)
