# Who may do what. Without a permit nothing is allowed.
package setpoint.permits.slowing_down

allow contains {"code": "safe", "msg": "a slower machine harms nobody"} if {
	input.decision.intent == "slow_down"
}
