"""Entry points become plugins, lazily; a broken one is a reason, never a crash.

It must not know which plugins there are: ours come through the same groups as a third party's.
"""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import sys
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from harness.contracts import Backend, Chart, Report, Sampler, Scenario, Site
from harness.errors import PluginError, did_you_mean

__all__ = ["Broken", "add_file", "find", "load_all", "names", "suite_folders"]

P = TypeVar("P", Backend, Scenario, Report, Chart, Site, Sampler)

_GROUP: dict[type, str] = {
    Backend: "harness.backends",
    Scenario: "harness.scenarios",
    Report: "harness.reports",
    Chart: "harness.charts",
    Site: "harness.sites",
    Sampler: "harness.samplers",
}
_OURS = ("backends", "scenarios", "reports")
_from_files: dict[str, dict[str, type]] = {}


@dataclass(frozen=True)
class Broken:
    """A plugin that is registered but cannot be used."""

    name: str
    reason: str


def names(kind: type[P]) -> list[str]:
    """Return the names registered for a kind of plugin, without importing any."""
    group: str = _GROUP[kind]
    return sorted({*_entry_points(group), *_from_files.get(group, {})})


def find(kind: type[P], name: str) -> P:
    """Return a new instance of one plugin.

    Raises:
        PluginError: where no plugin has that name, or it does not import.
    """
    group = _GROUP[kind]
    if name in _from_files.get(group, {}):
        return _checked(kind, name, _from_files[group][name])
    points = _entry_points(group)
    if name not in points:
        word = kind.__name__.lower()
        known = names(kind)
        raise PluginError(
            f'no {word} is called "{name}"',
            expected=f"one of {', '.join(known)}" if known else None,
            remedy=f"{did_you_mean(name, known)}harness list {word}s shows them",
        )
    point = points[name]
    _guard_against_shadowing(point.module)
    try:
        plugin = point.load()
    except (Exception, SystemExit) as error:  # whatever a third party's module does is its reason
        raise PluginError(
            f"does not import: {type(error).__name__}: {error}",
            where=f'plugin "{name}" ({point.value})',
        ) from error
    return _checked(kind, name, plugin)


def load_all(kind: type[P]) -> dict[str, P | Broken]:
    """Return every plugin of a kind; one that cannot be used is `Broken` and harms no other."""
    found: dict[str, P | Broken] = {}
    for name in names(kind):
        try:
            found[name] = find(kind, name)
        except PluginError as error:
            found[name] = Broken(name, str(error))
    return found


def add_file(path: Path) -> list[str]:
    """Register every plugin class defined in a user's file; return their names.

    A class is named by its `name` attribute, else by the file (`my_backend.py` -> `my_backend`).

    Raises:
        PluginError: where the file is missing, does not import or holds no plugin.
    """
    module = _import_file(path)
    added: list[str] = []
    unfinished: list[str] = []
    classes = [c for c in vars(module).values() if inspect.isclass(c)]
    for value in dict.fromkeys(c for c in classes if c.__module__ == module.__name__):
        for kind, group in _GROUP.items():
            if not issubclass(value, kind):
                continue
            if missing := sorted(getattr(value, "__abstractmethods__", ())):
                unfinished.append(f"{value.__name__} lacks {', '.join(missing)}")
            else:
                name = getattr(value, "name", None) or path.stem
                _from_files.setdefault(group, {})[str(name)] = value
                added.append(str(name))
    if not added:
        raise PluginError(
            "; ".join(["holds no plugin", *unfinished]),
            where=str(path),
            expected="a class derived from one in harness.contracts: Backend, Scenario, Report, …",
        )
    return added


def suite_folders() -> list[Path]:
    """Return the folders of suites that installed packages ship (`harness.suites`)."""
    folders: list[Path] = []
    for point in _entry_points("harness.suites").values():
        _guard_against_shadowing(point.value)
        spec = importlib.util.find_spec(point.value)
        folders += [Path(p) for p in (spec.submodule_search_locations or [])] if spec else []
    return folders


@cache
def _entry_points(group: str) -> dict[str, metadata.EntryPoint]:
    return {point.name: point for point in metadata.entry_points(group=group)}


def _checked(kind: type[P], name: str, plugin: object) -> P:
    if not (inspect.isclass(plugin) and issubclass(plugin, kind)):
        raise PluginError(
            f"is not a {kind.__name__}",
            where=f'plugin "{name}"',
            expected=f"a class derived from harness.contracts.{kind.__name__}",
        )
    if inspect.isabstract(plugin):
        missing = ", ".join(sorted(plugin.__abstractmethods__))
        raise PluginError(f"lacks {missing}", where=f'plugin "{name}"')
    try:
        return plugin()
    except Exception as error:
        raise PluginError(
            f"cannot be made: {type(error).__name__}: {error}", where=f'plugin "{name}"'
        ) from error


def _import_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise PluginError("no such file", where=str(path), expected="a Python file")
    # Two files may have one name.
    place = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]
    spec = importlib.util.spec_from_file_location(f"harness_plugin_{path.stem}_{place}", path)
    if spec is None or spec.loader is None:
        raise PluginError("is not a Python file", where=str(path), expected="a name ending in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # whatever the user's file does is its reason
        del sys.modules[spec.name]
        raise PluginError(
            f"does not import: {type(error).__name__}: {error}", where=str(path)
        ) from error
    return module


def _guard_against_shadowing(module: str) -> None:
    """Our sibling packages have everyday names: make sure that the ones found are ours."""
    top = module.partition(".")[0]
    if top not in _OURS:
        return
    home = Path(__file__).resolve().parent.parent
    spec = importlib.util.find_spec(top)
    places = [Path(p).resolve() for p in (spec.submodule_search_locations or [])] if spec else []
    if not places and spec and spec.origin:
        places = [Path(spec.origin).resolve()]
    if home / top not in places[:1]:
        raise PluginError(
            f'package "{top}" is shadowed by {places[0] if places else "nothing to be found"}',
            expected=str(home / top),
            remedy="start through the harness command, python -P, or from another folder",
        )
