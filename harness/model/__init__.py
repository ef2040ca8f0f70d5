"""The reference LLM: where weights and tokens come from; `harness.model.decoder` computes with it.

Importing this brings no torch: what needs it imports it when called.
"""

from harness.model.config import ModelConfig, RopeScaling
from harness.model.presets import PRESETS
from harness.model.source import Model, open_model
from harness.model.tokenizer import Tokenizer

__all__ = ["PRESETS", "Model", "ModelConfig", "RopeScaling", "Tokenizer", "open_model"]
