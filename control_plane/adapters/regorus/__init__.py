"""Policy in this process: Rego by regorus, strict about errors, with the checks that its parser does not make."""

from control_plane.adapters.regorus.checks import check_policies
from control_plane.adapters.regorus.engine import RegorusEngine
from control_plane.adapters.regorus.permits import permit_rules
from control_plane.adapters.regorus.testing import TestReport, run_tests

__all__ = ["RegorusEngine", "TestReport", "check_policies", "permit_rules", "run_tests"]
