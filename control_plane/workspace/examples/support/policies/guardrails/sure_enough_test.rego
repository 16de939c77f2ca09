package setpoint.guardrails.sure_enough_test

import data.setpoint.guardrails.sure_enough

closing(confidence) := {"decision": {"intent": "close_ticket", "confidence": confidence}}

test_who_is_sure_may if count(sure_enough.deny) == 0 with input as closing(0.95)

test_a_guess_is_denied if {
	some reason in sure_enough.deny with input as closing(0.6)
	reason.code == "not_sure"
}

test_an_unknown_confidence_is_denied if {
	some reason in sure_enough.deny with input as {"decision": {"intent": "close_ticket"}}
	reason.code == "confidence_unknown"
}

test_routing_is_none_of_its_business if {
	count(sure_enough.deny) == 0 with input as {"decision": {"intent": "route_ticket", "confidence": 0.1}}
}
