"""Agents that take their time: contexts in, proposals out, in consumer groups of their own; and what they learn on the
way, through a journal. They never hold up the loop, nor one another."""

from control_plane.slow_agents.answering import SlowAgents
from control_plane.slow_agents.counts import SlowCounts
from control_plane.slow_agents.grouping import SHARED_GROUP, Grouping
from control_plane.slow_agents.journal import Tools
from control_plane.slow_agents.tools_log import ToolsLog

__all__ = ["SHARED_GROUP", "Grouping", "SlowAgents", "SlowCounts", "Tools", "ToolsLog"]
