"""BLIP-2's Q-Former behind one small interface: transformers' `Blip2ForImageTextRetrieval`, large and public or small and shipped.

    picture --frozen ViT--> vision tokens (b, v, w)          the same for ever, so they can be cached
    gallery: query tokens attend to vision tokens            -> image_projection, unit -> image_tokens (b, m, d)
    text:    word pieces alone, [CLS]                        -> text_projection,  unit -> text_embedding (b, d)
    query:   query tokens and word pieces see each other,
             query tokens alone see the vision tokens        -> mean of text_projection, unit -> joint_query (b, d)

Shapes: b batch, v vision tokens (257), w their width (1408), m query tokens (32), l word pieces, h width of the Q-Former (768), d joint
space (256); in brackets BLIP-2 with ViT-g. A gallery picture's score is the best of its m tokens: max_k <query, token_k>, as in BLIP-2.
The joint query is QuRe's (arXiv 2507.12416) composed query, and its ITM logits are BLIP-2's.

Two things differ from `model.forward` on purpose. The vision tower's last layer norm (LAVIS' `ln_vision`) belongs to the trainable part, as
in LAVIS, so vision tokens are those before it. And queries of any kind may pass without a picture, which SPRC's second pass needs.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import normalize

from cirlib._hashing import hash_tensors
from cirlib.backbones.devices import choose_device
from cirlib.backbones.qformer_checkpoint import read_qformer
from cirlib.backbones.qformer_text import BERT_POSITIONS, LAVIS_CONTEXT, OnLong, TextTokens, tokenize
from cirlib.data.transforms import ImageTransform, TransformName
from cirlib.types import InputError

DTYPES = (torch.float16, torch.bfloat16, torch.float32)


@dataclass(frozen=True)
class JointStates:
    """Last hidden states of the joint branch.

    Attributes:
        queries: (b, m, h) at the query tokens.
        text: (b, l, h) at the word pieces; meaningless where `tokens.mask` is 0.
        tokens: The texts that went in.
    """

    queries: Tensor
    text: Tensor
    tokens: TextTokens


class QFormer(nn.Module):
    """A BLIP-2 image-text retrieval model with its tokenizer and its preprocessing; frozen and in eval mode until `unfreeze`.

    Attributes:
        model: transformers' Blip2ForImageTextRetrieval. The Q-Former and everything trainable is float32.
        tokenizer: A fast BERT tokenizer.
        transform: Preprocessing of pictures.
        name: The name or folder that it was loaded by.
        context_length: Most word pieces of a text.
        token_dtype: Type of vision tokens, in memory and on disk.
    """

    def __init__(
        self, model: nn.Module, tokenizer: Any, transform: ImageTransform, name: str, context_length: int, token_dtype: torch.dtype
    ) -> None:
        super().__init__()
        self.model = model.requires_grad_(False)
        self.tokenizer = tokenizer
        self.transform = transform
        self.name = name
        self.context_length = context_length
        self.token_dtype = token_dtype
        self._vision_hash = ""  # computed when first asked for: the tower never changes
        self.eval()

    @property
    def device(self) -> torch.device:
        """Where the model lies."""
        return self.model.query_tokens.device

    @property
    def image_size(self) -> int:
        """Side of the input pictures, in pixels."""
        return self.transform.image_size

    @property
    def n_tokens(self) -> int:
        """Query tokens m, and vectors of a gallery picture."""
        return self.model.query_tokens.shape[1]

    @property
    def hidden_size(self) -> int:
        """Width h of the Q-Former."""
        return self.model.query_tokens.shape[2]

    @property
    def embed_dim(self) -> int:
        """Width d of the joint space (`image_text_hidden_size`)."""
        return self.model.config.image_text_hidden_size

    @property
    def vision_shape(self) -> tuple[int, int]:
        """Vision tokens v of a picture and their width w."""
        embeddings = self.model.vision_model.embeddings
        return embeddings.num_positions, embeddings.embed_dim

    @property
    def vision_tower(self) -> tuple[nn.Module, nn.Module]:
        """The frozen part: patch embeddings and encoder, without the last norm."""
        return self.model.vision_model.embeddings, self.model.vision_model.encoder

    @property
    def vision_fingerprint(self) -> dict[str, str]:
        """What decides the vision tokens, and nothing that training changes; the key of their cache."""
        if not self._vision_hash:
            self._vision_hash = hash_tensors([tensor for part in self.vision_tower for tensor in part.state_dict().values()])
        precision = str(next(self.vision_tower[1].parameters()).dtype)
        return {"vision": self._vision_hash, "transform": self.transform.fingerprint, "computed": precision, "kept": str(self.token_dtype)}

    @property
    def fingerprint(self) -> dict[str, str]:
        """What decides every output, hashed anew each time because training changes it."""
        frozen = {id(tensor) for part in self.vision_tower for tensor in part.state_dict(keep_vars=True).values()}
        rest = [tensor for tensor in self.model.state_dict(keep_vars=True).values() if id(tensor) not in frozen]
        return {**self.vision_fingerprint, "qformer": hash_tensors(rest), "context": str(self.context_length)}

    def unfreeze(self) -> "QFormer":
        """Let gradients reach all but the vision tower: Q-Former, query tokens, word embeddings, vision norm, projections, ITM head."""
        self.model.requires_grad_(True)
        for part in self.vision_tower:
            part.requires_grad_(False)
        return self

    def train(self, mode: bool = True) -> "QFormer":
        """Training or eval mode of everything but the vision tower, which stays in eval mode."""
        super().train(mode)
        for part in self.vision_tower:
            part.eval()
        return self

    def preset(self, name: TransformName) -> ImageTransform:
        """The preprocessing under another preset; QuRe and SPRC use "targetpad". Padded pictures are cropped, not squashed."""
        own = self.transform
        return ImageTransform(name, own.image_size, own.mean, own.std, own.interpolation, own.squash and name == "clip")

    def pixels(self, images: Sequence[Image.Image]) -> Float[Tensor, "b 3 s s"]:
        """Transformed pictures."""
        return torch.stack([self.transform(image) for image in images])

    @torch.no_grad()
    def vision_tokens(self, images: Sequence[Image.Image] | Float[Tensor, "b 3 s s"]) -> Float[Tensor, "b v w"]:
        """Tokens of the frozen vision tower before its last norm, as `token_dtype`; the class token is row 0.

        Args:
            images: Pictures, or transformed pictures from `pixels`.

        Raises:
            InputError: If a token is too large for `token_dtype`.
        """
        pixels = images if isinstance(images, Tensor) else self.pixels(images)
        embed, encode = self.vision_tower
        tokens = encode(inputs_embeds=embed(pixels.to(self.device))).last_hidden_state.to(self.token_dtype)
        if not tokens.isfinite().all():
            raise InputError(f"vision tokens of {self.name} do not fit into {self.token_dtype}; load it with another dtype")
        return tokens

    def query_states(self, vision_tokens: Float[Tensor, "b v w"]) -> Float[Tensor, "b m h"]:
        """Last hidden states of the query tokens with a picture and no text."""
        vision = self._norm(vision_tokens)
        queries = self.model.query_tokens.expand(len(vision), -1, -1)
        return self.model.qformer(query_embeds=queries, encoder_hidden_states=vision).last_hidden_state

    def image_tokens(self, vision_tokens: Float[Tensor, "b v w"]) -> Float[Tensor, "b m d"]:
        """The gallery side: m vectors a picture, each of unit length."""
        return normalize(self.model.vision_projection(self.query_states(vision_tokens)), dim=-1)

    def tokenize(self, texts: Sequence[str], *, on_long: OnLong = "truncate") -> TextTokens:
        """Cleaned texts as word pieces on the model's device; see `qformer_text.tokenize`."""
        tokens = tokenize(self.tokenizer, texts, self.context_length, on_long)
        return TextTokens(tokens.ids.to(self.device), tokens.mask.to(self.device), tokens.spans, tokens.texts)

    def text_embedding(self, texts: Sequence[str] | TextTokens) -> Float[Tensor, "b d"]:
        """Texts alone: the projected state of [CLS], of unit length."""
        tokens = self._tokens(texts)
        embedded = self.model.embeddings(input_ids=tokens.ids)
        states = self.model.qformer(query_embeds=embedded, query_length=0, attention_mask=tokens.mask).last_hidden_state
        return normalize(self.model.text_projection(states[:, 0]), dim=-1)

    def joint_states(
        self,
        vision_tokens: Float[Tensor, "b v w"] | None,
        texts: Sequence[str] | TextTokens,
        queries: Float[Tensor, "b m h"] | None = None,
    ) -> JointStates:
        """The joint branch: queries and word pieces attend to each other in both directions, queries alone attend to the picture.

        Padding is attended to by nothing. Positions are counted from 0 at [CLS]; queries have none.

        Args:
            vision_tokens: The picture, one per text. None leaves the cross-attention out, as SPRC's second pass and its prompts do.
            texts: One per picture.
            queries: In place of the learned query tokens; any number of them.
        """
        tokens = self._tokens(texts)
        vision = None if vision_tokens is None else self._norm(vision_tokens)
        if vision is not None and len(vision) != len(tokens):
            raise ValueError(f"{len(vision)} pictures and {len(tokens)} texts; the joint branch wants one text per picture")
        if queries is None:
            queries = self.model.query_tokens.expand(len(tokens), -1, -1)
        count = queries.shape[1]
        with _cross_attention(self.model.qformer, vision is not None):
            states = self.model.qformer(
                query_embeds=self.model.embeddings(input_ids=tokens.ids, query_embeds=queries),
                query_length=count,
                attention_mask=torch.cat([tokens.mask.new_ones(len(tokens), count), tokens.mask], dim=1),
                encoder_hidden_states=vision,
            ).last_hidden_state
        return JointStates(states[:, :count], states[:, count:], tokens)

    def joint_query(self, vision_tokens: Float[Tensor, "b v w"], texts: Sequence[str] | TextTokens) -> Float[Tensor, "b d"]:
        """The composed query: text_projection of every query state, their mean, then unit length (QuRe, composed query of its code)."""
        return normalize(self.model.text_projection(self.joint_states(vision_tokens, texts).queries).mean(dim=1), dim=-1)

    def matching_logits(self, vision_tokens: Float[Tensor, "b v w"], texts: Sequence[str] | TextTokens) -> Float[Tensor, "b 2"]:
        """Image-text matching (ITM), column 1 for "they belong together": the head on every query state, then the mean."""
        return self.model.itm_head(self.joint_states(vision_tokens, texts).queries).mean(dim=1)

    def _norm(self, vision_tokens: Tensor) -> Tensor:
        return self.model.vision_model.post_layernorm(vision_tokens.to(self.device, torch.float32))

    def _tokens(self, texts: Sequence[str] | TextTokens) -> TextTokens:
        return texts if isinstance(texts, TextTokens) else self.tokenize(texts)


