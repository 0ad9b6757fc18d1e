"""The encoder (BERT, mean pooling) in PyTorch, to and from the names that its safetensors file uses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from embeddings.bert_graph import BertShape

PARTS = {
    "attended": "attention.output.dense",
    "attended_norm": "attention.output.LayerNorm",
    "up": "intermediate.dense",
    "down": "output.dense",
    "down_norm": "output.LayerNorm",
}
ENDS = ("weight", "bias")
FAR = -1e4  # a score that no attention is left of, in bfloat16 too


@dataclass(frozen=True, slots=True)
class Packed:
    """Texts of token ids laid end to end (tokens,), so that padding costs nothing outside attention; `slots` (tokens,) says where each
    stands in the padded rectangle `shape` (texts, longest), `mask` (texts, 1, 1, longest) what of it is text."""

    ids: Tensor
    positions: Tensor
    rows: Tensor
    slots: Tensor
    lengths: Tensor
    mask: Tensor
    shape: tuple[int, int]


def pack(texts: Sequence[Sequence[int]]) -> Packed:
    lengths = torch.tensor([len(text) for text in texts])
    count, longest = len(texts), int(lengths.max())
    rows = torch.repeat_interleave(torch.arange(count), lengths)
    starts = torch.cumsum(lengths, 0) - lengths
    positions = torch.arange(int(lengths.sum())) - starts[rows]
    ids = torch.tensor([token for text in texts for token in text])
    mask = (torch.arange(longest)[None, :] < lengths[:, None])[:, None, None, :]
    return Packed(ids, positions, rows, rows * longest + positions, lengths, mask, (count, longest))


class Layer(nn.Module):
    def __init__(self, shape: BertShape, wide: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = shape.heads, dropout
        self.qkv = nn.Linear(shape.hidden, 3 * shape.hidden)
        self.attended = nn.Linear(shape.hidden, shape.hidden)
        self.attended_norm = nn.LayerNorm(shape.hidden, shape.layer_norm_epsilon)
        self.up = nn.Linear(shape.hidden, wide)
        self.down = nn.Linear(wide, shape.hidden)
        self.down_norm = nn.LayerNorm(shape.hidden, shape.layer_norm_epsilon)

    def forward(self, tokens: Tensor, batch: Packed) -> Tensor:
        """tokens (tokens, hidden) to the same."""
        attended = self.attended(self._attention(tokens, batch))
        tokens = self.attended_norm(tokens + functional.dropout(attended, self.dropout, self.training))
        narrow = self.down(functional.gelu(self.up(tokens)))
        normed: Tensor = self.down_norm(tokens + functional.dropout(narrow, self.dropout, self.training))
        return normed

    def _attention(self, tokens: Tensor, batch: Packed) -> Tensor:
        """Written out: the fused one spends most of a short text's training step in its backward pass on a CPU."""
        texts, longest = batch.shape
        hidden = tokens.shape[1]
        projected = self.qkv(tokens)
        padded = projected.new_zeros(texts * longest, 3 * hidden).index_copy(0, batch.slots, projected)
        query, key, value = padded.view(texts, longest, 3, self.heads, hidden // self.heads).permute(2, 0, 3, 1, 4)
        scores = (query @ key.transpose(-1, -2)) * (query.shape[-1] ** -0.5)
        context = scores.masked_fill(~batch.mask, FAR).softmax(-1).to(value.dtype) @ value
        return context.transpose(1, 2).reshape(texts * longest, hidden).index_select(0, batch.slots)


class Bert(nn.Module):
    """`forward` gives mean-pooled vectors (texts, hidden), not normalised."""

    def __init__(self, weights: Mapping[str, Tensor], shape: BertShape, dropout: float) -> None:
        super().__init__()
        vocabulary, hidden = weights["embeddings.word_embeddings.weight"].shape
        wide = weights["encoder.layer.0.intermediate.dense.weight"].shape[0]
        self.words = nn.Embedding(vocabulary, hidden)
        self.positions = nn.Embedding(weights["embeddings.position_embeddings.weight"].shape[0], hidden)
        self.norm = nn.LayerNorm(hidden, shape.layer_norm_epsilon)
        self.layers = nn.ModuleList(Layer(shape, wide, dropout) for _ in range(shape.layers))
        self.dropout = dropout
        self.load_state_dict(_state(weights, shape.layers))

    def forward(self, batch: Packed) -> Tensor:
        tokens = self.norm(self.words(batch.ids) + self.positions(batch.positions))
        tokens = functional.dropout(tokens, self.dropout, self.training)
        for layer in self.layers:
            tokens = layer(tokens, batch)
        total = tokens.new_zeros(batch.shape[0], tokens.shape[1]).index_add(0, batch.rows, tokens)
        return total / batch.lengths[:, None]

    def published(self) -> dict[str, Tensor]:
        """Under the names of the safetensors file; the one segment is part of the positions, its table is zero."""
        state = {name: value.detach().clone() for name, value in self.state_dict().items()}
        hidden = state["words.weight"].shape[1]
        out = {
            "embeddings.word_embeddings.weight": state["words.weight"],
            "embeddings.position_embeddings.weight": state["positions.weight"],
            "embeddings.token_type_embeddings.weight": torch.zeros(2, hidden),
        }
        for end in ENDS:
            out[f"embeddings.LayerNorm.{end}"] = state[f"norm.{end}"]
            for layer in range(len(self.layers)):
                prefix = f"encoder.layer.{layer}"
                thirds = state[f"layers.{layer}.qkv.{end}"].chunk(3)
                for part, value in zip(("query", "key", "value"), thirds, strict=True):
                    out[f"{prefix}.attention.self.{part}.{end}"] = value.contiguous()
                for ours, theirs in PARTS.items():
                    out[f"{prefix}.{theirs}.{end}"] = state[f"layers.{layer}.{ours}.{end}"]
        return out


def _state(weights: Mapping[str, Tensor], layers: int) -> dict[str, Tensor]:
    """One segment only: its vector is added to every position."""
    state = {
        "words.weight": weights["embeddings.word_embeddings.weight"],
        "positions.weight": weights["embeddings.position_embeddings.weight"] + weights["embeddings.token_type_embeddings.weight"][0],
    }
    for end in ENDS:
        state[f"norm.{end}"] = weights[f"embeddings.LayerNorm.{end}"]
        for layer in range(layers):
            prefix = f"encoder.layer.{layer}"
            projections = [weights[f"{prefix}.attention.self.{part}.{end}"] for part in ("query", "key", "value")]
            state[f"layers.{layer}.qkv.{end}"] = torch.cat(projections)
            for ours, theirs in PARTS.items():
                state[f"layers.{layer}.{ours}.{end}"] = weights[f"{prefix}.{theirs}.{end}"]
    return state
