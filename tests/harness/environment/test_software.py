import json
import sys
from importlib import metadata
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from harness.environment.facts import collect
from harness.environment.fingerprint import fingerprint
from harness.environment.software import PYTHON, TORCH, packages, thread_settings
from harness.environment.software import settings as allowed_settings

_WORDS = st.sampled_from(
    ["TOKEN", "KEY", "SECRET", "PASSWORD", "PASSWD", "CREDENTIAL", "CREDENTIALS", "AUTH", "COOKIE"]
)
_PREFIXES = st.sampled_from(
    [
        "",
        "AWS_",
        "HF_",
        "GITHUB_",
        "TORCH_",
        "PYTORCH_",
        "CUDA_",
        "NCCL_",
        "OMP_",
        "MKL_",
        "MALLOC_",
    ]
)
_PARTS = st.text("ABCXYZ_019", max_size=8)


@st.composite
def secret_names(draw: st.DrawFn) -> str:
    word = draw(_WORDS)
    word = word.lower() if draw(st.booleans()) else word
    return draw(_PREFIXES) + draw(_PARTS) + word + draw(_PARTS)


@st.composite
def unlisted_names(draw: st.DrawFn) -> str:
    prefix = draw(
        st.sampled_from(["AWS_", "AZURE_", "GOOGLE_", "DATABASE_URL", "MY_", "USER", "X"])
    )
    return prefix + draw(_PARTS)


@settings(max_examples=200)
@given(
    st.dictionaries(
        st.one_of(secret_names(), unlisted_names()),
        st.text("abcdef0123456789", min_size=12, max_size=40).map(lambda s: f"s3cr3t-{s}"),
        min_size=1,
    )
)
def test_no_secret_enters_what_is_recorded_of_the_environment(environ):
    recorded = json.dumps([allowed_settings(environ), thread_settings(environ)])
    assert "s3cr3t" not in recorded


def test_no_secret_enters_a_whole_fingerprint(tmp_path, monkeypatch):
    # given secrets in the process's real environment, traps behind allowed prefixes among them
    names = [
        "AWS_SECRET_ACCESS_KEY",
        "HF_TOKEN",
        "TORCH_API_TOKEN",
        "CUDA_LICENSE_KEY",
        "PGPASSWORD",
    ]
    for name in [*names, "USER_NOTE", "OMP_AUTH"]:
        monkeypatch.setenv(name, f"s3cr3t-{name}")
    # when the machine is described
    recorded = json.dumps(fingerprint(tmp_path))
    # then none of the values is there
    assert "s3cr3t" not in recorded


def test_an_address_with_credentials_is_withheld_even_under_an_allowed_name():
    found = allowed_settings({"TORCH_HOME": "https://user:s3cr3t@host/x", "CUDA_PATH": "/usr/cuda"})
    assert "s3cr3t" not in str(found)
    assert found["TORCH_HOME"].startswith("withheld")
    assert found["CUDA_PATH"] == "/usr/cuda"


def test_settings_that_change_speed_are_kept():
    environ = {"OMP_NUM_THREADS": "4", "KMP_AFFINITY": "compact", "LD_PRELOAD": "/x/libtcmalloc.so"}
    environ |= {"TORCHINDUCTOR_FREEZING": "1", "HOME": "/home/somebody"}
    assert thread_settings(environ) == {"KMP_AFFINITY": "compact", "OMP_NUM_THREADS": "4"}
    assert allowed_settings(environ) == {
        "LD_PRELOAD": "/x/libtcmalloc.so",
        "TORCHINDUCTOR_FREEZING": "1",
    }


def test_every_installed_package_has_its_version():
    found = packages()
    for name in ("torch", "numpy", "pydantic", "typing-extensions"):
        assert found[name] == metadata.version(name)


def test_torch_is_described_without_importing_it():
    import subprocess

    code = (
        "import sys, pathlib; from harness.environment import fingerprint;"
        "print(fingerprint(pathlib.Path('.'))['torch']['version']);"
        "assert not {'torch', 'numpy', 'pandas', 'psutil'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == _torch_version()


def _torch_version() -> str:
    import torch

    return str(torch.__version__)


def test_torchs_build_is_what_torch_itself_says():
    import torch

    facts = collect(TORCH, Path("/"))
    assert facts["revision"] == torch.version.git_version
    assert facts["cuda"] == (torch.version.cuda or {"absent": "built without CUDA"})


def test_the_interpreter_is_named():
    facts = collect(PYTHON, Path("/"))
    assert facts["version"] == ".".join(map(str, sys.version_info[:3]))