@contextmanager
def _cross_attention(qformer: nn.Module, on: bool) -> Iterator[None]:
    """transformers refuses queries without a picture; a layer without cross-attention takes them."""
    layers = [] if on else [layer for layer in qformer.encoder.layer if layer.has_cross_attention]
    for layer in layers:
        layer.has_cross_attention = False
    try:
        yield
    finally:
        for layer in layers:
            layer.has_cross_attention = True


def load_qformer(
    name_or_folder: str | os.PathLike[str],
    device: str = "auto",
    dtype: torch.dtype | None = None,
    *,
    context_length: int | None = None,
    transform: TransformName = "clip",
) -> QFormer:
    """Load a Q-Former, frozen and in eval mode.

    Args:
        name_or_folder: "Salesforce/blip2-itm-vit-g" or another public name, or a folder with `config.json`, `preprocessor_config.json`,
            safetensors and tokenizer files.
        device: "auto" (this process's GPU if there is one, else the CPU), "cpu", "cuda", "cuda:1", ...
        dtype: What vision tokens are kept in: float16 (None, as LAVIS runs the tower), bfloat16 or float32. On a GPU the vision tower
            computes in it too, on a CPU in float32. All else is float32.
        context_length: Most word pieces of a text. None: 32 as LAVIS where the model has BERT's 512 positions, else all its positions.
        transform: Preset of the preprocessing; "clip" is the checkpoint's own.

    Raises:
        InputError: If the checkpoint cannot be found or used, or a setting is not known.
    """
    if dtype not in (None, *DTYPES):
        raise InputError(f"dtype {dtype} is not known; choose torch.float16, torch.bfloat16 or torch.float32")
    chosen, token_dtype = choose_device(device), dtype or torch.float16
    files = read_qformer(name_or_folder)
    positions = files.model.config.qformer_config.max_position_embeddings
    length = context_length or (LAVIS_CONTEXT if positions == BERT_POSITIONS else positions)
    if not 3 <= length <= positions:
        raise InputError(f"a context of {length} word pieces was asked for; {name_or_folder} reads 3 to {positions}")
    qformer = QFormer(files.model.to(chosen), files.tokenizer, files.transform, os.fspath(name_or_folder), length, token_dtype)
    qformer.transform = qformer.preset(transform)
    if chosen.type == "cuda":
        for part in qformer.vision_tower:
            part.to(token_dtype)
    return qformer
