# Without a permit nothing is allowed.
package setpoint.permits.web_restarts

allow contains {"code": "routine_restart", "msg": "restarting a web service is routine"} if {
	input.decision.intent == "restart_service"
	input.decision.subject.kind == "service"
	input.decision.subject.name in data.services.restartable
}
