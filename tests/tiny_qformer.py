"""Tiny random Q-Formers in the layout of a real folder, and their forward passes written out by hand: one text at a time, no padding."""

import json
import math
from pathlib import Path

import torch
from torch import Tensor

SENTENCES = ("is red and v-neck with shorter sleeves", "a long blue dress", "the same but darker, no belt")
VISION = {"hidden_size": 24, "intermediate_size": 36, "num_hidden_layers": 2, "num_attention_heads": 3, "image_size": 24, "patch_size": 8}
QFORMER = {"hidden_size": 32, "intermediate_size": 40, "num_hidden_layers": 3, "num_attention_heads": 4, "max_position_embeddings": 24}


def write_tiny_qformer(folder: Path, *, seed: int = 0, **qformer: int) -> Path:
    """A random model of 3 query tokens and 12 joint dimensions, biases and norms random too, so that no slip hides behind a zero."""
    from cirlib.backbones.qformer_miniature import build_model, build_tokenizer, save_qformer

    sizes = QFORMER | qformer
    tokenizer = build_tokenizer(SENTENCES, sizes["max_position_embeddings"], least=1)
    model = build_model(tokenizer, VISION, sizes, num_query_tokens=3, image_text_hidden_size=12)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.normal_(float("norm" in name.lower() and name.endswith("weight")), 0.3, generator=generator)
    save_qformer(folder, model, tokenizer)
    return folder


def change_config(folder: Path, file: str, **values) -> Path:
    """Overwrite keys of one of the folder's JSON files."""
    config = json.loads((folder / file).read_text()) | values
    (folder / file).write_text(json.dumps(config))
    return folder


class ByHand:
    """BLIP-2 in float64 with plain matrices, for one picture and one text."""

    def __init__(self, model: torch.nn.Module) -> None:
        self.weights = {name: weight.detach().double() for name, weight in model.state_dict().items()}
        self.vision, self.config = model.config.vision_config, model.config.qformer_config

    def linear(self, x: Tensor, name: str) -> Tensor:
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def norm(self, x: Tensor, name: str, eps: float) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        spread = (centred.square().mean(-1, keepdim=True) + eps).sqrt()
        return centred / spread * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]

    @staticmethod
    def gelu(x: Tensor) -> Tensor:
        return x / 2 * (1 + torch.erf(x / math.sqrt(2)))

    @staticmethod
    def attend(query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
        width = query.shape[1] // heads
        parts = []
        for head in range(heads):
            cut = slice(head * width, (head + 1) * width)
            parts.append((query[:, cut] @ key[:, cut].T / math.sqrt(width)).softmax(-1) @ value[:, cut])
        return torch.cat(parts, 1)

    def vision_tokens(self, pixels: Tensor) -> Tensor:
        """(3, s, s) to (v, w), before the last norm."""
        side, root = self.vision.patch_size, "vision_model.embeddings"
        kernel, bias = self.weights[f"{root}.patch_embedding.weight"], self.weights[f"{root}.patch_embedding.bias"]
        count = pixels.shape[1] // side
        patches = [
            (kernel * pixels.double()[:, row * side : (row + 1) * side, column * side : (column + 1) * side]).sum((1, 2, 3)) + bias
            for row in range(count)
            for column in range(count)
        ]
        x = torch.stack([self.weights[f"{root}.class_embedding"][0, 0], *patches]) + self.weights[f"{root}.position_embedding"][0]
        for number in range(self.vision.num_hidden_layers):
            layer = f"vision_model.encoder.layers.{number}"
            query, key, value = self.linear(self.norm(x, f"{layer}.layer_norm1", 1e-6), f"{layer}.self_attn.qkv").chunk(3, 1)
            x = x + self.linear(self.attend(query, key, value, self.vision.num_attention_heads), f"{layer}.self_attn.projection")
            inner = self.gelu(self.linear(self.norm(x, f"{layer}.layer_norm2", 1e-6), f"{layer}.mlp.fc1"))
            x = x + self.linear(inner, f"{layer}.mlp.fc2")
        return x

    def block(self, x: Tensor, memory: Tensor, name: str) -> Tensor:
        """Attention of x to memory, residual, norm."""
        query, key, value = (self.linear(y, f"{name}.attention.{k}") for y, k in ((x, "query"), (memory, "key"), (memory, "value")))
        out = self.linear(self.attend(query, key, value, self.config.num_attention_heads), f"{name}.output.dense")
        return self.norm(out + x, f"{name}.output.LayerNorm", self.config.layer_norm_eps)

    def feed(self, x: Tensor, layer: str, suffix: str) -> Tensor:
        inner = self.gelu(self.linear(x, f"{layer}.intermediate{suffix}.dense"))
        return self.norm(self.linear(inner, f"{layer}.output{suffix}.dense") + x, f"{layer}.output{suffix}.LayerNorm", 1e-12)

    def qformer(self, queries: Tensor, ids: list[int], vision: Tensor | None) -> tuple[Tensor, Tensor]:
        """States of (m, h) queries and of word pieces; `vision` (v, w) before its norm, or none."""
        words = self.weights["embeddings.word_embeddings.weight"][ids] + self.weights["embeddings.position_embeddings.weight"][: len(ids)]
        x, count = self.norm(torch.cat([queries, words]), "qformer.layernorm", 1e-12), len(queries)
        for number in range(self.config.num_hidden_layers):
            layer = f"qformer.encoder.layer.{number}"
            x = self.block(x, x, f"{layer}.attention")
            query, text = x[:count], x[count:]
            if number % 2 == 0 and vision is not None and count:
                query = self.block(query, self.norm(vision.double(), "vision_model.post_layernorm", 1e-6), f"{layer}.crossattention")
            x = torch.cat([self.feed(query, layer, "_query"), self.feed(text, layer, "")])
        return x[:count], x[count:]

    def image_tokens(self, vision: Tensor) -> Tensor:
        states, _ = self.qformer(self.weights["query_tokens"][0], [], vision)
        rows = self.linear(states, "vision_projection")
        return rows / rows.norm(dim=1, keepdim=True)

    def text_embedding(self, ids: list[int]) -> Tensor:
        _, states = self.qformer(torch.empty(0, self.config.hidden_size, dtype=torch.float64), ids, None)
        row = self.linear(states[0], "text_projection")
        return row / row.norm()

    def joint_query(self, vision: Tensor, ids: list[int]) -> Tensor:
        states, _ = self.qformer(self.weights["query_tokens"][0], ids, vision)
        row = torch.stack([self.linear(state, "text_projection") for state in states]).mean(0)
        return row / row.norm()

    def matching_logits(self, vision: Tensor, ids: list[int]) -> Tensor:
        states, _ = self.qformer(self.weights["query_tokens"][0], ids, vision)
        return self.linear(states, "itm_head").mean(0)
