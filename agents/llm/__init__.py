"""Agents that ask a language model. What it says is parsed into a decision or refused, and names nothing but an intent
that its agent was granted."""

from agents.llm.agent import LlmAgent
from agents.llm.schema import SchemaUnfit, answer_schema
from agents.llm.template import PromptTemplate

__all__ = ["LlmAgent", "PromptTemplate", "SchemaUnfit", "answer_schema"]
