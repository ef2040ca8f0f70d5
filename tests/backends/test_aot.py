"""AOT: a package is built once for a shape, holds no weights, and is loaded without tracing."""

import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from backends.aot import AotBackend, AotOptions, AotSession
from harness.cache import CACHE_VARIABLE
from harness.model import open_model

PROMPT = torch.tensor([[3, 1, 4, 1, 5], [9, 2, 6, 0, 0]])
LENGTHS = torch.tensor([5, 3])


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """Put back the process's thread count, which loading sets."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def prepared(seed: int = 0, **options: object) -> AotSession:
    given = AotOptions.model_validate({"threads": 1, **options})
    session = AotBackend().load(open_model("tiny", seed=seed), "cpu", given)
    session.prepare(2, 24)
    return session


def greedy(session: AotSession, steps: int) -> list[list[int]]:
    tokens = [session.prefill(PROMPT, LENGTHS).tolist()]
    return tokens + [session.decode().tolist() for _ in range(steps)]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def built(cache: Path, monkeypatch: pytest.MonkeyPatch) -> AotSession:
    """A session whose packages are built by whichever test comes first."""
    monkeypatch.setenv(CACHE_VARIABLE, str(cache))
    return prepared()


@pytest.mark.slow
def test_a_package_gives_the_tokens_of_the_graph_it_was_made_from(built: AotSession) -> None:
    assert greedy(built, 18) == greedy(prepared(compiled=False), 18)


@pytest.mark.slow
def test_a_step_copies_no_layers_cache(built: AotSession, cache: Path) -> None:
    (package,) = cache.rglob("step.pt2")
    with zipfile.ZipFile(package) as files:
        kernels = [files.read(n).decode() for n in files.namelist() if n.endswith(".kernel.cpp")]

    written = built.prepared().slots()[0].numel()
    assert kernels
    assert not [code for code in kernels if f"{written}L" in code]


@pytest.mark.slow
def test_a_package_is_built_once_and_then_loaded_without_tracing(
    built: AotSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    def export(*_: object, **__: object) -> None:
        raise AssertionError("traced again")

    monkeypatch.setattr(torch.export, "export", export)

    again = prepared()

    assert again.facts()["built_s"] == {}
    assert greedy(again, 8) == greedy(built, 8)


@pytest.mark.slow
def test_one_package_serves_every_model_of_its_shapes(built: AotSession) -> None:
    other = prepared(seed=1)

    assert other.facts()["built_s"] == {}
    assert greedy(other, 8) == greedy(prepared(seed=1, compiled=False), 8)
    assert greedy(other, 8) != greedy(built, 8)


@pytest.mark.parametrize("context", [1, 2, 3])
def test_few_positions_are_served_like_many(context: int) -> None:
    session = AotBackend().load(
        open_model("tiny"), "cpu", AotOptions.model_validate({"threads": 1, "compiled": False})
    )
    session.prepare(1, context)
    steps = context - 1

    tokens = [session.prefill(PROMPT[:1, :1], torch.tensor([1])).tolist()]
    tokens += [session.decode().tolist() for _ in range(steps)]

    session.prepare(1, 24)
    wide = [session.prefill(PROMPT[:1, :1], torch.tensor([1])).tolist()]
    assert tokens == wide + [session.decode().tolist() for _ in range(steps)]
