"""Rules: agents without code, written in YAML with CEL, with firing states like alerts."""

from agents.rules.rule import Rule

__all__ = ["Rule"]
