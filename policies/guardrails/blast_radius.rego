# How much of a fleet may be down at once. Of a fleet of fewer than ten a share says little: its members are acted on one
# at a time. It speaks only where the intent declares fleet_share_max, and then it must know the share: a comparison with what is missing denies nothing, and `not is_number(x)` is ignored by OPA where x is
# missing, so each such question is a rule of its own.
package setpoint.guardrails.blast_radius

deny contains {"code": "too_wide", "msg": "more of the fleet than the intent allows"} if {
	input.facts.fleet_share > input.intent.limits.fleet_share_max
	not small
}

deny contains {"code": "fleet_busy", "msg": "another member of a small fleet is being acted on"} if {
	small
	input.facts.fleet_in_flight != 0
}

deny contains {"code": "fleet_in_flight_unknown", "msg": "how many members are being acted on is not known"} if {
	small
	not in_flight_known
}

deny contains {"code": "fleet_share_unknown", "msg": "the share of the fleet is not known"} if {
	limited
	not share_known
}

deny contains {"code": "limit_unknown", "msg": "fleet_share_max of the intent is not a number"} if {
	limited
	not limit_known
}

deny contains {"code": "limits_unknown", "msg": "the limits of the intent are not known"} if {
	not limits_known
}

limited if input.intent.limits.fleet_share_max != null

small if {
	input.facts.fleet_size < 10
	input.intent.limits.fleet_share_max > 0
}

in_flight_known if is_number(input.facts.fleet_in_flight)

share_known if is_number(input.facts.fleet_share)

limit_known if is_number(input.intent.limits.fleet_share_max)

limits_known if is_object(input.intent.limits)
