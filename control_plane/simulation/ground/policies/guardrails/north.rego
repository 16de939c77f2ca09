package setpoint.guardrails.north

escalate contains {"code": "far_off", "msg": "somebody should look at so slow a service"} if {
	input.event.data.latency_ms > 900
}
