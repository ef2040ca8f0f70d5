"""Suite to cases: cross-multiply, sweep, include and exclude; every option checked by its plugin.

It must not start anything: `--dry-run` stops here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from pydantic import ConfigDict, ValidationError

from harness.contracts import Backend, Options, Point, Sampler, Scenario
from harness.engine.case import Case
from harness.errors import InputError, PluginError, SpecError, did_you_mean
from harness.metrics import Metric
from harness.model import Model, open_model
from harness.plugins import Broken, find, load_all, names
from harness.spec import BackendSpec, ModelSpec, ScenarioSpec, Source, Suite, spec_error

__all__ = ["Plan", "make_plan"]

Kind = str
_KINDS: tuple[Kind, ...] = ("model", "backend", "scenario")


@dataclass(frozen=True)
class Plan:
    """What a run will do."""

    suite: Suite
    cases: list[Case]
    points: dict[str, Sequence[Point]]
    """By case id."""
    models: dict[tuple[str, int], Model]
    """By name and seed: opened, weights not read."""
    metrics: list[Metric]
    versions: dict[str, int]
    """Version of each scenario."""

    def model(self, case: Case) -> Model:
        """Return the opened model of a case."""
        return self.models[case.model, case.model_seed]

    @property
    def visits(self) -> int:
        """How many workers a whole run starts."""
        return sum(case.rounds for case in self.cases if case.unavailable is None)

    def peak_bytes(self, case: Case) -> int:
        """Estimate the memory of a case: weights and KV cache of its largest point."""
        config = self.model(case).config
        kv = (config.kv_bytes(p.batch, p.context, case.dtype) for p in self.points[case.id])
        return config.weight_bytes(case.dtype) + max(kv, default=0)


@dataclass(frozen=True)
class _Setting:
    """One value given to one option, and where it was given."""

    kind: Kind
    entry: str | None
    """Name or label of the entry it is for; None for all of the kind."""
    option: str
    value: Any
    loc: tuple[str | int, ...]


@dataclass(frozen=True)
class _Entry:
    """One [[model]], [[backend]] or [[scenario]] with what a sweep laid over it."""

    kind: Kind
    index: int
    spec: ModelSpec | BackendSpec | ScenarioSpec
    swept: dict[str, _Setting]

    @property
    def names(self) -> set[str]:
        return {self.spec.name, self.spec.label or self.spec.name}

    @property
    def given(self) -> dict[str, Any]:
        own = dict(self.spec.__pydantic_extra__ or {})
        if isinstance(self.spec, ModelSpec):
            own = self.spec.model_dump(exclude={"name", "label"})
        return own | {option: s.value for option, s in self.swept.items()}


def make_plan(
    suite: Suite,
    source: Source,
    *,
    models: Sequence[str] = (),
    backends: Sequence[str] = (),
    scenarios: Sequence[str] = (),
) -> Plan:
    """Expand a suite; `models` replace its own, `backends` and `scenarios` choose among them.

    Raises:
        InputError: where any option, name or shape is wrong, pointing into the suite.
    """
    if models:
        suite = suite.model_copy(update={"model": [ModelSpec(name=m) for m in models]})
    suite = _chosen(suite, "backend", backends)
    suite = _chosen(suite, "scenario", scenarios)
    _samplers_exist(suite, source)
    builder = _Builder(suite, source)
    for triple in _triples(suite, source):
        builder.add(*triple)
    return builder.plan()


def _samplers_exist(suite: Suite, source: Source) -> None:
    """Refuse a sampler that nobody registered; one that does not work here is only absent."""
    known = names(Sampler)
    for name in suite.telemetry.samplers or ():
        if name not in known:
            raise SpecError(
                f'no sampler is called "{name}"',
                where=source.at(("telemetry", "samplers")),
                expected=f"one of {', '.join(known)}",
                remedy=did_you_mean(name, known).rstrip() or None,
            )


def _chosen(suite: Suite, kind: Kind, wanted: Sequence[str]) -> Suite:
    """Keep the entries of that name or label; a name the suite lacks is added with defaults."""
    if not wanted:
        return suite
    entries: list[Any] = []
    for name in wanted:
        own = [e for e in getattr(suite, kind) if name in (e.name, e.label)]
        spec = BackendSpec if kind == "backend" else ScenarioSpec
        entries += own or [spec(name=name)]
    return suite.model_copy(update={kind: entries})


def _triples(suite: Suite, source: Source) -> Iterator[tuple[_Entry, _Entry, _Entry]]:
    axes = [
        [_setting(suite, source, key, value) for value in values]
        for key, values in suite.sweep.axes().items()
    ]
    seen: set[str] = set()
    for settings in product(*axes):
        for triple in _crossed(suite, settings):
            key = repr([(e.kind, e.index, sorted(e.given.items(), key=str)) for e in triple])
            excluded = any(
                _matches(triple, rule, ("sweep", "exclude")) for rule in suite.sweep.exclude
            )
            if key not in seen and not excluded:
                seen.add(key)
                yield triple
    for rule in suite.sweep.include:
        chosen = {k: v for k, v in rule.items() if k in _KINDS}
        settings = tuple(_setting(suite, source, k, v) for k, v in rule.items() if k not in _KINDS)
        for triple in _crossed(suite, settings):
            if _matches(triple, chosen, ("sweep", "include")):
                yield triple


def _setting(suite: Suite, source: Source, key: str, value: Any) -> _Setting:
    table, _, option = key.partition(".")
    loc = ("sweep", key)
    entries = {kind: getattr(suite, kind) for kind in _KINDS}
    if option and table in _KINDS:
        return _Setting(table, None, option, value, loc)
    for kind, specs in entries.items():
        if option and any(table in (s.name, s.label) for s in specs):
            return _Setting(kind, table, option, value, loc)
    known = [*_KINDS, *(s.label or s.name for specs in entries.values() for s in specs)]
    raise SpecError(
        f'"{key}" names nothing in the suite',
        where=source.at(loc),
        expected=f"NAME.OPTION with NAME one of {', '.join(dict.fromkeys(known))}",
        remedy=did_you_mean(table, known).rstrip() or None,
    )


def _crossed(suite: Suite, settings: Sequence[_Setting]) -> Iterator[tuple[_Entry, _Entry, _Entry]]:
    pools = [
        [_swept(_Entry(kind, i, spec, {}), settings) for i, spec in enumerate(getattr(suite, kind))]
        for kind in _KINDS
    ]
    models, backends, scenarios = pools
    yield from product(models, backends, scenarios)


def _swept(entry: _Entry, settings: Sequence[_Setting]) -> _Entry:
    own = {
        s.option: s
        for s in settings
        if s.kind == entry.kind
        and (s.entry in entry.names if s.entry else _accepts(entry, s.option))
    }
    return replace(entry, swept=own)


def _accepts(entry: _Entry, option: str) -> bool:
    """A sweep over `scenario.prompt_tokens` leaves scenarios alone that have no such option."""
    if entry.kind == "model":
        return option in ModelSpec.model_fields
    try:
        if entry.kind == "backend":
            return option in find(Backend, entry.spec.name).Options.model_fields
        return option in find(Scenario, entry.spec.name).Options.model_fields
    except PluginError:
        return True


def _matches(
    triple: tuple[_Entry, _Entry, _Entry],
    rule: Mapping[str, Any],
    loc: tuple[str, str],
) -> bool:
    for key, value in rule.items():
        table, _, option = key.partition(".")
        if not option:
            entry = next((e for e in triple if e.kind == table), None)
            if entry is None:
                raise SpecError(
                    f'"{key}"',
                    where=".".join(loc),
                    expected="model, backend, scenario or a dotted option",
                )
            if value not in entry.names:
                return False
            continue
        entries = [e for e in triple if table == e.kind or table in e.names]
        if not any(e.given.get(option) == value for e in entries):
            return False
    return True


class _Builder:
    """Turns triples into cases; holds what they share, so that each is looked up once."""

    def __init__(self, suite: Suite, source: Source) -> None:
        self._suite = suite
        self._source = source
        self._cases: dict[str, Case] = {}
        self._points: dict[str, Sequence[Point]] = {}
        self._models: dict[tuple[str, int], Model] = {}
        self._metrics: dict[str, Metric] = {}
        self._versions: dict[str, int] = {}
        self._backends = load_all(Backend)

    def add(self, model: _Entry, backend: _Entry, scenario: _Entry) -> None:
        opened = self._open(model)
        plugin, backend_options, unavailable = self._backend(backend)
        measure, scenario_options = self._scenario(scenario)
        try:
            points = measure.points(scenario_options, opened.config)
        except SpecError as error:
            raise SpecError(
                error.what,
                where=self._at(scenario, error.where),
                expected=error.expected,
                remedy=error.remedy,
            ) from error
        if plugin is not None and measure.level == "step" and plugin.level != "step":
            unavailable = (
                f"{backend.spec.name} owns its decode loop; {scenario.spec.name} needs steps"
            )
        spec = scenario.spec
        rounds = self._suite.run.rounds
        if isinstance(spec, ScenarioSpec) and spec.rounds is not None:
            rounds = min(rounds, spec.rounds)
        label = model.spec.label or opened.name
        case = Case(
            id="/".join(
                [label, _part(backend, backend_options), _part(scenario, scenario_options)]
            ),
            model=model.spec.name,
            model_seed=int(model.given["seed"]),
            model_label=label,
            backend=backend.spec.name,
            backend_options=backend_options.model_dump(mode="json"),
            scenario=scenario.spec.name,
            scenario_options=scenario_options.model_dump(mode="json"),
            rounds=rounds,
            unavailable=unavailable,
        )
        if case.id in self._cases and self._cases[case.id] != case:
            raise SpecError(
                f'two cases are called "{case.id}"',
                where=self._source.at((backend.kind, backend.index)),
                remedy="give one of them a label",
            )
        self._cases[case.id] = case
        self._points[case.id] = points
        for metric in measure.metrics:
            if self._metrics.setdefault(metric.name, metric) != metric:
                raise PluginError(
                    f'defines "{metric.name}" otherwise than another scenario of the suite',
                    where=f'scenario "{case.scenario}"',
                    remedy="run them in suites of their own, or rename one",
                )
        self._versions[case.scenario] = measure.version

    def plan(self) -> Plan:
        if not self._cases:
            raise SpecError("no case is left", where=self._source.at(("sweep", "exclude")))
        return Plan(
            self._suite,
            list(self._cases.values()),
            self._points,
            self._models,
            list(self._metrics.values()),
            self._versions,
        )

    def _open(self, entry: _Entry) -> Model:
        key = (entry.spec.name, int(entry.given["seed"]))
        if key not in self._models:
            self._models[key] = self._pointing(entry, lambda: open_model(key[0], seed=key[1]))
        return self._models[key]

    def _backend(self, entry: _Entry) -> tuple[Backend | None, Any, str | None]:
        plugin = self._backends.get(entry.spec.name)
        if isinstance(plugin, Broken):
            # It harms nothing else: its cases have no figure and say why.
            return None, _AnyOptions(**entry.given), plugin.reason
        if plugin is None:
            plugin = self._pointing(entry, lambda: find(Backend, entry.spec.name))
        options = self._options(entry, plugin.Options)
        can = plugin.availability(options.device)
        why = None if can.ok else "; ".join(filter(None, [can.reason, can.remedy]))
        return plugin, options, why

    def _scenario(self, entry: _Entry) -> tuple[Scenario, Any]:
        plugin = self._pointing(entry, lambda: find(Scenario, entry.spec.name))
        return plugin, self._options(entry, plugin.Options)

    def _options(self, entry: _Entry, options: Any) -> Any:
        try:
            return options.model_validate(entry.given)
        except ValidationError as error:
            bad = str(error.errors()[0]["loc"][0]) if error.errors()[0]["loc"] else ""
            if bad in entry.swept:
                shown = spec_error(error, self._source, (), lambda _: options.model_fields)
                shown.where = self._source.at(entry.swept[bad].loc)
                raise SpecError(
                    shown.what, where=shown.where, expected=shown.expected, remedy=shown.remedy
                ) from error
            prefix = (entry.kind, entry.index)
            raise spec_error(error, self._source, prefix, lambda _: options.model_fields) from error

    def _pointing(self, entry: _Entry, look_up: Any) -> Any:
        """Look something up; an error gains the place in the suite that asked for it."""
        try:
            return look_up()
        except InputError as error:
            where = self._at(entry, error.where)
            raise type(error)(
                error.what, where=where, expected=error.expected, remedy=error.remedy
            ) from error

    def _at(self, entry: _Entry, inner: str | None) -> str:
        place = self._source.at((entry.kind, entry.index, "name"))
        return f"{place}: {inner}" if inner else place


class _AnyOptions(Options):
    """Options of a backend that does not import: kept as given."""

    model_config = ConfigDict(extra="allow", frozen=True)

    dtype: str = "float32"
    threads: int = 1
    device: str = "cpu"


def _part(entry: _Entry, options: Options) -> str:
    """`eager[dtype=float32]`: the label, the precision, and every option that was set."""
    shown = {k: v for k, v in entry.given.items() if not isinstance(v, dict | list)}
    shown |= {
        k: "+".join(map(str, v))
        if isinstance(v, list)
        else ",".join(f"{a}:{b}" for a, b in v.items())
        for k, v in entry.given.items()
        if isinstance(v, dict | list)
    }
    if "dtype" in type(options).model_fields:
        shown.setdefault("dtype", getattr(options, "dtype", None))
    inside = ",".join(f"{k}={v}" for k, v in sorted(shown.items()))
    name = entry.spec.label or entry.spec.name
    return f"{name}[{inside}]" if inside else name
