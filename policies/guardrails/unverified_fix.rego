# What did not help is not tried again and again: denied when the last tries of this intent on this subject, without one
# that helped since, were ineffective or harmful. How many is data.unverified_fix.failures_max, 2 unless it is set.
package setpoint.guardrails.unverified_fix

deny contains {"code": "did_not_help", "msg": sprintf("it did not help %v times in a row", [number])} if {
	number := count(failures)
	number >= failures_max
}

deny contains {"code": "recent_actions_unknown", "msg": "what was done lately is not known"} if {
	not actions_known
}

deny contains {"code": "recent_action_unclear", "msg": "an action of late does not say what, when and whether it helped"} if {
	some action in actions
	not clear(action)
}

deny contains {"code": "limit_unknown", "msg": "data.unverified_fix.failures_max is not a number"} if {
	not limit_known
}

actions_known if is_array(input.facts.recent_actions)

limit_known if is_number(failures_max)

default actions := []

actions := input.facts.recent_actions if actions_known

default failures_max := 2

failures_max := data.unverified_fix.failures_max

failures := [action |
	some action in actions
	action.intent == input.decision.intent
	action.effect in {"ineffective", "harmful"}
	not helped_since(action)
]

helped_since(action) if {
	some later in actions
	later.intent == action.intent
	later.effect == "effective"
	later.age_ms < action.age_ms
}

clear(action) if {
	is_string(action.intent)
	is_string(action.effect)
	is_number(action.age_ms)
}
