package setpoint.permits.everything

allow contains {"code": "routine", "msg": "all of it is routine"} if input.decision.intent != "drain_service"

allow contains {"code": "few_actions", "msg": "little was done lately"} if {
	input.decision.intent == "drain_service"
	input.facts.actions_last_10m < 4
}
