package setpoint.guardrails.big_refunds_test

import data.setpoint.guardrails.big_refunds

refund(event) := {"decision": {"intent": "refund_order"}, "event": {"data": event}}

test_a_small_one_is_fine if {
	count(big_refunds.escalate) == 0 with input as refund({"amount_eur": 80}) with data.refunds.alone_eur_max as 200
	count(big_refunds.deny) == 0 with input as refund({"amount_eur": 80}) with data.refunds.alone_eur_max as 200
}

test_a_big_one_waits_for_people if {
	some reason in big_refunds.escalate with input as refund({"amount_eur": 900}) with data.refunds.alone_eur_max as 200
	reason.code == "big_refund"
}

test_an_unknown_amount_is_denied if {
	some reason in big_refunds.deny with input as refund({}) with data.refunds.alone_eur_max as 200
	reason.code == "amount_unknown"
}

test_an_unknown_limit_is_denied if {
	some reason in big_refunds.deny with input as refund({"amount_eur": 80}) with data.refunds as {}
	reason.code == "limit_unknown"
}

test_other_intents_are_none_of_its_business if {
	count(big_refunds.deny) == 0 with input as {"decision": {"intent": "hold_order"}} with data.refunds as {}
}
