"""The training loop: cross-entropy over cosines to one vector an intent, which starts as the mean of its examples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from embeddings.fine_tuning.bert import Bert, pack

ENCODE_BATCH = 128


@dataclass(frozen=True, slots=True)
class Settings:
    """`rate` is the last layer's; each one below learns `layer_decay` times as fast. `scale` multiplies the cosines. `warm_up` is a share
    of all steps."""

    epochs: int
    batch: int = 64
    rate: float = 2e-4
    layer_decay: float = 0.8
    head_rate: float = 1e-2
    scale: float = 20.0
    weight_decay: float = 0.01
    warm_up: float = 0.1
    dropout: float = 0.1
    seed: int = 0


def steps(texts: int, settings: Settings) -> int:
    return settings.epochs * -(-texts // settings.batch)


def fine_tune(model: Bert, texts: Sequence[Sequence[int]], labels: Sequence[int], settings: Settings, told: Callable[[int], None]) -> None:
    """Changes `model` in place; `texts` are token ids, `told` gets the number of steps done. The same inputs on the same kind of processor
    give the same weights."""
    torch.manual_seed(settings.seed)
    shuffle = np.random.default_rng(settings.seed)
    targets = torch.tensor(labels)
    head = torch.nn.Parameter(_means(vectors(model, texts), targets))
    optimiser = _optimiser(model, head, settings)
    total = steps(len(texts), settings)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, _warmed_up(total, settings.warm_up))
    model.train()
    done = 0
    for _ in range(settings.epochs):
        order = shuffle.permutation(len(texts))
        for start in range(0, len(order), settings.batch):
            rows = order[start : start + settings.batch]
            with _half():
                hidden = model(pack([texts[row] for row in rows]))
            cosines = functional.normalize(hidden.float(), dim=-1) @ functional.normalize(head, dim=-1).T
            functional.cross_entropy(settings.scale * cosines, targets[rows]).backward()
            optimiser.step()
            optimiser.zero_grad()
            schedule.step()
            done += 1
            told(done)
    model.eval()


def vectors(model: Bert, texts: Sequence[Sequence[int]]) -> Tensor:
    """Unit vectors (n, hidden)."""
    model.eval()
    order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
    found = torch.empty(len(texts), model.words.weight.shape[1])
    with torch.no_grad(), _half():
        for start in range(0, len(texts), ENCODE_BATCH):
            rows = order[start : start + ENCODE_BATCH]
            found[rows] = functional.normalize(model(pack([texts[row] for row in rows])).float(), dim=-1)
    return found


def _half() -> AbstractContextManager[object]:
    """bfloat16 where the processor computes in it: nearly twice as fast there, and slow elsewhere."""
    return torch.autocast("cpu", torch.bfloat16) if torch.ops.mkldnn._is_mkldnn_bf16_supported() else nullcontext()


def _means(found: Tensor, targets: Tensor) -> Tensor:
    sums = torch.zeros(int(targets.max()) + 1, found.shape[1]).index_add(0, targets, found)
    return functional.normalize(sums, dim=-1)


def _warmed_up(total: int, share: float) -> Callable[[int], float]:
    warm = max(1, round(share * total))
    return lambda step: min((step + 1) / warm, (total - step) / max(1, total - warm))


def _optimiser(model: Bert, head: torch.nn.Parameter, settings: Settings) -> torch.optim.AdamW:
    """The tables of words and positions stay: they are half of the weights, and most rows of them are in no example."""
    model.words.weight.requires_grad_(False)
    model.positions.weight.requires_grad_(False)
    groups = [{"params": [head], "lr": settings.head_rate, "weight_decay": 0.0}]
    depth = len(model.layers)
    for number, part in enumerate((model.norm, *model.layers)):
        rate = settings.rate * settings.layer_decay ** (depth - number)
        groups.append({"params": list(part.parameters()), "lr": rate, "weight_decay": settings.weight_decay})
    return torch.optim.AdamW(groups, fused=True)
