"""CLIP: pictures and sentences into one space. Any OpenCLIP model, by name or from a folder, frozen.

`load_clip` is the only way in; `Clip` gives embeddings, tokens and the text tower (through `clip_text`) to every method.
"""

import os
import warnings
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from PIL import Image
from torch import Tensor, nn

from cirlib.backbones.clip_checkpoint import CONFIG_FILE, TOKENIZER_FILE, Checkpoint, find_checkpoint
from cirlib.backbones.devices import choose_device
from cirlib.data.transforms import CLIP_MEAN, CLIP_STD, ImageTransform
from cirlib.types import ImageSet, InputError

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
CLIP_VOCABULARY = 49408  # size of CLIP's own byte pair vocabulary, which OpenCLIP carries


@dataclass(frozen=True)
class ImageTokens:
    """Every token of an image tower, the class token first.

    Attributes:
        projected: (b, 1+p, d) after the last norm and the visual projection; row 0 is the image embedding.
        hidden: (b, 1+p, w) after the last norm only.
    """

    projected: Tensor
    hidden: Tensor


class Clip:
    """A frozen OpenCLIP model with its tokenizer and its preprocessing.

    Attributes:
        model: The OpenCLIP model, in eval mode, float32 weights, no gradients to its parameters.
        tokenizer: OpenCLIP's tokenizer.
        transform: The checkpoint's own preprocessing (preset "clip").
        checkpoint: Where it came from.
        checkpoint_hash: SHA-256 of the weights file.
        device: Where the model lies.
        precision: "fp32", or the type that autocast uses ("bf16", "fp16").
    """

    def __init__(self, model: nn.Module, tokenizer: Any, checkpoint: Checkpoint, device: torch.device, precision: str) -> None:
        self.model = model.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.checkpoint = checkpoint
        self.checkpoint_hash = checkpoint.content_hash()
        self.device = device
        self.precision = precision
        self.transform = _own_transform(checkpoint, model)

    @property
    def name(self) -> str:
        """The name or folder that the model was loaded by."""
        return self.checkpoint.name

    @property
    def image_size(self) -> int:
        """Side of the input pictures, in pixels."""
        return self.transform.image_size

    @property
    def context_length(self) -> int:
        """Most tokens of a text, the start and end tokens included."""
        return self.model.context_length

    @property
    def embedding_dim(self) -> int:
        """Width d of the joint space."""
        return self.checkpoint.model["embed_dim"]

    @property
    def logit_scale(self) -> float:
        """The learned multiplier of cosine similarities, exp(log scale)."""
        return self.model.logit_scale.exp().item()

    def preset(self, name: str) -> ImageTransform:
        """The checkpoint's preprocessing under another preset: "clip", "targetpad" or "squarepad"."""
        own = self.transform
        return ImageTransform(name, own.image_size, own.mean, own.std, own.interpolation, own.squash)

    def fingerprint(self, transform: ImageTransform | None = None) -> dict[str, str]:
        """What decides an image embedding; the key of the caches and part of every report."""
        return {
            "checkpoint": self.checkpoint_hash,
            "config": self.checkpoint.config_hash(),
            "transform": (transform or self.transform).fingerprint,
            "precision": self.precision,
        }

    def autocast(self) -> AbstractContextManager:
        """Mixed precision as `precision` says; does nothing for "fp32"."""
        return torch.autocast(self.device.type, PRECISIONS[self.precision], enabled=self.precision != "fp32")

    def encode_pixels(self, pixels: Float[Tensor, "b 3 s s"]) -> Float[Tensor, "b d"]:
        """Image embeddings (not normalised, float32) of transformed pictures. Keeps the graph where gradients are on."""
        with self.autocast():
            return self.model.encode_image(pixels.to(self.device), normalize=False).float()

    def pixel_tokens(self, pixels: Float[Tensor, "b 3 s s"]) -> ImageTokens:
        """Every token of the image tower, after the last norm, with and without the visual projection.

        CLIP trains the projection on the pooled token only; what it makes of patch tokens was never trained.

        Raises:
            InputError: If the image tower is not a plain ViT.
        """
        visual = self.model.visual
        plain = all(hasattr(visual, part) for part in ("_embeds", "transformer", "ln_post", "proj")) and visual.attn_pool is None
        if not plain:
            raise InputError(
                f"the image tower of {self.name} is {type(visual).__name__} without plain ViT tokens; use a CLIP with a ViT tower"
            )
        with self.autocast():
            hidden = visual.ln_post(visual.transformer(visual._embeds(pixels.to(self.device))))  # (b, 1+p, w)
            projected = hidden if visual.proj is None else hidden @ visual.proj  # (b, 1+p, d)
        return ImageTokens(projected.float(), hidden.float())

    @torch.no_grad()
    def encode_images(
        self, images: ImageSet | Iterable[Image.Image], *, transform: ImageTransform | None = None, batch_size: int = 64
    ) -> Float[Tensor, "n d"]:
        """Image embeddings, not normalised, on the CPU. `encode.encode_image_set` is the one with cache, progress and shards."""
        transform = transform or self.transform
        pictures = (images.open(image_id) for image_id in images.ids) if isinstance(images, ImageSet) else iter(images)
        rows = []
        while batch := list(islice(pictures, batch_size)):
            rows.append(self.encode_pixels(torch.stack([transform(picture) for picture in batch])).cpu())
        return torch.cat(rows) if rows else torch.empty(0, self.embedding_dim)

    @torch.no_grad()
    def encode_texts(
        self, texts: Sequence[str], *, batch_size: int = 256, on_long: Literal["raise", "truncate"] = "raise"
    ) -> Float[Tensor, "n d"]:
        """Text embeddings, not normalised, on the CPU. For `on_long` see `tokenize`."""
        rows = []
        for ids in self.tokenize(texts, on_long=on_long).split(batch_size):
            with self.autocast():
                rows.append(self.model.encode_text(ids, normalize=False).float().cpu())
        return torch.cat(rows) if rows else torch.empty(0, self.embedding_dim)

    def tokenize(self, texts: Sequence[str], *, on_long: Literal["raise", "truncate"] = "raise") -> Int[Tensor, "n l"]:
        """Token ids, padded to the context length, on the model's device.

        Args:
            texts: Sentences.
            on_long: A text longer than the context is refused ("raise"), or cut with one warning that counts them ("truncate").

        Raises:
            InputError: If a text is too long and `on_long` is "raise".
        """
        texts = list(texts)
        if not texts:
            return torch.empty(0, self.context_length, dtype=torch.long, device=self.device)
        too_long = [text for text in texts if self.too_long(text)]
        if too_long:
            example = f"{too_long[0][:60]!r}... has {self.count_tokens(too_long[0])} tokens and this CLIP reads {self.context_length}"
            if on_long == "raise":
                raise InputError(f"{len(too_long)} of {len(texts)} texts are too long: {example}; shorten the text")
            warnings.warn(f"{len(too_long)} of {len(texts)} texts are cut: {example}", stacklevel=2)
        return self.tokenizer(texts, context_length=self.context_length).to(self.device)

    def count_tokens(self, text: str) -> int:
        """Tokens of a text before any cut, the start and end tokens included."""
        if hasattr(self.tokenizer, "encode"):
            return len(self.tokenizer.encode(text)) + 2
        return len(self.tokenizer.tokenizer(self.tokenizer.clean_fn(text)).input_ids)  # OpenCLIP's wrapper of a Hugging Face tokenizer

    def too_long(self, text: str) -> bool:
        """Whether the context would cut the text."""
        return self.count_tokens(text) > self.context_length


