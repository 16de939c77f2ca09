# A restart that did not help will not help a second time: somebody should look.
package setpoint.guardrails.restarts_help

escalate contains {"code": "did_not_help", "msg": "the same action did not help in the last ten minutes"} if {
	some action in input.facts.recent_actions
	action.intent == input.decision.intent
	action.effect in {"ineffective", "harmful"}
}

# A comparison with what is missing denies nothing, so its absence must.
deny contains {"code": "recent_actions_unknown", "msg": "what was done lately is not known"} if {
	not is_array(input.facts.recent_actions)
}
