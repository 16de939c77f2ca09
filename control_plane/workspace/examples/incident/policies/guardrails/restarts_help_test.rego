package setpoint.guardrails.restarts_help_test

import data.setpoint.guardrails.restarts_help

after(effect) := {
	"decision": {"intent": "restart_service"},
	"facts": {"recent_actions": [{"intent": "restart_service", "effect": effect}]},
}

test_after_a_restart_that_helped_there_is_no_objection if {
	count(restarts_help.escalate) == 0 with input as after("effective")
	count(restarts_help.deny) == 0 with input as after("effective")
}

test_after_one_that_did_not_help_people_decide if {
	count(restarts_help.escalate) == 1 with input as after("ineffective")
	count(restarts_help.escalate) == 1 with input as after("harmful")
}

test_without_the_facts_it_denies if {
	count(restarts_help.deny) == 1 with input as {"decision": {"intent": "restart_service"}, "facts": {}}
}