def load_clip(name_or_folder: str | os.PathLike[str], *, device: str = "auto", precision: str = "auto") -> Clip:
    """Load any OpenCLIP model, frozen and in eval mode, float32 weights whatever the file holds.

    Args:
        name_or_folder: "MODEL/TAG" as OpenCLIP names them ("ViT-B-32/laion2b_s34b_b79k"), or a folder; see `clip_checkpoint`.
        device: "auto" (this process's GPU if there is one, else the CPU), "cpu", "cuda", "cuda:1", ...
        precision: "auto" (bf16 autocast on a GPU that has it, fp16 on others, fp32 on a CPU), "fp32", "bf16" or "fp16".

    Raises:
        InputError: If the checkpoint cannot be found or loaded, or the device or precision is not known.
    """
    chosen = choose_device(device)
    if precision not in (*PRECISIONS, "auto"):
        raise InputError(f"precision {precision!r} is not known; choose auto, {', '.join(PRECISIONS)}")
    if precision == "auto":
        precision = "fp32" if chosen.type != "cuda" else "bf16" if torch.cuda.is_bf16_supported() else "fp16"
    checkpoint = find_checkpoint(name_or_folder)  # before the slow import, so that a wrong folder is told at once
    _import_open_clip()
    try:
        model, tokenizer = _build(checkpoint, chosen), _load_tokenizer(checkpoint)
    except InputError:
        raise
    except Exception as error:  # OpenCLIP, safetensors and torch each raise their own kinds; every one of them means unusable files
        reason = " ".join(str(error).split())[:300]
        raise InputError(
            f"{checkpoint.weights} does not fit {checkpoint.name}: {reason}; check that folder and files belong together"
        ) from error
    return Clip(model, tokenizer, checkpoint, chosen, precision)


