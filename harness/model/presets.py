"""Shapes of well-known models, for seeded weights: nothing is downloaded."""

from harness.model.config import ModelConfig, RopeScaling

__all__ = ["PRESETS"]

PRESETS: dict[str, ModelConfig] = {
    "tiny": ModelConfig(
        vocab_size=512, hidden_size=64, intermediate_size=192, layers=2, heads=4, kv_heads=2,
        head_dim=16, max_context=1024, tied=True,
    ),
    "small": ModelConfig(
        vocab_size=8192, hidden_size=256, intermediate_size=768, layers=8, heads=8, kv_heads=4,
        head_dim=32, max_context=2048, tied=True,
    ),
    "smollm2-135m": ModelConfig(
        vocab_size=49152, hidden_size=576, intermediate_size=1536, layers=30, heads=9, kv_heads=3,
        head_dim=64, max_context=8192, rope_theta=100_000.0, tied=True, bos_id=1, eos_ids=(2,),
    ),
    "qwen2.5-0.5b": ModelConfig(
        vocab_size=151936, hidden_size=896, intermediate_size=4864, layers=24, heads=14,
        kv_heads=2, head_dim=64, max_context=32768, rope_theta=1_000_000.0, norm_eps=1e-6,
        tied=True, qkv_bias=True, bos_id=151643, eos_ids=(151645, 151643),
    ),
    "llama-3.2-1b": ModelConfig(
        vocab_size=128256, hidden_size=2048, intermediate_size=8192, layers=16, heads=32,
        kv_heads=8, head_dim=64, max_context=131072, rope_theta=500_000.0,
        rope_scaling=RopeScaling(32.0, 1.0, 4.0, 8192), tied=True, bos_id=128000,
        eos_ids=(128001, 128008, 128009),
    ),
    "llama-3.1-8b": ModelConfig(
        vocab_size=128256, hidden_size=4096, intermediate_size=14336, layers=32, heads=32,
        kv_heads=8, head_dim=128, max_context=131072, rope_theta=500_000.0,
        rope_scaling=RopeScaling(8.0, 1.0, 4.0, 8192), tied=False, bos_id=128000,
        eos_ids=(128001, 128008, 128009),
    ),
}  # fmt: skip
