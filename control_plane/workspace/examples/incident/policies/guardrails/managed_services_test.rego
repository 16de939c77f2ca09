package setpoint.guardrails.managed_services_test

import data.setpoint.guardrails.managed_services

act_on(name) := {"decision": {"subject": {"name": name}}}

test_a_managed_service_is_fine if {
	count(managed_services.deny) == 0 with input as act_on("web-1") with data.services.managed as ["web-1"]
}

test_another_one_is_not if {
	some reason in managed_services.deny with input as act_on("db-1") with data.services.managed as ["web-1"]
	reason.code == "not_managed"
}

test_without_a_subject_it_denies if {
	some reason in managed_services.deny with input as {"decision": {}} with data.services.managed as ["web-1"]
	reason.code == "subject_unknown"
}

test_without_the_list_it_denies if {
	some reason in managed_services.deny with input as act_on("web-1") with data.services as {}
	reason.code == "managed_unknown"
}
