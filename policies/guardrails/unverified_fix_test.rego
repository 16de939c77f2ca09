package setpoint.guardrails.unverified_fix_test

import data.setpoint.guardrails.unverified_fix

# The actions of late, the oldest first, one minute apart.
after(effects) := {
	"decision": {"intent": "restart_service"},
	"facts": {"recent_actions": [action |
		some n, effect in effects
		action := {"intent": "restart_service", "effect": effect, "age_ms": (count(effects) - n) * 60000}
	]},
}

codes(document) := found if found := {reason.code | some reason in unverified_fix.deny} with input as document

test_the_first_try_is_fine if codes(after([])) == set()

test_after_one_failure_it_may_be_tried_again if {
	every effect in ["ineffective", "harmful"] {
		codes(after([effect])) == set()
	}
}

test_after_two_failures_it_may_not if {
	codes(after(["ineffective", "ineffective"])) == {"did_not_help"}
	codes(after(["effective", "harmful", "ineffective"])) == {"did_not_help"}
	codes(after(["ineffective", "unknown", "", "ineffective"])) == {"did_not_help"}
}

test_a_try_that_helped_counts_more_than_what_was_before if {
	codes(after(["ineffective", "harmful", "effective"])) == set()
	codes(after(["ineffective", "effective", "ineffective"])) == set()
}

test_what_is_not_judged_is_no_failure if codes(after(["unknown", "unknown", "", ""])) == set()

test_another_intent_is_not_held_back if {
	document := object.union(after(["harmful", "harmful"]), {"decision": {"intent": "stop_service"}})
	codes(document) == set()
}

test_the_limit_is_policy_data if {
	count(unverified_fix.deny) == 1 with input as after(["harmful"]) with data.unverified_fix.failures_max as 1
	count(unverified_fix.deny) == 0 with input as after(["harmful", "harmful"])
		with data.unverified_fix.failures_max as 3
}

test_unknown_actions_are_denied if {
	every document in [{}, {"facts": {}}, {"facts": {"recent_actions": null}}, {"facts": {"recent_actions": {}}}] {
		"recent_actions_unknown" in codes(document)
	}
}

test_an_action_that_is_not_clear_is_denied if {
	every action in [
		"restart_service", null, {}, {"intent": "restart_service", "effect": "harmful"},
		{"intent": "restart_service", "effect": null, "age_ms": 1},
		{"intent": 1, "effect": "harmful", "age_ms": 1},
	] {
		"recent_action_unclear" in codes({"facts": {"recent_actions": [action]}})
	}
}

test_a_limit_that_is_no_number_denies if {
	every limit in ["2", null, []] {
		codes := {reason.code | some reason in unverified_fix.deny} with input as after([])
			with data.unverified_fix.failures_max as limit
		"limit_unknown" in codes
	}
}
