package setpoint.permits.routine_restarts_test

import data.setpoint.permits.routine_restarts

restart := {
	"decision": {"intent": "restart_service", "subject": {"kind": "service"}, "confidence": 0.5},
	"intent": {"name": "restart_service", "limits": {"cooldown_ms": 30000}},
}

allowed(given) := number if number := count(routine_restarts.allow) with input as given

test_a_restart_with_a_cooldown_is_allowed if allowed(restart) == 1

test_a_restart_with_a_frequency_is_allowed if {
	allowed(object.union(restart, {"intent": {"limits": {"cooldown_ms": 0, "per_subject": {"max": 3}}}})) == 1
}

test_a_restart_without_bounds_is_not if {
	every limits in [{}, {"cooldown_ms": 0}, {"per_subject": {}}, {"fleet_share_max": 0.4}] {
		allowed({"decision": restart.decision, "intent": {"name": "restart_service", "limits": limits}}) == 0
	}
}

test_an_unsure_restart_is_not if {
	every confidence in [0.49, 0, -1, "0.9", null, true, [1]] {
		allowed(object.union(restart, {"decision": {"confidence": confidence}})) == 0
	}
}

test_another_intent_or_another_kind_is_not if {
	allowed(object.union(restart, {"decision": {"intent": "stop_service"}})) == 0
	allowed(object.union(restart, {"intent": {"name": "stop_service"}})) == 0
	allowed(object.union(restart, {"decision": {"subject": {"kind": "database"}}})) == 0
}

test_nothing_is_not if allowed({}) == 0
