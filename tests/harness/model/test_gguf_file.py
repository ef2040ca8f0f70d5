"""GGUF files: every supported type, llama.cpp's order of rows undone, damage told in one line."""

import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from gguf import GGMLQuantizationType as Type
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.errors import ModelError
from harness.model import Model, ModelConfig, RopeScaling, open_model
from harness.model.dequantize import BLOCK_FORMATS, dequantize
from harness.model.gguf_header import read_gguf
from harness.model.layout import weight_shapes

CONFIG = ModelConfig(
    vocab_size=64, hidden_size=256, intermediate_size=512, layers=2, heads=8, kv_heads=4,
    head_dim=32, max_context=128, rope_theta=20_000.0, bos_id=1, eos_ids=(2, 3),
)  # fmt: skip
KEYS: dict[str, Any] = {
    "block_count": 2, "context_length": 128, "embedding_length": 256, "feed_forward_length": 512,
    "attention.head_count": 8, "attention.head_count_kv": 4, "rope.freq_base": 20_000.0,
    "attention.layer_norm_rms_epsilon": 1e-5, "rope.dimension_count": 32,
}  # fmt: skip
TOKENS: dict[str, Any] = {
    "tokenizer.ggml.bos_token_id": 1,
    "tokenizer.ggml.eos_token_id": 2,
    "tokenizer.ggml.eot_token_id": 3,
}
NAMES = {
    "embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output",
    "model.layers": "blk", "input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}  # fmt: skip

Tensors = dict[str, tuple[np.ndarray, Type]]
Write = Callable[..., Path]


def gguf_name(name: str) -> str:
    for ours, theirs in NAMES.items():
        name = name.replace(ours, theirs)
    return name.removeprefix("model.")


def converted(rows: np.ndarray, heads: int) -> np.ndarray:
    """What llama.cpp's converter does: rows i and i + half of a head come to lie side by side."""
    half = rows.shape[0] // heads // 2
    order = [
        head * 2 * half + i + part * half
        for head in range(heads)
        for i in range(half)
        for part in (0, 1)
    ]
    return rows[order]


def random_weights(config: ModelConfig = CONFIG) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    shapes = weight_shapes(config).items()
    return {name: generator.normal(size=shape).astype(np.float32) for name, shape in shapes}


def as_llama_cpp_has_them(weights: dict[str, np.ndarray]) -> Tensors:
    tensors: Tensors = {}
    for name, weight in weights.items():
        heads = 8 if ".q_proj." in name else 4 if ".k_proj." in name else 0
        rows = converted(weight, heads) if heads else weight
        tensors[gguf_name(name)] = (rows, Type.F32)
    return tensors


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a GGUF file; a value of ... takes a key out."""

    def write_file(tensors: Tensors, arch: str = "llama", **keys: Any) -> Path:
        path = tmp_path / "small.gguf"
        writer = gguf.GGUFWriter(path, arch)
        values = {f"{arch}.{key}": value for key, value in KEYS.items()} | TOKENS | keys
        for key, value in values.items():
            if isinstance(value, float):
                writer.add_float32(key, value)
            elif isinstance(value, str):
                writer.add_string(key, value)
            elif isinstance(value, list):
                writer.add_array(key, value)
            elif value is not ...:
                writer.add_uint32(key, value)
        for name, (data, kind) in tensors.items():
            writer.add_tensor(name, data, raw_dtype=kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path

    return write_file


@pytest.fixture
def llama(write: Write) -> Write:
    """Writes a whole small Llama; tensors given replace or, where None, remove its own."""

    def write_llama(tensors: dict[str, Any] | None = None, **keys: Any) -> Path:
        merged = as_llama_cpp_has_them(random_weights()) | (tensors or {})
        return write({name: t for name, t in merged.items() if t is not None}, **keys)

    return write_llama


def refusal(path: Path) -> str:
    """The one line with which a file is refused."""
    with pytest.raises(ModelError) as caught:
        open_model(str(path))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_llama_file_gives_the_weights_that_were_converted(llama: Write) -> None:
    weights = random_weights()

    model = open_model(str(llama()))

    assert (model.name, model.kind, model.config) == ("small", "gguf", CONFIG)
    assert sorted(model.names()) == sorted(weights)
    for name, weight in weights.items():
        assert np.array_equal(model.tensor(name).numpy(), weight), name


def test_a_qwen2_file_keeps_its_rows_and_has_biases(write: Write) -> None:
    config = ModelConfig(**{**vars(CONFIG), "qkv_bias": True})
    weights = random_weights(config)

    model = open_model(
        str(write({gguf_name(n): (w, Type.F32) for n, w in weights.items()}, arch="qwen2"))
    )

    assert model.config == config
    for name, weight in weights.items():
        assert np.array_equal(model.tensor(name).numpy(), weight), name


def test_the_head_is_the_embedding_where_there_is_no_output_tensor(llama: Write) -> None:
    model = open_model(str(llama({"output.weight": None})))

    assert model.config.tied
    assert "lm_head.weight" not in model.names()


@pytest.mark.parametrize("kind", [Type.F32, Type.F16, Type.BF16, Type.Q8_0, Type.Q4_0, Type.Q4_1])
def test_a_stored_type_gives_what_the_reference_gives(llama: Write, kind: Type) -> None:
    weight = random_weights()["model.layers.0.mlp.up_proj.weight"]
    stored = gguf.quants.quantize(weight, kind)

    model = open_model(str(llama({"blk.0.ffn_up.weight": (stored, kind)})))

    expected = gguf.quants.dequantize(stored, kind)
    found = model.tensor("model.layers.0.mlp.up_proj.weight")
    assert np.array_equal(found.float().numpy(), expected)
    assert np.abs(expected - weight).max() < 0.5


@pytest.mark.parametrize("kind", BLOCK_FORMATS)
def test_any_bytes_become_what_the_reference_makes_of_them(kind: str) -> None:
    weights, size = gguf.GGML_QUANT_SIZES[Type[kind]]
    count = (1 << 18) // weights + 99  # more than one piece, and not a whole number of them
    stored = np.random.default_rng(1).integers(0, 256, (count, size), dtype=np.uint8)

    found = dequantize(stored.reshape(-1), kind, (count, weights)).numpy()

    with np.errstate(all="ignore"):  # among random scales are infinities
        expected = gguf.quants.dequantize(stored, Type[kind])
    assert np.array_equal(found, expected, equal_nan=True)


def test_a_q4_k_block_by_hand() -> None:
    # Scale 2, shift scale 1; of the eight groups only group 0 has scale 3 and shift 5.
    scales = bytes([3, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0])
    quants = bytes([0xF7] * 32 + [0] * 96)
    block = struct.pack("<2e", 2.0, 1.0) + scales + quants

    found = dequantize(np.frombuffer(block, np.uint8), "Q4_K", (256,))

    assert found[:32].tolist() == [2.0 * 3 * 7 - 1.0 * 5] * 32  # low halves: group 0
    assert found[32:].tolist() == [0.0] * 224  # high halves: group 1, whose scale is 0


def test_a_q6_k_block_by_hand() -> None:
    # Low bits 5 and high bits 2 everywhere: (5 | 2 << 4) - 32 = 5. Scales 1 to 16, d = 0.5.
    block = bytes([0x55] * 128 + [0b10101010] * 64 + list(range(1, 17))) + struct.pack("<e", 0.5)

    found = dequantize(np.frombuffer(block, np.uint8), "Q6_K", (256,))

    assert found.view(16, 16).tolist() == [[0.5 * scale * 5] * 16 for scale in range(1, 17)]


@pytest.mark.parametrize("kind", [Type.Q5_0, Type.Q2_K, Type.IQ4_NL])
def test_an_unsupported_type_is_named_with_its_tensor(llama: Write, kind: Type) -> None:
    block, size = gguf.GGML_QUANT_SIZES[kind]
    stored = np.zeros((512, 256 // block * size), dtype=np.uint8)

    line = refusal(llama({"blk.1.ffn_gate.weight": (stored, kind)}))

    assert f'tensor "blk.1.ffn_gate.weight" is stored as {kind.name}' in line
    assert "expected one of F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q4_K, Q6_K" in line


def test_a_type_of_the_future_is_named_by_its_number(llama: Write) -> None:
    path = llama()
    content = bytearray(path.read_bytes())
    name = b"blk.0.ffn_up.weight"
    at = content.index(name) + len(name) + 4 + 2 * 8
    content[at : at + 4] = struct.pack("<I", 999)
    path.write_bytes(content)

    assert 'tensor "blk.0.ffn_up.weight" is stored as type 999' in refusal(path)


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ({"llama.block_count": ...}, "llama.block_count is missing; expected a whole number"),
        # Billions of layers are not spelled out to find that they are not there.
        ({"llama.block_count": 2**31}, 'tensor "blk.2.attn_norm.weight" is missing; expected'),
        ({"llama.embedding_length": "wide"}, "llama.embedding_length = wide; expected a whole"),
        ({"llama.expert_count": 8}, "llama.expert_count = 8; expected 0 or no such key"),
        ({"llama.rope.scaling.type": "yarn"}, "llama.rope.scaling.type = yarn; expected none"),
        ({"llama.attention.sliding_window": 64}, "llama.attention.sliding_window = 64; expected"),
        ({"llama.rope.dimension_count": 16}, "llama.rope.dimension_count = 16; expected 32"),
        ({"llama.attention.head_count_kv": 3}, "8 heads do not divide into 3 KV heads"),
        ({"llama.feed_forward_length": [512, 512]}, "llama.feed_forward_length = [512, 512]; exp"),
        ({"split.count": 4}, "is one of 4 parts; join them first"),
        ({"llama.feed_forward_length": 1024}, "expected [1024, 256] by the file's metadata"),
    ],
)
def test_metadata_that_is_not_computed_is_refused(
    llama: Write, keys: dict[str, Any], line: str
) -> None:
    assert line in refusal(llama(**keys))


def test_another_architecture_is_refused(write: Write) -> None:
    line = refusal(write(as_llama_cpp_has_them(random_weights()), arch="gemma"))

    assert "general.architecture = gemma; expected llama or qwen2" in line


def test_a_missing_tensor_is_named(llama: Write) -> None:
    line = refusal(llama({"blk.1.attn_v.weight": None}))

    assert 'tensor "blk.1.attn_v.weight" is missing; expected shape [128, 256]' in line


def test_a_tensor_that_the_decoder_would_ignore_is_refused(llama: Write) -> None:
    line = refusal(llama({"blk.0.attn_q_norm.weight": (np.ones(32, np.float32), Type.F32)}))

    assert 'holds a tensor "blk.0.attn_q_norm.weight" that the decoder has no use for' in line


def llama3_divisors(theta: float, head_dim: int) -> np.ndarray:
    """By the definition in the Llama 3.1 model card: factor 8, wavelengths 2,048 to 8,192 blend."""
    wavelength = 2 * np.pi * theta ** (np.arange(0, head_dim, 2) / head_dim)
    smooth = (8192 / wavelength - 1) / (4 - 1)
    blended = 1 / ((1 - smooth) / 8 + smooth)
    long_or_blended = np.where(wavelength > 8192, 8, blended)
    return np.where(wavelength < 2048, 1, long_or_blended).astype(np.float32)


def test_llama_3_scaling_is_recovered_from_its_divisors(llama: Write) -> None:
    divisors = llama3_divisors(20_000.0, 32)
    assert len(set(divisors.tolist())) > 2

    model = open_model(str(llama({"rope_freqs.weight": (divisors, Type.F32)})))

    assert model.config.rope_scaling == RopeScaling(8.0, 1.0, 4.0, 8192)


def test_divisors_of_one_are_no_scaling(llama: Write) -> None:
    model = open_model(str(llama({"rope_freqs.weight": (np.ones(16, np.float32), Type.F32)})))

    assert model.config.rope_scaling is None


def test_other_divisors_are_refused(llama: Write) -> None:
    divisors = llama3_divisors(20_000.0, 32)
    divisors[-4:] *= 1.01

    line = refusal(llama({"rope_freqs.weight": (divisors, Type.F32)}))

    assert '"rope_freqs.weight" is not Llama 3\'s frequency scaling' in line


@pytest.mark.parametrize("content", [b"", b"GGU", b"not a model", b"\x00" * 64, b"PK\x03\x04" * 9])
def test_what_is_no_gguf_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(content)

    assert refusal(path) == f"{path}: is not a GGUF file"


def test_a_big_endian_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(b"GGUF" + struct.pack(">IQQ", 3, 0, 0))

    assert "it is big-endian" in refusal(path)


def test_an_older_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(b"GGUF" + struct.pack("<III", 1, 0, 0))

    assert "GGUF version 1, not 2 or 3" in refusal(path)


@pytest.mark.parametrize("keep", [0.001, 0.01, 0.5, 0.9999])
def test_a_file_cut_short_is_refused(llama: Write, keep: float) -> None:
    path = llama()
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * keep)])

    line = refusal(path)

    assert "cut short" in line
    assert line.endswith("download it again")


def test_a_name_that_is_no_text_is_refused(llama: Write) -> None:
    path = llama()
    path.write_bytes(path.read_bytes().replace(b"blk.0.ffn_up", b"blk.0.\xff\xfen_up", 1))

    assert "is damaged or cut short: a name is not UTF-8 text" in refusal(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(4, 2500), value=st.binary(min_size=1, max_size=8))
def test_no_damage_to_the_header_leads_to_anything_but_a_refusal(
    llama: Write, at: int, value: bytes
) -> None:
    path = llama()
    content = bytearray(path.read_bytes())
    content[at : at + len(value)] = value
    path.write_bytes(content)

    with suppress(ModelError):  # or it is damage that does not matter
        model = open_model(str(path))
        for name in model.names():
            model.tensor(name)


@pytest.fixture(scope="module")
def reference(smollm2_file: Path) -> gguf.GGUFReader:
    """SmolLM2 as the gguf package reads it, which takes seconds."""
    return gguf.GGUFReader(smollm2_file)


def test_reading_a_header_reads_what_the_gguf_package_reads(
    reference: gguf.GGUFReader, smollm2_file: Path
) -> None:
    ours, theirs = read_gguf(smollm2_file), reference

    for key, field in theirs.fields.items():
        if not key.startswith("GGUF."):
            assert ours.metadata[key] == field.contents(), key
    assert {
        tensor.name: (tensor.tensor_type.name, tensor.data_offset, tensor.n_bytes)
        for tensor in theirs.tensors
    } == {name: (t.type, t.start, t.nbytes) for name, t in ours.tensors.items()}


@pytest.fixture(scope="module")
def smollm2(smollm2_file: Path) -> Model:
    return open_model(str(smollm2_file))


def test_the_real_smollm2_is_what_its_card_says(smollm2: Model) -> None:
    config = smollm2.config

    assert (config.layers, config.heads, config.kv_heads, config.head_dim) == (30, 9, 3, 64)
    assert (config.hidden_size, config.vocab_size, config.tied) == (576, 49152, True)
    assert (config.rope_theta, config.norm_eps, config.eos_ids) == (100_000.0, 1e-5, (2,))
    assert smollm2.dtype_native == "Q4_1"
    assert smollm2.digest == "gguf-07d6ca71f244bee2a6ca1335dc1672d1"


def test_the_real_weights_are_what_the_reference_makes_of_them(
    smollm2: Model, reference: gguf.GGUFReader
) -> None:
    stored = {tensor.name: tensor for tensor in reference.tensors}

    for ours, theirs in [
        ("model.embed_tokens.weight", "token_embd.weight"),
        ("model.layers.29.mlp.down_proj.weight", "blk.29.ffn_down.weight"),
        ("model.norm.weight", "output_norm.weight"),
    ]:
        tensor = stored[theirs]
        expected = gguf.quants.dequantize(tensor.data[:999], tensor.tensor_type)
        assert np.array_equal(smollm2.tensor(ours)[:999].numpy(), expected)
