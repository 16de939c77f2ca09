package setpoint.permits.web_restarts_test

import data.setpoint.permits.web_restarts

restart(name) := {"decision": {"intent": "restart_service", "subject": {"kind": "service", "name": name}}}

test_a_web_service_may_be_restarted if {
	count(web_restarts.allow) == 1 with input as restart("web-1") with data.services.restartable as ["web-1"]
}

test_another_service_may_not if {
	count(web_restarts.allow) == 0 with input as restart("db-1") with data.services.restartable as ["web-1"]
}
