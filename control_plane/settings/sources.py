"""What each source says about the settings: the file's mapping, the environment, the command line."""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any, Final

from control_plane.settings.declared import SETTINGS
from control_plane.settings.kafka import PASSWORD_VARIABLE

API_VERSION: Final = "setpoint/v1"
FILE: Final = "setpoint.yaml"

API_KEY_VARIABLE: Final = "SETPOINT_API_KEY"
BUNDLE_KEY_VARIABLE: Final = "SETPOINT_BUNDLE_KEY"
URL_VARIABLE: Final = "SETPOINT_URL"
_VARIABLES_BESIDE: Final = frozenset({API_KEY_VARIABLE, BUNDLE_KEY_VARIABLE, URL_VARIABLE, PASSWORD_VARIABLE})
"""Variables of the environment that are no settings: secrets, and where a client finds the service."""

_SECTIONS: Final = {"policies": "builtin: true", "kafka": "security_protocol: SASL_SSL"}
"""Settings that stand together under one key, each with an example."""


def written(
    mapping: Mapping[str, Any], environ: Mapping[str, str], overrides: Mapping[str, Any], flaws: list[str]
) -> dict[str, tuple[Any, str]]:
    """What each source says, with its origin; later sources replace earlier ones."""
    written: dict[str, tuple[Any, str]] = {}
    for name, value in _from_file(mapping, flaws):
        written[name] = (value, FILE)
    for setting in SETTINGS:
        if environ.get(setting.variable):
            written[setting.name] = (environ[setting.variable], setting.variable)
        if overrides.get(setting.name) is not None:
            written[setting.name] = (overrides[setting.name], setting.option)
    strangers = sorted(set(overrides) - {setting.name for setting in SETTINGS})
    assert not strangers, f"the command line offers settings that do not exist: {strangers}"
    return written


def _from_file(mapping: Mapping[str, Any], flaws: list[str]) -> Iterator[tuple[str, Any]]:
    top = {setting.name for setting in SETTINGS if "." not in setting.name} | {*_SECTIONS, "apiVersion"}
    for key, value in mapping.items():
        if key == "apiVersion":
            if value != API_VERSION:
                flaws.append(f"apiVersion: {value!r} (from {FILE}) is not known. Write apiVersion: {API_VERSION}.")
        elif key not in top:
            flaws.append(_unknown_key(str(key), top))
        elif key in _SECTIONS:
            yield from _from_section(key, value, flaws)
        else:
            yield key, value


def _from_section(section: str, value: Any, flaws: list[str]) -> Iterator[tuple[str, Any]]:
    if not isinstance(value, Mapping):
        flaws.append(f"{section}: {value!r} (from {FILE}) is no mapping. Write {section}: {{{_SECTIONS[section]}}}.")
        return
    known = {setting.name for setting in SETTINGS if setting.name.startswith(f"{section}.")}
    for key, part in value.items():
        name = f"{section}.{key}"
        if name in known:
            yield name, part
        else:
            flaws.append(_unknown_key(name, known))


def _unknown_key(key: str, known: set[str]) -> str:
    nearest = _nearest(key, known)
    cure = f"Did you mean {nearest!r}?" if nearest else f"Known are: {', '.join(sorted(known))}."
    return f"{key}: there is no such setting (from {FILE}). {cure}"


def _nearest(name: str, known: set[str] | frozenset[str]) -> str | None:
    folded = {one.lower(): one for one in known}
    found = get_close_matches(name.lower(), folded, n=1, cutoff=0.6)
    return folded[found[0]] if found else None


def unknown_variables(environ: Mapping[str, str]) -> list[tuple[str, str | None]]:
    """Variables that begin like settings and are none, each with the nearest that is one.

    They do not stop a start: schedulers inject variables of such names by themselves.
    """
    known = {setting.variable for setting in SETTINGS} | _VARIABLES_BESIDE
    strays = sorted(name for name in environ if name.startswith("SETPOINT_") and name not in known)
    return [(name, _nearest(name, known)) for name in strays]
