"""Learnable attribute weights: how far the colour and the shape that a text names may pull the composed query.

    u_a  mean of the text states H_t at the words of group a                                          (b, h)
    z_a  what the attribute adds: attention of u_a over the query states H_q, then a projection        (b, d)
    w_a  its weight, in (0, 1): sigmoid(b_a + <g_a, LN(u_a)>)                                          (b)

That there are learnable weights for colour and shape inside the composed query is the paper's; every formula here is our choice, because
the paper's could not be read. `mode` chooses among them:

    none    no attributes: QuRe's query
    scalar  z_a = text_projection(u_a), w_a = sigmoid(b_a): one new number per group
    gated   as above (default)
    token   the words themselves are made louder before a second pass of the Q-Former, see `ComposedQuery`; w_a as in "gated"

Shapes: b batch, a attribute groups, m query tokens, l word pieces, h width of the Q-Former, d joint space.
"""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from cirlib.backbones.qformer import JointStates, QFormer
from cirlib.backbones.qformer_text import TextTokens
from cirlib.data.attribute_words import GROUPS, attribute_words, word_spans
from cirlib.types import InputError

Mode = Literal["none", "scalar", "gated", "token"]
Absent = Literal["skip", "prototype"]
START_BIAS = -2.0  # weights start at sigmoid(-2) = 0.119 for every text


@dataclass(frozen=True)
class AttributeParts:
    """What attributes add to a batch of queries.

    Attributes:
        features: (b, a, d) z_a, not normalised. Where `present` is False they mean nothing.
        present: (b, a) whether the attribute acts on the query.
        weights: (b, a) w_a in (0, 1). Where `present` is False they mean nothing.
    """

    features: Tensor
    present: Tensor
    weights: Tensor


def word_masks(tokens: TextTokens, groups: Sequence[str]) -> Bool[Tensor, "b a l"]:
    """Word pieces that belong to a word of each group; all pieces of "v-neck" are marked, and what was cut off a long text is not there.

    Args:
        tokens: Texts as word pieces.
        groups: Names of word groups, see `cirlib.data.attribute_words`.
    """
    masks = [[[False] * tokens.ids.shape[1] for _ in groups] for _ in tokens.texts]
    for row, (text, spans) in enumerate(zip(tokens.texts, tokens.spans.tolist(), strict=True)):
        for word, first, after in word_spans(text):
            for column, group in enumerate(groups):
                if word in attribute_words(group):
                    for place, (start, end) in enumerate(spans):
                        masks[row][column][place] |= first <= start < end <= after
    shape = len(tokens), len(groups), tokens.ids.shape[1]
    return torch.tensor(masks, dtype=torch.bool, device=tokens.ids.device).reshape(shape)


class AttributeWeights(nn.Module):
    """Features and weights of the attributes that texts name.

    Args:
        qformer: Gives the sizes, and the text projection that z_a's projection starts from.
        mode: See the module.
        groups: Word groups; "color" and "shape" are the paper's, "texture" is ours. Mode "none" has none.
        absent: Where a text names no word of a group: "skip" leaves the query as it is; "prototype" puts a learned vector in place of u_a,
            so that the attribute acts on every query. CIRR and CIRCO name neither in more than half of their texts.
        seed: Of the new matrices.

    Raises:
        InputError: If a setting is not known, or the mode cannot do without words.
    """

    def __init__(
        self, qformer: QFormer, mode: Mode = "gated", groups: Sequence[str] = ("color", "shape"), absent: Absent = "skip", seed: int = 0
    ) -> None:
        super().__init__()
        if mode not in get_args(Mode) or absent not in get_args(Absent):
            raise InputError(f"mode {mode!r} with absent {absent!r}; choose from {get_args(Mode)} and {get_args(Absent)}")
        if mode == "token" and absent == "prototype":
            raise InputError("mode 'token' makes words louder, and a prototype has no words; choose absent 'skip' or another mode")
        if mode != "none" and (not groups or len(set(groups)) < len(groups) or not set(groups) <= set(GROUPS)):
            raise InputError(f"attribute groups {tuple(groups)} given; name one or more of {', '.join(GROUPS)}, each once")
        self.mode, self.absent = mode, absent
        self.groups = () if mode == "none" else tuple(groups)
        generator = torch.Generator().manual_seed(seed)
        self.parts = nn.ModuleDict({group: _Attribute(qformer, mode, absent, generator) for group in self.groups}).to(qformer.device)

    def forward(self, joint: JointStates, masks: Bool[Tensor, "b a l"], text_projection: nn.Module) -> AttributeParts:
        """Features and weights of a batch.

        Args:
            joint: States of the Q-Former's joint branch.
            masks: Word pieces of each group, from `word_masks`.
            text_projection: The Q-Former's own; "scalar" and "token" use it for z_a.
        """
        named = masks.any(dim=2)  # (b, a)
        counts = masks.sum(dim=2).clamp(min=1).unsqueeze(2)
        means = torch.einsum("bal,blh->bah", masks.to(joint.text.dtype), joint.text) / counts  # (b, a, h)
        batch, width = len(named), text_projection.out_features
        if not self.groups:
            return AttributeParts(means.new_zeros(batch, 0, width), named, means.new_zeros(batch, 0))
        found = [part(means[:, a], named[:, a], joint.queries, text_projection) for a, part in enumerate(self.parts.values())]
        features, weights = (torch.stack(values, dim=1) for values in zip(*found, strict=True))
        return AttributeParts(features, torch.ones_like(named) if self.absent == "prototype" else named, weights)


class _Attribute(nn.Module):
    """Parameters of one attribute group; which there are depends on the mode."""

    def __init__(self, qformer: QFormer, mode: Mode, absent: Absent, generator: torch.Generator) -> None:
        super().__init__()
        width, dim = qformer.hidden_size, qformer.embed_dim
        self.bias = nn.Parameter(torch.tensor([START_BIAS]))
        self.prototype = nn.Parameter(torch.randn(width, generator=generator)) if absent == "prototype" else None
        if mode in ("gated", "token"):
            self.norm = nn.LayerNorm(width)
            self.gate = nn.Parameter(torch.zeros(width))  # 0: the same weight for every text until the data asks for more
        if mode == "gated":
            self.key_text, self.key_query = (nn.utils.skip_init(nn.Linear, width, dim, bias=False) for _ in range(2))
            for key in (self.key_text, self.key_query):
                nn.init.xavier_uniform_(key.weight, generator=generator)
            self.projection = copy.deepcopy(qformer.model.text_projection).requires_grad_(True)  # z_a starts in the joint space
        self.mode = mode

    def forward(
        self, mean: Float[Tensor, "b h"], named: Bool[Tensor, " b"], queries: Float[Tensor, "b m h"], text_projection: nn.Module
    ) -> tuple[Float[Tensor, "b d"], Float[Tensor, " b"]]:
        if self.prototype is not None:
            mean = torch.where(named.unsqueeze(1), mean, self.prototype)
        if self.mode == "scalar":
            return text_projection(mean), torch.sigmoid(self.bias).expand(len(mean))
        weight = torch.sigmoid(self.bias + self.norm(mean) @ self.gate)
        if self.mode == "token":
            return text_projection(mean), weight
        scores = torch.einsum("bd,bmd->bm", self.key_text(mean), self.key_query(queries)) / math.sqrt(self.key_text.out_features)
        pooled = torch.einsum("bm,bmh->bh", scores.softmax(dim=1), queries)
        return self.projection(pooled), weight
