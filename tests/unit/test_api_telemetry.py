"""What the loop does can be read from its metrics, and counting costs next to nothing."""

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from control_plane.adapters.memory import MemoryBackbone, MemoryLog
from control_plane.adapters.telemetry import Telemetry
from control_plane.adapters.telemetry.tally import LABEL_SETS_MAX, Tally
from control_plane.catalogue import ControlItem
from control_plane.executors.dispatch import DispatchCounters
from control_plane.messages import Question, Ruling
from control_plane.partition import Partitions
from tests.builders import (
    NOW_MS,
    ControlsAt,
    ScriptedEngine,
    adopted,
    agent,
    control_set,
    event,
    intent,
    output,
    row,
    rule,
)


def samples(registry: CollectorRegistry) -> dict[str, float]:
    """Each sample by its name and labels, as a Prometheus would store it."""
    found = {}
    for family in text_string_to_metric_families(generate_latest(registry).decode()):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}"] = sample.value
    return found


async def after(
    telemetry: Telemetry, *values: object, engine: ScriptedEngine | None = None, health: ControlItem | None = None
) -> dict[str, float]:
    """The metrics after events went through a real loop on a log in memory."""
    wanted = control_set(intent(), health or row(), rule(), agent("breaks", "raise RuntimeError('no')"))
    log = MemoryLog(lambda: NOW_MS)
    backbone = MemoryBackbone(log)
    partitions = Partitions(engine=engine or ScriptedEngine(), controls=ControlsAt(wanted), observer=telemetry)
    telemetry.watch_partitions(partitions.owned)
    backbone.own_events(partitions)
    await backbone.start()
    await backbone.append([output(adopted(wanted.revision), 0), *values])  # type: ignore[list-item]
    await backbone.settle()
    counted = samples(telemetry.registry)
    await backbone.stop()
    return counted


async def test_values_that_come_too_late_for_their_window_are_counted_by_row() -> None:
    windowed = row(fields={"recent": {"max": {"of": "data.rss", "window": "1m"}}})
    late = event(data={"rss": 2.0}, message_id="late", at_ms=NOW_MS - 120_000)

    counted = await after(Telemetry(), output(event(data={"rss": 1.0})), output(late), health=windowed)

    assert counted["setpoint_late_values_total{row=health}"] == 1


async def test_everything_that_the_loop_says_is_counted_by_what_it_is() -> None:
    counted = await after(
        Telemetry(),
        output(event(data={"rss": 500.0})),
        output(event(data={"rss": 500.0})),
        output(event(data={"rss": 1.0}, message_id="e2")),
        output(event("nobody.knows", message_id="e3")),
        output(event(data={"swap": 1.0}, message_id="e4")),
    )

    assert counted["setpoint_events_total{type=service.measured}"] == 4
    assert counted["setpoint_rules_missed_total{type=service.measured}"] == 1
    assert counted["setpoint_expression_misses_total{row=health}"] == 1
    assert counted["setpoint_event_notes_total{note=duplicate}"] == 1
    assert counted["setpoint_decisions_total{agent=memory_guard,intent=restart_service}"] == 1
    assert counted["setpoint_verdicts_total{answer=allow,code=fine,stage=policy}"] == 1
    assert counted["setpoint_commands_total{executor=dry_run,intent=restart_service}"] == 1
    assert counted["setpoint_dead_letters_total{code=type_unknown}"] == 1
    assert counted["setpoint_agent_failures_total{agent=breaks,code=agent_failed}"] == 3
    assert counted["setpoint_partitions_owned{}"] == 1


async def test_a_policy_engine_that_cannot_rule_is_seen() -> None:
    def broken(question: Question) -> Ruling:
        return Ruling.none("it took too long")

    counted = await after(Telemetry(), output(event(data={"rss": 500.0})), engine=ScriptedEngine(broken))

    assert counted["setpoint_policy_problems_total{intent=restart_service}"] == 1
    assert counted["setpoint_verdicts_total{answer=deny,code=no_ruling,stage=policy}"] == 1
    assert not [name for name in counted if name.startswith("setpoint_commands_total")]


def test_what_dispatch_counts_is_shown_as_it_is_when_somebody_looks() -> None:
    telemetry, counters = Telemetry(), DispatchCounters()
    telemetry.watch_dispatch(counters)

    counters.taken, counters.held = 7, 2
    counters.outcomes["succeeded"] = 5

    counted = samples(telemetry.registry)
    assert counted["setpoint_dispatch_taken_total{}"] == 7
    assert counted["setpoint_dispatch_held{}"] == 2
    assert counted["setpoint_dispatch_outcomes_total{status=succeeded}"] == 5
    shown = {name.removeprefix("setpoint_dispatch_").partition("{")[0].removesuffix("_total") for name in counted}
    assert set(DispatchCounters.__dataclass_fields__) <= shown, "every number of dispatch is shown"


def test_lag_is_shown_by_group_topic_and_partition() -> None:
    telemetry = Telemetry()
    telemetry.watch_lag(lambda: {("recorder", "events.v1", 3): 12}, dict)

    assert samples(telemetry.registry)["setpoint_lag_records{group=recorder,partition=3,topic=events.v1}"] == 12


def test_a_counter_never_becomes_more_series_than_its_limit() -> None:
    registry = CollectorRegistry()
    tally = Tally("setpoint_test", "A test.", ("kind",), registry)

    for n in range(LABEL_SETS_MAX + 50):
        tally.add(f"kind-{n}")
    tally.add("kind-0")

    counted = samples(registry)
    assert counted["setpoint_test_total{kind=other}"] == 50
    assert counted["setpoint_test_total{kind=kind-0}"] == 2
    assert len(counted) == LABEL_SETS_MAX + 1


def test_every_metric_of_ours_begins_with_our_name_and_says_what_it_is() -> None:
    telemetry = Telemetry()
    telemetry.watch_dispatch(DispatchCounters())

    for family in telemetry.registry.collect():
        assert family.name.startswith("setpoint_"), family.name
        assert family.documentation.endswith("."), family.name
