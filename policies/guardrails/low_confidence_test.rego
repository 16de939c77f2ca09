package setpoint.guardrails.low_confidence_test

import data.setpoint.guardrails.low_confidence

sure(confidence) := {"decision": {"confidence": confidence}}

test_a_sure_agent_may_go_on if {
	count(low_confidence.escalate) + count(low_confidence.deny) == 0 with input as sure(0.6)
	count(low_confidence.escalate) + count(low_confidence.deny) == 0 with input as sure(1)
}

test_an_unsure_agent_asks_people if {
	{reason.code | some reason in low_confidence.escalate} == {"low_confidence"} with input as sure(0.59)
	count(low_confidence.deny) == 0 with input as sure(0.59)
}

test_the_threshold_is_policy_data if {
	count(low_confidence.escalate) == 1 with input as sure(0.85) with data.low_confidence.escalate_below as 0.9
	count(low_confidence.escalate) == 0 with input as sure(0.1) with data.low_confidence.escalate_below as 0
}

test_without_a_confidence_it_denies if {
	every document in [{}, {"decision": {}}, sure(null), sure("0.9"), sure(true), sure([])] {
		"confidence_unknown" in {reason.code | some reason in low_confidence.deny} with input as document
	}
}

test_a_threshold_that_is_no_number_denies if {
	every threshold in ["0.5", null, [], {}] {
		codes := {reason.code | some reason in low_confidence.deny} with input as sure(1)
			with data.low_confidence.escalate_below as threshold
		"threshold_unknown" in codes
	}
}
