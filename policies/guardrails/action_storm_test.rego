package setpoint.guardrails.action_storm_test

import data.setpoint.guardrails.action_storm

after(actions) := {"facts": {"actions_last_10m": actions}}

test_a_few_actions_are_fine if {
	every actions in [0, 1, 10] {
		count(action_storm.escalate) + count(action_storm.deny) == 0 with input as after(actions)
	}
}

test_too_many_are_for_people if {
	{reason.code | some reason in action_storm.escalate} == {"action_storm"} with input as after(11)
	count(action_storm.deny) == 0 with input as after(11)
}

test_the_limit_is_policy_data if {
	count(action_storm.escalate) == 1 with input as after(3) with data.action_storm.actions_max as 2
	count(action_storm.escalate) == 0 with input as after(30) with data.action_storm.actions_max as 50
}

test_an_unknown_number_is_denied if {
	every document in [{}, {"facts": {}}, after(null), after("3"), after([])] {
		"actions_unknown" in {reason.code | some reason in action_storm.deny} with input as document
	}
}

test_a_limit_that_is_no_number_denies if {
	every limit in ["10", null, []] {
		codes := {reason.code | some reason in action_storm.deny} with input as after(1)
			with data.action_storm.actions_max as limit
		"limit_unknown" in codes
	}
}
