"""The names of the topics, and what each holds. The loop folds `EVENTS` and nothing else."""

EVENTS = "events.v1"
CONTEXTS = "contexts.v1"
DECISIONS = "decisions.v1"
VERDICTS = "verdicts.v1"
COMMANDS = "commands.v1"
EFFECTS = "effects.v1"
DEAD_LETTERS = "dead_letters.v1"
TOOLS = "tools.v1"
"""What slow agents asked outside, and what they learnt."""

POLICIES = "policies.v1"
INTENTS = "intents.v1"
AGENTS = "agents.v1"
SCHEMAS = "schemas.v1"
REFERENCE = "reference.v1"

KEYED_BY_SUBJECT = (EVENTS, CONTEXTS, DECISIONS, VERDICTS, COMMANDS, EFFECTS, DEAD_LETTERS, TOOLS)
"""Partitioned alike: an output goes to the partition of the record that it follows from."""

CONTROL_SETS = "controls.v1"
"""Which items are in force together, by the revision of the set; the newest record is the set that is wanted."""

CONTROLS = (POLICIES, INTENTS, AGENTS, SCHEMAS, REFERENCE, CONTROL_SETS)
"""One partition each, compacted by `kind/name@revision`."""
