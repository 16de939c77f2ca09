package setpoint.guardrails.north_test

import data.setpoint.guardrails.north

test_far_off if count(north.escalate) == 1 with input as {"event": {"data": {"latency_ms": 901}}}

test_near if count(north.escalate) == 0 with input as {"event": {"data": {"latency_ms": 900}}}
