"""Does `harness explain` name the true cause? Slowdowns planted in our decoder, and none at all.

    python -m benchmarks.attribution [--pairs 7] [--null 20] [--only PATTERN] [--json FILE]
    python -m benchmarks.attribution --json FILE --count

Each side of each pair is a forked process that has imported PyTorch and nothing of the model yet;
it then runs the profiling worker's own code over a decoder whose source has the patch in it. With
--json, what the file already holds is not run again, so that it can be stopped and taken up; files
of earlier runs may stand before it (--json OLD --json NEW), and --count only counts.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType
from typing import Any

from benchmarks.seeds import KEPT_ASIDE, SEEDS, Seed
from harness.engine.case import Case, ProfileTask
from harness.engine.plan import Plan, make_plan
from harness.profiling.causes import causes, sentence
from harness.profiling.difference import difference
from harness.profiling.record import Profile
from harness.spec import Source, Suite
from harness.store.durable import write_durably

NOTHING = Seed("nothing", r"(?!)")
_SUITE = """
name = "attribution"
[[model]]
name = "tiny"
[[backend]]
name = "eager"
threads = 1
linear = "plain"
[[scenario]]
name = "latency"
prompt_tokens = 256
new_tokens = 12
"""


@dataclass(frozen=True)
class Answer:
    """What was said of one seed."""

    seed: str
    aside: bool
    ratio: float
    sentence: str
    rank: int | None
    """Of the true cause among those named, from 1; None where it is not among them."""
    named: list[str]
    seconds: float


class _Planted(SourceFileLoader):
    """Loads a module from its file with patches in it."""

    patches: Sequence[tuple[str, str]] = ()

    def get_code(self, fullname: str) -> CodeType:
        text = Path(self.path).read_text()
        for before, after in self.patches:
            assert text.count(before) == 1, (fullname, text.count(before), before)
            text = text.replace(before, after)
        return self.source_to_code(text, self.path)


def plant(seed: Seed) -> None:
    """Import the seed's module with its patches; nothing may have imported it before."""
    assert seed.module not in sys.modules, seed.module
    found = importlib.util.find_spec(seed.module)
    assert found is not None
    assert found.origin is not None
    loader = _Planted(seed.module, found.origin)
    loader.patches = seed.patches
    spec = importlib.util.spec_from_file_location(seed.module, found.origin, loader=loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[seed.module] = module
    loader.exec_module(module)
    parent, _, name = seed.module.rpartition(".")
    setattr(sys.modules[parent], name, module)


def compared(seed: Seed, pairs: int, folder: Path, *, aside: bool = False) -> Answer:
    """Profile the decoder without and with the seed in turn; return what is said of it."""
    start = time.monotonic()
    sides = [
        (_planned(seed, seed.base), None),
        (_planned(seed, seed.cand), seed if seed.patches else None),
    ]
    found: list[list[Profile]] = [[], []]
    for number in range(pairs):
        for which in (0, 1) if number % 2 == 0 else (1, 0):
            plan, planted = sides[which]
            found[which].append(_in_child(plan, planted, number, folder))
    change = difference(found[0], found[1], seed.phase)
    assert change is not None
    facts = [
        {**of[-1].facts, **{k: plan.cases[0].backend_options[k] for k in ("threads", "dtype")}}
        for of, (plan, _) in zip(found, sides, strict=True)
    ]
    named = causes(change, *facts)
    fits = (n for n, cause in enumerate(named, 1) if re.search(seed.cause, cause.words))
    return Answer(
        seed=seed.name,
        aside=aside,
        ratio=change.ratio,
        sentence=sentence(change, named),
        rank=next(fits, None),
        named=[cause.words for cause in named],
        seconds=time.monotonic() - start,
    )


def _planned(seed: Seed, options: Mapping[str, str | int]) -> Plan:
    import tomllib

    said = tomllib.loads(_SUITE)
    said["model"][0]["name"] = seed.model
    said["backend"][0] |= options
    return make_plan(Suite.model_validate(said), Source("attribution", _SUITE))


def _in_child(plan: Plan, seed: Seed | None, number: int, folder: Path) -> Profile:
    case = plan.cases[0]
    task = _task(plan, case, number, folder)
    if not task.reference.exists():
        _forked(lambda: _make_reference(task), folder)
    _forked(lambda: _work(task, seed), folder)
    return Profile.model_validate_json(task.output.read_bytes())


def _forked(work: Any, folder: Path) -> None:
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        with (folder / "log").open("w") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
            try:
                work()
                sys.stdout.flush()
            except BaseException:  # noqa: BLE001 - a fork must not go on as its parent
                import traceback

                traceback.print_exc()
                sys.stderr.flush()
                os._exit(1)
            os._exit(0)
    _, status = os.waitpid(child, 0)
    if status:
        raise RuntimeError(f"a child failed:\n{(folder / 'log').read_text()[-2000:]}")


def _task(plan: Plan, case: Case, number: int, folder: Path) -> ProfileTask:
    positions = min(p.context for p in plan.points[case.id])
    return ProfileTask(
        parent_pid=os.getpid(),
        plugin_files=[],
        cache=folder,
        case=case,
        round=number,
        point=plan.points[case.id][0].label,
        kinds=["torch"],
        seed=0,
        reference=folder / f"reference-{case.model}-{case.dtype}",
        positions=positions,
        output=folder / "profile.json",
    )


def _make_reference(task: ProfileTask) -> None:
    from harness.engine import reference
    from harness.model import open_model

    case = task.case
    model = open_model(case.model, seed=case.model_seed)
    reference.compute(model, task.positions, case.dtype, case.threads).save(task.reference)


def _work(task: ProfileTask, seed: Seed | None) -> None:
    from harness.engine.events import Speaker
    from harness.engine.profiled import profile_case

    if seed is not None:
        plant(seed)
    with Path(os.devnull).open("wb") as nowhere:
        made = profile_case(task, Speaker(nowhere.fileno(), None))
    task.output.write_text(made.model_dump_json())


def _all(null: int, only: str) -> Iterator[tuple[Seed, bool]]:
    for seed in SEEDS:
        if re.search(only, seed.name):
            yield seed, False
    for seed in KEPT_ASIDE:
        if re.search(only, seed.name):
            yield seed, True
    for number in range(null):
        yield Seed(f"nothing {number}", NOTHING.cause), False


def counted(answers: Sequence[Mapping[str, Any]]) -> str:
    """Return the counts: first, among the first three, and causes named where there is none."""
    lines = []
    seeds = [a for a in answers if not a["seed"].startswith("nothing")]
    for words, some in (
        ("all", seeds),
        ("kept aside", [a for a in seeds if a["aside"]]),
    ):
        first = sum(a["rank"] == 1 for a in some)
        three = sum(a["rank"] is not None and a["rank"] <= 3 for a in some)
        lines.append(f"{words}: first {first} of {len(some)}, among the first three {three}")
    none = [a for a in answers if a["seed"].startswith("nothing")]
    lines.append(f"nothing planted: a cause named in {sum(bool(a['named']) for a in none)}")
    lines[-1] += f" of {len(none)}"
    missed = [a["seed"] for a in seeds if a["rank"] != 1]
    lines += [f"not named first: {', '.join(missed)}"] if missed else []
    return "\n".join(lines)


def main() -> None:
    """Run, print each answer and the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--null", type=int, default=20, help="comparisons of nothing with nothing")
    parser.add_argument("--only", default="", help="regular expression of seeds' names")
    parser.add_argument("--json", type=Path, action="append", help="the last one is written")
    parser.add_argument("--count", action="store_true", help="run nothing, count what there is")
    given = parser.parse_args()
    files = given.json or []
    known = _known(files)
    if not given.count:
        importlib.import_module("torch._inductor")  # once, before the forks: it takes seconds
        _run(given, files[-1] if files else None, known)
    print(counted(list(known.values())))


def _known(files: Sequence[Path]) -> dict[str, dict[str, Any]]:
    """Return the answers in files, by seed; of several for one seed the last."""
    answers = [a for file in files if file.exists() for a in json.loads(file.read_text())]
    return {answer["seed"]: answer for answer in answers}


def _run(given: argparse.Namespace, file: Path | None, known: dict[str, dict[str, Any]]) -> None:
    """Compare each seed that is not known yet; each answer is kept before the next begins."""
    left = [one for one in _all(given.null, given.only) if one[0].name not in known]
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        for number, (seed, aside) in enumerate(left, 1):
            answer = vars(compared(seed, given.pairs, Path(name), aside=aside))
            known[seed.name] = answer
            each = (time.monotonic() - started) / number
            print(
                f"[{number}/{len(left)}, {each * (len(left) - number) / 60:.0f} min left] "
                f"{answer['rank'] or '-'}  {seed.name}: {answer['sentence']}",
                flush=True,
            )
            if file is not None:
                write_durably(file, f"{json.dumps(list(known.values()), indent=1)}\n".encode())


if __name__ == "__main__":
    main()