def _import_open_clip() -> None:
    from cirlib import _torchvision

    _torchvision.prepare()
    import open_clip  # noqa: F401


def _build(checkpoint: Checkpoint, device: torch.device) -> nn.Module:
    import open_clip

    weights = None if checkpoint.folder else str(checkpoint.weights)  # a folder brings its own
    quick_gelu = bool(checkpoint.model.get("quick_gelu"))
    return open_clip.create_model(checkpoint.architecture, weights, precision="fp32", force_quick_gelu=quick_gelu, device=device)


def _load_tokenizer(checkpoint: Checkpoint) -> Any:
    import open_clip

    text_cfg = checkpoint.model["text_cfg"]
    vocabulary = text_cfg.get("vocab_size", CLIP_VOCABULARY)
    length = text_cfg.get("context_length", 77)
    merges = checkpoint.folder / TOKENIZER_FILE if checkpoint.folder else None
    if merges is not None and merges.is_file():
        tokenizer = open_clip.SimpleTokenizer(bpe_path=str(merges), context_length=length)
    elif merges is None or text_cfg.get("hf_tokenizer_name") or vocabulary == CLIP_VOCABULARY:
        return open_clip.get_tokenizer(checkpoint.architecture)
    else:
        raise InputError(
            f"{checkpoint.folder} has a vocabulary of {vocabulary} and no tokenizer; {TOKENIZER_FILE} must lie beside {CONFIG_FILE}"
        )
    if tokenizer.vocab_size != vocabulary:
        raise InputError(f"{merges} holds {tokenizer.vocab_size} tokens and the model {vocabulary}; they do not belong together")
    return tokenizer


def _own_transform(checkpoint: Checkpoint, model: nn.Module) -> ImageTransform:
    settings = checkpoint.preprocess
    size = model.visual.image_size
    height, width = size if isinstance(size, tuple | list) else (size, size)
    mode = settings.get("resize_mode", "shortest")
    if height != width or mode == "longest":
        raise InputError(
            f"{checkpoint.name} wants {width}x{height} pictures, resize mode {mode}; only square ones, shortest or squash, are known"
        )
    mean, std = (tuple(settings.get(key, default)) for key, default in (("mean", CLIP_MEAN), ("std", CLIP_STD)))
    interpolation = "bilinear" if settings.get("interpolation") == "bilinear" else "bicubic"  # OpenCLIP reads "random" as bicubic too
    return ImageTransform("clip", height, mean, std, interpolation, squash=mode == "squash")
