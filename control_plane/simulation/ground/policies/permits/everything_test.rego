package setpoint.permits.everything_test

import data.setpoint.permits.everything

asked(intent, actions) := {"decision": {"intent": intent}, "facts": {"actions_last_10m": actions}}

test_routine if count(everything.allow) == 1 with input as asked("tell_owner", 9)

test_few_actions if count(everything.allow) == 1 with input as asked("drain_service", 3)

test_many_actions if count(everything.allow) == 0 with input as asked("drain_service", 4)
