# An agent that is not sure asks people. The threshold is data.low_confidence.escalate_below, 0.6 unless it is set.
package setpoint.guardrails.low_confidence

escalate contains {"code": "low_confidence", "msg": sprintf("the agent is less sure than %v", [escalate_below])} if {
	input.decision.confidence < escalate_below
}

deny contains {"code": "confidence_unknown", "msg": "how sure the agent is, is not known"} if {
	not confidence_known
}

deny contains {"code": "threshold_unknown", "msg": "data.low_confidence.escalate_below is not a number"} if {
	not threshold_known
}

confidence_known if is_number(input.decision.confidence)

threshold_known if is_number(escalate_below)

default escalate_below := 0.6

escalate_below := data.low_confidence.escalate_below
