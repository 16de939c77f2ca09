package setpoint.permits.support_desk_test

import data.setpoint.permits.support_desk

want(agent, intent, parameters) := {"decision": {"agent": agent, "intent": intent, "parameters": parameters}}

test_sorting_is_routine if {
	some reason in support_desk.allow with input as want("triage", "route_ticket", {"team": "billing"})
	reason.code == "handling"
}

test_little_money_goes_back_where_a_person_wants_it if {
	some reason in support_desk.allow with input as want("person/ada", "refund_customer", {"amount_eur": 20})
	reason.code == "refund"
}

test_much_does_not if {
	count(support_desk.allow) == 0 with input as want("person/ada", "refund_customer", {"amount_eur": 200})
}

test_no_agent_gives_money_back if {
	count(support_desk.allow) == 0 with input as want("triage", "refund_customer", {"amount_eur": 20})
}
