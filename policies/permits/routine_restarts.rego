# A restart of a service is routine where the catalogue bounds how often it may happen and the agent is rather sure.
# Whoever wants less leaves the built-in policies out, or puts a module of the same name in its place.
package setpoint.permits.routine_restarts

allow contains {"code": "routine_restart", "msg": "restarting a service is routine within the limits of the intent"} if {
	input.decision.intent == "restart_service"
	input.intent.name == "restart_service"
	input.decision.subject.kind == "service"
	is_number(input.decision.confidence)
	input.decision.confidence >= 0.5
	bounded
}

bounded if input.intent.limits.cooldown_ms > 0

bounded if input.intent.limits.per_subject.max > 0
