# Many actions on one subject in ten minutes mean that something else is wrong: then people look. The limit is
# data.action_storm.actions_max, 10 unless it is set.
package setpoint.guardrails.action_storm

escalate contains {"code": "action_storm", "msg": sprintf("more than %v actions in ten minutes", [actions_max])} if {
	input.facts.actions_last_10m > actions_max
}

deny contains {"code": "actions_unknown", "msg": "the number of actions in the last ten minutes is not known"} if {
	not actions_known
}

deny contains {"code": "limit_unknown", "msg": "data.action_storm.actions_max is not a number"} if {
	not limit_known
}

actions_known if is_number(input.facts.actions_last_10m)

limit_known if is_number(actions_max)

default actions_max := 10

actions_max := data.action_storm.actions_max
