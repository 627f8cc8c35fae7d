"""A latent diffusion: pictures to latents and back, texts or soft prompts to contexts, and a UNet that predicts v. Frozen.

    x_t = sqrt(a_t) x_0 + sqrt(1 - a_t) e        noisy latents at timestep t; a_t is the scheduler's cumulative alpha
    v_t = sqrt(a_t) e - sqrt(1 - a_t) x_0        what the UNet predicts
    x_0 = sqrt(a_t) x_t - sqrt(1 - a_t) v_t      the estimate of the latents

The equations are those of v-prediction (Salimans and Ho 2022). Public checkpoints (Stable Diffusion 1.x, 2.x) and the shipped miniature go
through the same code. Gradients flow through every method that has tensors on both sides, and no parameter gets one.
"""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from PIL import Image
from torch import Tensor

from cirlib.backbones.devices import choose_device
from cirlib.backbones.diffusion_checkpoint import DiffusionParts, read_diffusion
from cirlib.data.transforms import ImageTransform
from cirlib.types import InputError


class LatentDiffusion:
    """A frozen latent diffusion.

    Attributes:
        name: The name or folder that it was loaded by.
        vae: diffusers' `AutoencoderKL`.
        unet: diffusers' `UNet2DConditionModel`.
        text_encoder: transformers' `CLIPTextModel`.
        tokenizer: transformers' `CLIPTokenizer`.
        scheduler: diffusers' `DDIMScheduler`, which holds the noise levels.
        image_size: Side of the pictures, in pixels.
        device: Where the modules lie.
        dtype: What the modules compute in; everything that goes in or comes out is fp32.
    """

    def __init__(self, parts: DiffusionParts, name: str, device: torch.device, image_size: int | None = None) -> None:
        self.name, self.device, self.dtype = name, device, parts.unet.dtype
        self.unet, self.vae, self.text_encoder = (
            module.to(device).eval().requires_grad_(False) for module in (parts.unet, parts.vae, parts.text_encoder)
        )
        self.tokenizer, self.scheduler = parts.tokenizer, parts.scheduler
        self.latent_factor = 2 ** (len(self.vae.config.block_out_channels) - 1)
        self.image_size = image_size or self.unet.config.sample_size * self.latent_factor
        self.fingerprint = {
            "diffusion": parts.content_hash,
            "image_size": str(self.image_size),
            "dtype": str(self.dtype).removeprefix("torch."),
        }
        self._alphas = self.scheduler.alphas_cumprod.to(device, torch.float32)

    @property
    def context_length(self) -> int:
        """Tokens of a context, start and end included."""
        return self.text_encoder.config.max_position_embeddings

    @property
    def token_width(self) -> int:
        """Width of a token embedding, and of a row of a soft prompt."""
        return self.text_encoder.config.hidden_size

    @property
    def steps(self) -> int:
        """Number of noise levels; timesteps go from 0 to one less."""
        return len(self._alphas)

    @property
    def prediction_type(self) -> str:
        """What the UNet was trained to predict: "v_prediction" or "epsilon"."""
        return self.scheduler.config.prediction_type

    def pixels(self, images: Sequence[Image.Image]) -> Float[Tensor, "b 3 s s"]:
        """Pictures as tensors in [0, 1]: shorter side to `image_size`, centre crop."""
        transform = ImageTransform("clip", self.image_size, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
        return torch.stack([transform(image) for image in images]).to(self.device)

    def encode(self, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b c y x"]:
        """Scaled latents of pictures in [0, 1]: the mode of the posterior."""
        posterior = self.vae.encode((2 * pixels - 1).to(self.device, self.dtype)).latent_dist
        return posterior.mode().float() * self.vae.config.scaling_factor

    def decode(self, latents: Float[Tensor, "b c y x"]) -> Float[Tensor, "b 3 h w"]:
        """Pictures from scaled latents, in [0, 1]; not clamped while gradients are recorded, for a clamp has none outside the range."""
        made = self.vae.decode((latents / self.vae.config.scaling_factor).to(self.device, self.dtype)).sample.float() / 2 + 0.5
        return made if torch.is_grad_enabled() else made.clamp(0, 1)

    def token_embeddings(self) -> Float[Tensor, "v d"]:
        """The frozen table of token embeddings of the text encoder, one row per token id."""
        return self.text_encoder.get_input_embeddings().weight.float()

    def context_from_texts(self, texts: Sequence[str]) -> Float[Tensor, "b 77 d"]:
        """What the UNet attends to, for texts: every token's state after the last block and the final norm, padding included.

        Raises:
            InputError: If a text has more tokens than the context holds.
        """
        texts = list(texts)
        for text in texts:
            if (count := self.count_tokens(text)) > self.context_length:
                raise InputError(f"{text[:60]!r}... has {count} tokens and this diffusion reads {self.context_length}; shorten the text")
        ids = self.tokenizer(texts, padding="max_length", max_length=self.context_length, return_tensors="pt").input_ids
        return self.text_encoder(ids.to(self.device)).last_hidden_state.float()

    def count_tokens(self, text: str) -> int:
        """Tokens of a text, start and end included."""
        return len(self.tokenizer(text, verbose=False).input_ids)

    def context_from_embeddings(self, rows: Float[Tensor, "b q d"]) -> Float[Tensor, "b 77 d"]:
        """What the UNet attends to, for a soft prompt: rows that stand where token embeddings would.

        The sequence is start, rows, end, padding, with the frozen embeddings of those tokens; positions, causal mask and final norm are the
        text encoder's own. For rows that are the embeddings of a text's tokens the result is that of `context_from_texts`.

        Raises:
            InputError: If there are more rows than the context holds between start and end (75 of 77), or their width is not `token_width`.
        """
        batch, count, width = rows.shape
        if count > self.context_length - 2 or width != self.token_width:
            raise InputError(
                f"a soft prompt of {count} rows of width {width} does not fit: at most {self.context_length - 2} rows of width"
                f" {self.token_width}; use fewer rows, or project them"
            )
        marks = [self.tokenizer.bos_token_id, *[self.tokenizer.pad_token_id] * count, self.tokenizer.eos_token_id]
        ids = torch.tensor([marks + [self.tokenizer.pad_token_id] * (self.context_length - len(marks))], device=self.device)

        def put_rows(_module: Any, _inputs: Any, output: Tensor) -> Tensor:
            frozen = output.detach()  # (b, 77, d)
            return torch.cat([frozen[:, :1], rows.to(frozen), frozen[:, count + 1 :]], dim=1)

        handle = self.text_encoder.get_input_embeddings().register_forward_hook(put_rows)
        try:
            return self.text_encoder(ids.expand(batch, -1)).last_hidden_state.float()
        finally:
            handle.remove()

    def add_noise(self, latents: Float[Tensor, "b c y x"], noise: Float[Tensor, "b c y x"], t: Int[Tensor, " b"]) -> Tensor:
        """Noisy latents x_t at timesteps t in [0, steps)."""
        signal, spread = self._levels(t)
        return signal * latents + spread * noise

    def v_target(self, latents: Float[Tensor, "b c y x"], noise: Float[Tensor, "b c y x"], t: Int[Tensor, " b"]) -> Tensor:
        """What the UNet should predict from `add_noise(latents, noise, t)`."""
        signal, spread = self._levels(t)
        return signal * noise - spread * latents

    def predict_v(self, noisy: Float[Tensor, "b c y x"], t: Int[Tensor, " b"], context: Float[Tensor, "b n d"]) -> Tensor:
        """The UNet's v. A checkpoint that predicts the noise e is converted: v = (e - sqrt(1 - a_t) x_t) / sqrt(a_t).

        The conversion divides by sqrt(a_t), which nears zero at the last timesteps; a loss on v should then be weighted by `loss_weight`.
        """
        out = self.unet(noisy.to(self.dtype), t.to(self.device), context.to(self.dtype)).sample.float()
        if self.prediction_type == "v_prediction":
            return out
        signal, spread = self._levels(t)
        return (out - spread * noisy) / signal

    def loss_weight(self, t: Int[Tensor, " b"]) -> Float[Tensor, " b"]:
        """Weight of the squared error of v, per timestep: 1, and a_t where the checkpoint predicts e, which gives exactly the loss on e."""
        alphas = self._alphas[t.to(self.device)]
        return torch.ones_like(alphas) if self.prediction_type == "v_prediction" else alphas

    def estimate_latents(self, noisy: Float[Tensor, "b c y x"], v: Float[Tensor, "b c y x"], t: Int[Tensor, " b"]) -> Tensor:
        """The estimate of the clean latents x_0 from noisy ones and v."""
        signal, spread = self._levels(t)
        return signal * noisy - spread * v

    def _levels(self, t: Int[Tensor, " b"]) -> tuple[Float[Tensor, "b 1 1 1"], Float[Tensor, "b 1 1 1"]]:
        """sqrt(a_t) and sqrt(1 - a_t)."""
        alphas = self._alphas[t.to(self.device)].view(-1, 1, 1, 1)
        return alphas.sqrt(), (1 - alphas).sqrt()

    @torch.no_grad()
    def sample(
        self,
        context: Float[Tensor, "b n d"],
        steps: int = 20,
        guidance: float = 1.0,
        seed: int = 0,
        negative_context: Float[Tensor, "b n d"] | None = None,
    ) -> list[Image.Image]:
        """Draw one picture per context with DDIM without added noise.

        Args:
            context: From `context_from_texts` or `context_from_embeddings`.
            steps: Network evaluations, spaced as the checkpoint's scheduler says.
            guidance: Weight g of classifier-free guidance, v = v_without + g (v_with - v_without); 1 is none and costs half.
            seed: Of the first noise; the first pictures of a longer batch are those of a shorter one.
            negative_context: What guidance leads away from, one row or one per context; the empty text when None.
        """
        size = self.image_size // self.latent_factor
        shape = (len(context), self.unet.config.in_channels, size, size)
        latents = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(self.device)
        without = None
        if guidance != 1.0:
            without = self.context_from_texts([""]) if negative_context is None else negative_context
            without = without.expand(len(context), -1, -1)
        self.scheduler.set_timesteps(steps, device=self.device)
        for t in self.scheduler.timesteps:
            when = t.expand(len(context))
            v = self.predict_v(latents, when, context)
            if without is not None:
                away = self.predict_v(latents, when, without)
                v = away + guidance * (v - away)
            latents = self._step_back(latents, v, t, steps)
        return [_to_picture(pixels) for pixels in self.decode(latents)]

    def _step_back(self, latents: Float[Tensor, "b c y x"], v: Float[Tensor, "b c y x"], t: Tensor, steps: int) -> Tensor:
        """One step of DDIM: the estimate of x_0, put back to the level before t with the estimate of the noise."""
        signal, spread = self._levels(t[None])
        clean, noise = signal * latents - spread * v, spread * latents + signal * v
        before = int(t) - self.steps // steps
        alpha = self._alphas[before] if before >= 0 else self.scheduler.final_alpha_cumprod.to(self.device)
        return alpha.sqrt() * clean + (1 - alpha).sqrt() * noise


def load_diffusion(
    name_or_folder: str | os.PathLike[str], device: str = "auto", dtype: torch.dtype | None = None, image_size: int | None = None
) -> LatentDiffusion:
    """Load any Stable Diffusion 1.x or 2.x checkpoint, or the miniature, frozen and in eval mode.

    Args:
        name_or_folder: A folder in Stable Diffusion's layout, or a name on the Hugging Face hub.
        device: "auto" (this process's GPU if there is one, else the CPU), "cpu", "cuda", "cuda:1", ...
        dtype: What the modules compute in; None is fp32 on a CPU and bf16 on a GPU that has it.
        image_size: Side of the pictures, a multiple of the autoencoder's factor; None is what the checkpoint was trained on.

    Raises:
        InputError: If there is no such checkpoint, it cannot be read, or the image size does not fit.
    """
    chosen = choose_device(device)
    if dtype is None:
        dtype = torch.bfloat16 if chosen.type == "cuda" and torch.cuda.is_bf16_supported() else torch.float32
    parts = read_diffusion(name_or_folder, dtype)
    factor = 2 ** (len(parts.vae.config.block_out_channels) - 1) * 2 ** (len(parts.unet.config.block_out_channels) - 1)
    if image_size is not None and (image_size < factor or image_size % factor):
        raise InputError(f"image size {image_size} does not fit this diffusion; give a multiple of {factor}")
    return LatentDiffusion(parts, os.fspath(name_or_folder), chosen, image_size)


def _to_picture(pixels: Float[Tensor, "3 h w"]) -> Image.Image:
    return Image.fromarray((pixels.permute(1, 2, 0).cpu().numpy() * 255).round().astype(np.uint8))
