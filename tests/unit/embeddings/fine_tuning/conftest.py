from __future__ import annotations

import numpy as np
import pytest

from embeddings.float_model import FloatModel
from embeddings.minilm import minilm_directory

LAYERS, HIDDEN, WIDE, TOKENS, HEADS = 2, 32, 64, 30522, 4


@pytest.fixture(scope="session")
def tiny() -> FloatModel:
    """A BERT with drawn weights and the real tokenizer."""
    from safetensors.numpy import save  # one of the optional parts: whoever asks for this has them

    chance = np.random.default_rng(5)

    def drawn(*shape: int) -> np.ndarray:
        return chance.normal(0.0, 0.2, shape).astype(np.float32)

    weights = {
        "embeddings.word_embeddings.weight": drawn(TOKENS, HIDDEN),
        "embeddings.position_embeddings.weight": drawn(512, HIDDEN),
        "embeddings.token_type_embeddings.weight": drawn(2, HIDDEN),
    }
    linear = {
        "attention.self.query": (HIDDEN, HIDDEN),
        "attention.self.key": (HIDDEN, HIDDEN),
        "attention.self.value": (HIDDEN, HIDDEN),
        "attention.output.dense": (HIDDEN, HIDDEN),
        "intermediate.dense": (WIDE, HIDDEN),
        "output.dense": (HIDDEN, WIDE),
    }
    norms = ["embeddings.LayerNorm"]
    for layer in range(LAYERS):
        prefix = f"encoder.layer.{layer}"
        norms += [f"{prefix}.attention.output.LayerNorm", f"{prefix}.output.LayerNorm"]
        for name, shape in linear.items():
            weights[f"{prefix}.{name}.weight"], weights[f"{prefix}.{name}.bias"] = drawn(*shape), drawn(shape[0])
    for name in norms:
        weights[f"{name}.weight"], weights[f"{name}.bias"] = 1.0 + drawn(HIDDEN), drawn(HIDDEN)
    config = {
        "model_type": "bert",
        "hidden_act": "gelu",
        "position_embedding_type": "absolute",
        "num_hidden_layers": LAYERS,
        "hidden_size": HIDDEN,
        "num_attention_heads": HEADS,
        "layer_norm_eps": 1e-12,
    }
    return FloatModel(save(weights), (minilm_directory() / "tokenizer.json").read_bytes(), config)
