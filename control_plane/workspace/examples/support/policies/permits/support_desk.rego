# What may be done with a letter without asking anybody.
package setpoint.permits.support_desk

allow contains {"code": "handling", "msg": "sorting letters is routine"} if {
	input.decision.intent in {"route_ticket", "close_ticket"}
}

allow contains {"code": "refund", "msg": "a person wants it, and it is little"} if {
	input.decision.intent == "refund_customer"
	startswith(input.decision.agent, "person/")
	input.decision.parameters.amount_eur <= 50
}
