# The built-in permit `routine_restarts` allows restarting any service. A guardrail takes away from that: here, whatever
# is not listed in data.services.managed.
package setpoint.guardrails.managed_services

deny contains {"code": "not_managed", "msg": sprintf("%v is not one of the managed services", [name])} if {
	name := input.decision.subject.name
	not is_managed
}

is_managed if input.decision.subject.name in data.services.managed

# What is missing denies nothing by itself, so its absence must. `not` stands before a rule and not before a call: OPA
# ignores `not is_string(x)` where x is missing.
deny contains {"code": "subject_unknown", "msg": "the name of the subject is not known"} if {
	not subject_is_known
}

deny contains {"code": "managed_unknown", "msg": "data.services.managed is not a list"} if {
	not list_is_known
}

subject_is_known if is_string(input.decision.subject.name)

list_is_known if is_array(data.services.managed)
