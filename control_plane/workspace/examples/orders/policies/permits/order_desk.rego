# What may be done to an order without asking anybody.
package setpoint.permits.order_desk

allow contains {"code": "fulfilment", "msg": "holding and hurrying an order is routine"} if {
	input.decision.intent in {"hold_order", "expedite_order"}
}

allow contains {"code": "refund", "msg": "what was paid for a cancelled order is given back"} if {
	input.decision.intent == "refund_order"
}
