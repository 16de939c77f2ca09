package setpoint.permits.order_desk_test

import data.setpoint.permits.order_desk

want(intent) := {"decision": {"intent": intent}}

test_holding_is_routine if {
	some reason in order_desk.allow with input as want("hold_order")
	reason.code == "fulfilment"
}

test_refunds_are_permitted if {
	some reason in order_desk.allow with input as want("refund_order")
	reason.code == "refund"
}

test_nothing_else_is if count(order_desk.allow) == 0 with input as want("close_shop")
