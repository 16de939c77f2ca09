"""The permits and guardrails that every workspace starts from, with their tests, as package data. There is no code."""
