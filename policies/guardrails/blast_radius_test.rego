package setpoint.guardrails.blast_radius_test

import data.setpoint.guardrails.blast_radius

given(limits, facts) := {"intent": {"limits": limits}, "facts": facts}

codes(document) := found if found := {reason.code | some reason in blast_radius.deny} with input as document

test_within_the_share_is_fine if {
	codes(given({"fleet_share_max": 0.4}, {"fleet_share": 0.1})) == set()
	codes(given({"fleet_share_max": 0.4}, {"fleet_share": 0.4})) == set()
}

test_beyond_the_share_is_denied if codes(given({"fleet_share_max": 0.4}, {"fleet_share": 0.41})) == {"too_wide"}

test_an_intent_without_the_limit_is_not_judged if {
	codes(given({}, {})) == set()
	codes(given({"cooldown_ms": 1}, {"fleet_share": 1})) == set()
	codes(given({"fleet_share_max": null}, {})) == set()
}

test_an_unknown_share_is_denied if {
	every facts in [{}, {"fleet_share": null}, {"fleet_share": []}] {
		"fleet_share_unknown" in codes(given({"fleet_share_max": 0.4}, facts))
	}
	"fleet_share_unknown" in codes({"intent": {"limits": {"fleet_share_max": 0.4}}})
	"fleet_share_unknown" in codes(given({"fleet_share_max": 0.4}, {"fleet_share": "0.1"}))
}

test_a_limit_that_is_no_number_is_denied if {
	every limit in ["0.4", true, false, [], {}] {
		"limit_unknown" in codes(given({"fleet_share_max": limit}, {"fleet_share": 0.1}))
	}
}

test_unknown_limits_are_denied if {
	every doc in [{}, {"intent": {}}, {"intent": {"limits": null}}, {"intent": "x"}] {
		"limits_unknown" in codes(doc)
	}
}

test_members_of_a_small_fleet_are_acted_on_one_at_a_time if {
	half := {"fleet_share": 0.5, "fleet_size": 2, "fleet_in_flight": 0}
	codes(given({"fleet_share_max": 0.4}, half)) == set()
	codes(given({"fleet_share_max": 0.4}, object.union(half, {"fleet_in_flight": 1}))) == {"fleet_busy"}
	codes(given({"fleet_share_max": 0.4}, object.union(half, {"fleet_size": 10}))) == {"too_wide"}
	codes(given({"fleet_share_max": 0}, half)) == {"too_wide"}
}

test_a_small_fleet_of_which_it_is_not_known_who_is_acted_on_is_denied if {
	every in_flight in [null, "0", []] {
		facts := {"fleet_share": 0.5, "fleet_size": 2, "fleet_in_flight": in_flight}
		"fleet_in_flight_unknown" in codes(given({"fleet_share_max": 0.4}, facts))
	}
	codes(given({"fleet_share_max": 0.4}, {"fleet_share": 0.5, "fleet_size": 2})) == {"fleet_in_flight_unknown"}
}
