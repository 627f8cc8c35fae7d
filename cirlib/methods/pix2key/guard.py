"""The guard of V-Dict-AE: keep the slot-fed model saying what the stock model says of the same picture. Not in the paper, our choice.

The diffusion loss trains hidden states and not text, so nothing in the paper's objective keeps the dictionaries well-formed. The guard is
self-distillation: the divergence between the stock model's next-token distributions on its own dictionary text and those of the slot-fed
model. It needs pictures only. The stock side is computed once per picture and kept as its most likely tokens and the mass of the rest,
which bounds the divergence from below and takes a thousandth of the memory at the vocabulary of Qwen.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from PIL import Image
from torch import Tensor
from tqdm import tqdm

KEPT = 32  # tokens kept at each place
SMALLEST = 1e-7  # floor of a probability mass, against log(0)


@dataclass(frozen=True)
class StockAnswer:
    """What the stock model says of one picture.

    Attributes:
        text: Its answer.
        tokens: (t, k) most likely tokens at each place of the answer, the end of the turn included.
        probs: (t, k) their probabilities.
    """

    text: str
    tokens: Tensor
    probs: Tensor


@torch.no_grad()
def stock_answers(
    vlm, images: Sequence[Image.Image], prompt: str, texts: Sequence[str], batch: int = 32, progress: bool = True
) -> list[StockAnswer]:
    """The stock model's next-token distributions along its own texts.

    Args:
        vlm: A `VisionLanguageModel`, its adapters off.
        images: Pictures of one size.
        prompt: The prompt that the texts answer.
        texts: One answer per picture.
        batch: Pictures a forward pass.
        progress: Show a bar.
    """
    answers: list[StockAnswer] = []
    for start in tqdm(range(0, len(images), batch), desc="Stock answers", unit="batch", disable=not progress):
        part = texts[start : start + batch]
        logits, mask, _ = vlm.answer_logits_from_images(images[start : start + batch], prompt, part)
        probs, tokens = logits.float().softmax(-1).topk(min(KEPT, logits.shape[-1]), dim=-1)  # (b, t, k)
        for row, text in enumerate(part):
            answers.append(StockAnswer(text, tokens[row][mask[row]].int().cpu(), probs[row][mask[row]].cpu()))
    return answers


def stack_answers(answers: Sequence[StockAnswer], mask: Bool[Tensor, "b t"]) -> tuple[Int[Tensor, "b t k"], Float[Tensor, "b t k"]]:
    """Tokens and probabilities of a batch, laid out at the places where `mask` is true; zeros elsewhere."""
    kept = answers[0].tokens.shape[1]
    tokens = torch.zeros(*mask.shape, kept, dtype=torch.long, device=mask.device)
    probs = torch.zeros(*mask.shape, kept, device=mask.device)
    tokens[mask] = torch.cat([answer.tokens for answer in answers]).to(mask.device).long()
    probs[mask] = torch.cat([answer.probs for answer in answers]).to(mask.device)
    return tokens, probs


def guard_loss(
    logits: Float[Tensor, "b t v"], mask: Bool[Tensor, "b t"], tokens: Int[Tensor, "b t k"], probs: Float[Tensor, "b t k"]
) -> Float[Tensor, ""]:
    """Mean over places of KL(stock || slot-fed), over the kept tokens and one bin for all others.

    Args:
        logits: Of the slot-fed model.
        mask: Places that belong to an answer; at least one.
        tokens: The stock model's most likely tokens.
        probs: Their probabilities.

    Returns:
        In nats a token, 0 or more, 0 exactly where both agree.

    Example:
        >>> logits = torch.tensor([[[2.0, 1.0, 0.0]]])
        >>> guard_loss(logits, torch.tensor([[True]]), torch.tensor([[[0, 1, 2]]]), logits.softmax(-1)).abs().item() < 1e-6
        True
    """
    own = logits[mask].float().log_softmax(-1).gather(-1, tokens[mask])  # (m, k)
    stock = probs[mask]
    kept = (stock * (stock.clamp_min(SMALLEST).log() - own)).sum(-1)
    stock_rest = (1 - stock.sum(-1)).clamp_min(SMALLEST)
    own_rest = (1 - own.exp().sum(-1)).clamp_min(SMALLEST)
    return (kept + stock_rest * (stock_rest.log() - own_rest.log())).mean()
