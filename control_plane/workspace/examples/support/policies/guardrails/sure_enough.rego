# A letter is not put away on a guess.
package setpoint.guardrails.sure_enough

deny contains {"code": "not_sure", "msg": "closing a letter takes a confidence of 0.9"} if {
	is_closing
	input.decision.confidence < 0.9
}

# What is missing denies nothing by itself, so its absence must.
deny contains {"code": "confidence_unknown", "msg": "how sure the agent is, is not known"} if {
	is_closing
	not confidence_is_known
}

is_closing if input.decision.intent == "close_ticket"

confidence_is_known if is_number(input.decision.confidence)
