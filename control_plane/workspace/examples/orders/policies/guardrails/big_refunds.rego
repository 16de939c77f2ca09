# Much money does not leave by itself: somebody has to say yes.
package setpoint.guardrails.big_refunds

escalate contains {"code": "big_refund", "msg": sprintf("%v EUR are more than %v", [amount, data.refunds.alone_eur_max])} if {
	is_refund
	amount > data.refunds.alone_eur_max
}

# What is missing denies nothing by itself, so its absence must.
deny contains {"code": "amount_unknown", "msg": "how much is to be given back is not known"} if {
	is_refund
	not amount_is_known
}

deny contains {"code": "limit_unknown", "msg": "data.refunds.alone_eur_max is not a number"} if {
	is_refund
	not limit_is_known
}

is_refund if input.decision.intent == "refund_order"

amount := input.event.data.amount_eur

amount_is_known if is_number(input.event.data.amount_eur)

limit_is_known if is_number(data.refunds.alone_eur_max)
