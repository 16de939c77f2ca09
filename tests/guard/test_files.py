"""Laws on files: what may stand in them, how long they may be, and what must stand beside them."""

import ast
import re

import pytest

from tests.guard.tree import ROOT, files, modules, texts

FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 70

# Put together from pieces, so that this file does not break its own law.
HOMES = "|".join(["ho" + "me", "ro" + "ot", "wo" + "rk", "Us" + "ers"])
MACHINE_PATH = re.compile(rf"(?<![\w.~$}}*-])/(?:{HOMES})/")
HOSTS = """
py_pi.org python_hosted.org npm_js.org npm_js.com crates_.io repo1._maven.org repo._maven.apache.org proxy._golang.org
deb._debian.org
"""
REGISTRY = re.compile("|".join(re.escape(host.replace("_", "")) for host in HOSTS.split()))
SETTINGS = [r"(?<!no-emit-)\bindex-" + "url", r"\bfind-" + "links", r'"resolved":\s*"http', r'\bregistry\s*=\s*"?http']
INDEX = re.compile("|".join(SETTINGS))


def breaches(text: str) -> list[str]:
    """What in a text ties the project to one machine or one package index."""
    return [found[0] for pattern in (MACHINE_PATH, REGISTRY, INDEX) for found in pattern.finditer(text)]


def test_no_tracked_file_names_a_machine_path_or_a_package_index() -> None:
    found = [f"{name}: {breach}" for name, text in texts() for breach in breaches(text)]

    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "text",
    [
        "see /ho" + "me/me/setpoint",
        "open('/wo" + "rk/main')",
        "--index-" + "url https://mirror.example/simple",
        "https://files.python" + "hosted.org/packages/a",
    ],
)
def test_a_breach_of_that_law_is_seen(text: str) -> None:
    assert breaches(text)


def test_files_and_functions_stay_short() -> None:
    long = []
    for name, module in modules():
        lines = len((ROOT / name).read_text().splitlines())
        if lines > FILE_LINES_MAX:
            long.append(f"{name}: {lines} lines, more than {FILE_LINES_MAX}")
        for node in ast.walk(module):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno is not None
                lines = node.end_lineno - node.lineno + 1
                if lines > FUNCTION_LINES_MAX:
                    long.append(f"{name}:{node.lineno} {node.name}: {lines} lines, more than {FUNCTION_LINES_MAX}")
    assert not long, "\n".join(long)


def test_every_module_says_what_it_is() -> None:
    silent = [name for name, module in modules() if not ast.get_docstring(module)]

    assert not silent, silent


def test_every_folder_of_modules_is_a_package() -> None:
    """import-linter sees only packages: a folder without `__init__.py` would be free of every rule.

    Not modules but files that somebody else loads are Alembic's versions and what a workspace starts from.
    """
    loaded_by_others = ("/migrations/versions/", "/workspace/examples/")
    folders = {(ROOT / name).parent for name, _ in modules() if not any(part in name for part in loaded_by_others)}

    assert not [str(folder.relative_to(ROOT)) for folder in folders if not (folder / "__init__.py").exists()]


def test_every_target_of_the_makefile_has_a_help_text() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z][\w-]*):(?!=)", makefile, re.MULTILINE))
    explained = set(re.findall(r"^([a-z][\w-]*):[^=\n]*## \S", makefile, re.MULTILINE))
    phony = set(re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)[0].split())

    assert targets, "no target was found: this law would judge nothing"
    assert targets == explained == phony


def test_every_permit_and_guardrail_has_its_tests() -> None:
    rego = {name for name in files() if name.endswith(".rego") and not name.startswith("tests/")}
    policies = {name for name in rego if not name.endswith("_test.rego")}

    assert policies, "no policy was found: this law would judge nothing"
    assert not [name for name in sorted(policies) if name.removesuffix(".rego") + "_test.rego" not in rego]


@pytest.mark.parametrize("lock", ["requirements/dev.txt", "requirements/run.txt"])
def test_every_locked_package_is_pinned_and_has_hashes(lock: str) -> None:
    entries = (ROOT / lock).read_text().replace("\\\n", " ").splitlines()
    packages = [entry for entry in entries if entry.strip() and not entry.startswith("#")]

    assert len(packages) > 50, "the lock looks cut"
    loose = [entry[:60] for entry in packages if not re.match(r"[\w.-]+==\S+ .*--hash=sha256:[0-9a-f]{64}", entry)]
    assert not loose


def test_the_lock_of_the_service_is_part_of_the_lock_of_development() -> None:
    run, dev = (
        set(re.findall(r"^[\w.-]+==\S+", (ROOT / "requirements" / name).read_text(), re.MULTILINE))
        for name in ("run.txt", "dev.txt")
    )
    assert run < dev
