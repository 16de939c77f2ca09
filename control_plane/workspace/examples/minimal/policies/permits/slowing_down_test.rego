package setpoint.permits.slowing_down_test

import data.setpoint.permits.slowing_down

test_slowing_down_is_allowed if {
	count(slowing_down.allow) == 1 with input as {"decision": {"intent": "slow_down"}}
}

test_nothing_else_is if {
	count(slowing_down.allow) == 0 with input as {"decision": {"intent": "speed_up"}}
}
