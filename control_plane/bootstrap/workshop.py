"""What reads a workspace: its files checked, compiled, and turned into what the loop follows.

Must not import a log, a store or REST: `setpoint check` runs on this alone.
"""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import msgspec

from agents.llm import LlmAgent
from agents.rules import Rule
from control_plane.adapters.cel import CelExpressions
from control_plane.adapters.jsonschema import JsonSchemas
from control_plane.adapters.regorus import RegorusEngine, check_policies, permit_rules, run_tests
from control_plane.adapters.system import TimeLimited
from control_plane.catalogue import ControlItem
from control_plane.catalogue.definitions import RuleInForce
from control_plane.catalogue.llm import LlmInForce
from control_plane.executors import ExecutorTools, executor_kinds, wrong_in
from control_plane.messages import Question, Ruling
from control_plane.ports.agent import Agent
from control_plane.settings import Settings
from control_plane.triggers import examine_trigger, trigger_kinds
from control_plane.workspace.compiling import Tools, compile_controls
from control_plane.workspace.examined import Examined, Problem
from control_plane.workspace.python_agents import load_agent
from control_plane.workspace.reading import Workspace, read_workspace
from control_plane.workspace.tools import CheckTools, Data, Modules, PolicyTests


def compile_tools(*, limited: bool = True) -> Tools:
    """What turns a user's files into what the loop follows. A replay runs agents without a limit: its machine may be
    slower, and what overran when it was recorded is taken from the record."""
    expressions, schemas = CelExpressions(), JsonSchemas()

    def rule(item: ControlItem) -> Agent:
        return Rule(msgspec.json.decode(item.body, type=RuleInForce), expressions)

    def llm(item: ControlItem) -> Agent:
        # A slow agent is declared alike; `AgentInForce.slow` tells them apart.
        found: Any = LlmAgent(msgspec.json.decode(item.body, type=LlmInForce), expressions, schemas)
        return cast(Agent, found)

    def python(item: ControlItem) -> Agent:
        agent = load_agent(item)
        # A slow agent has its time limit in the group that runs it.
        return TimeLimited(agent) if limited and not asyncio.iscoroutinefunction(agent.decide) else agent

    return Tools(expressions=expressions, schemas=schemas, agents={"rule": rule, "llm": llm, "agent": python})


def check_tools() -> CheckTools:
    """The judges of what only adapters, executors and triggers know."""
    return CheckTools(
        compiling=compile_tools(),
        executors=executor_kinds(),
        triggers=trigger_kinds(),
        check_policies=lambda modules: check_policies(sorted(modules.items())),
        test_policies=_test_policies,
        examine_executor=_examine_executor,
        examine_trigger=examine_trigger,
        permit_rules=lambda modules: permit_rules(sorted(modules.items())),
    )


def _examine_executor(definition: Mapping[str, Any]) -> Examined:
    wrong = wrong_in(definition, ExecutorTools(root=Path(), expressions=CelExpressions()))
    return Examined(
        problems=tuple(
            Problem(path=one.path, problem=one.problem, cure=one.cure, of_environment=one.of_environment)
            for one in wrong
        )
    )


def _test_policies(modules: Modules, tests: Modules, data: Data) -> PolicyTests:
    report = run_tests(sorted(modules.items()), sorted(tests.items()), sorted(data.items()))
    uncovered = set(report.uncovered)
    return PolicyTests(failed=tuple(f for f in report.flaws if f not in uncovered), uncovered=report.uncovered)


def load_workspace(root: Path, *, builtin_policies: bool | None = None) -> Workspace:
    """Read and check a workspace. Raises InvalidWorkspace with all that is wrong."""
    return read_workspace(root, check_tools(), builtin_policies=builtin_policies)


def load_settings(
    root: Path, environ: dict[str, str], overrides: dict[str, Any] | None = None, workspace: Workspace | None = None
) -> Settings:
    """The settings of a workspace, of the environment and of the command line."""
    return Settings.load(root, workspace.settings if workspace else {}, environ, overrides or {})


async def rule_on(root: Path, asked: dict[str, Any]) -> Ruling:
    """The ruling of a workspace's policies on what policy may be asked. Raises InvalidWorkspace."""
    controls = compile_controls(load_workspace(root).controls, compile_tools())
    return await RegorusEngine().rule(Question(id="saved", input=asked), controls.policies)
