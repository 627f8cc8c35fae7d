"""V-Dict-AE: slots pooled from a picture's patches must tell a frozen diffusion model, through a frozen language model, what to draw.

Paper, Eq. 12-27:

    patches -> pooler -> slots -> language tower -> head -> soft prompt -> text encoder -> UNet -> v-prediction loss

Only the pooler, the head and the LoRA adapters are trained; gradients flow through everything else. After training the pooler and the
adapters take the place of the language model's patch path, and the head and the diffusion model are dropped.
"""

import hashlib
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from PIL import Image
from torch import Tensor, nn

from cirlib.backbones.diffusion import LatentDiffusion
from cirlib.backbones.lora import LanguageAdapters
from cirlib.backbones.recompute import recompute_activations
from cirlib.backbones.vlm import VisionLanguageModel
from cirlib.backbones.vlm_prompts import DICTIONARY_PROMPT
from cirlib.methods.pix2key.guard import StockAnswer, guard_loss, stack_answers
from cirlib.methods.pix2key.pooler import AttentionPooler
from cirlib.methods.pix2key.soft_prompt import VocabularyHead, make_head
from cirlib.methods.pix2key.v_dict_ae_recipe import Recipe
from cirlib.types import InputError

PROMPT = DICTIONARY_PROMPT.text  # the instruction before the slots, in training as in extraction


@dataclass(frozen=True)
class Batch:
    """What one training step sees; everything in it is frozen.

    Attributes:
        patches: Merged patch features of the pictures.
        latents: Their latents.
        noise: One draw per picture.
        timesteps: One per picture.
        pixels: The pictures in [0, 1] where the step has a pixel loss, else None.
        stock: What the stock model says of them where the guard is on, else None.
    """

    patches: Float[Tensor, "b n h"]
    latents: Float[Tensor, "b c s s"]
    noise: Float[Tensor, "b c s s"]
    timesteps: Int[Tensor, " b"]
    pixels: Tensor | None = None
    stock: Sequence[StockAnswer] | None = None


class VDictAE(nn.Module):
    """The trained parts, and the frozen models that they stand between.

    `parameters` and `state_dict` hold the pooler, the head and the adapters and nothing else.

    Args:
        vlm: Frozen vision-language model. Adapters are put on it, off outside `adapted`.
        recipe: Sizes and weights of the losses.
        diffusion: Frozen latent diffusion; None builds the part that inference needs, without a head.
    """

    def __init__(self, vlm: VisionLanguageModel, recipe: Recipe, diffusion: LatentDiffusion | None = None) -> None:
        super().__init__()
        self.vlm, self.diffusion, self.recipe = vlm, diffusion, recipe
        with torch.random.fork_rng():
            torch.manual_seed(recipe.seed)
            self.pooler = AttentionPooler(vlm.hidden_size, recipe.slots, recipe.depth, recipe.heads or None)
            self.head = None if diffusion is None else make_head(recipe.head, vlm.hidden_size, diffusion, recipe.steps)
        self.adapters = (
            LanguageAdapters(vlm.model, recipe.lora_rank, recipe.lora_scale, recipe.lora_dropout, recipe.seed) if recipe.lora_rank else None
        )
        self.to(vlm.device)

    @contextmanager
    def adapted(self, training: bool = False) -> Iterator[None]:
        """Within the block the language tower carries the adapters, where there are any; in training, what the recipe says about memory."""
        saving = training and self.recipe.checkpointing
        with (
            recompute_activations(self.vlm.model, self.diffusion.unet) if saving else nullcontext(),
            self.adapters.active(training) if self.adapters is not None else nullcontext(),
        ):
            yield

    def patches(self, images: Sequence[Image.Image]) -> Float[Tensor, "b n h"]:
        """Merged patch features of pictures at the recipe's input size, without gradients."""
        with torch.no_grad():
            return self.vlm.patch_features(self.resized(images))

    def resized(self, images: Sequence[Image.Image]) -> Sequence[Image.Image]:
        """Pictures at the recipe's input size; as they are where it is 0."""
        size = self.recipe.input_size
        return [image.resize((size, size), Image.Resampling.BICUBIC) for image in images] if size else images

    def fed(self, patches: Float[Tensor, "b n h"], slots: Float[Tensor, "b q h"]) -> tuple[Float[Tensor, "b m h"], tuple[int, int] | None]:
        """What takes the place of the image tokens when text is written, and the grid of what comes first in it.

        The slots alone have no grid. Where the recipe keeps the patches, they come first, at the places that the stock model gives them.

        Raises:
            InputError: If patches are kept and their number is no square.
        """
        if not self.recipe.keep_patches:
            return slots, None
        side = math.isqrt(patches.shape[1])
        if side**2 != patches.shape[1]:
            raise InputError(
                f"pictures of {patches.shape[1]} patches given; to keep the patches, bring pictures to a square with input_size"
            )
        return torch.cat([patches.to(slots.dtype), slots], 1), (side, side)

    def context(self, slots: Float[Tensor, "b q h"]) -> Float[Tensor, "b 77 d"]:
        """Slots to the context of the UNet."""
        states = self.vlm.slot_states(slots, PROMPT)
        return self.diffusion.context_from_embeddings(self.head(states.float()))

    def reconstruction_loss(
        self, context: Float[Tensor, "b 77 d"], batch: Batch
    ) -> tuple[Float[Tensor, " b"], Float[Tensor, "b c s s"], Float[Tensor, "b c s s"]]:
        """Mean squared error of the predicted v per picture, with the noisy latents and the prediction.

        A checkpoint that predicts noise has its own loss here: the error of v is weighted so that it equals the error of the noise.
        """
        noisy = self.diffusion.add_noise(batch.latents, batch.noise, batch.timesteps)
        predicted = self.diffusion.predict_v(noisy, batch.timesteps, context)
        wanted = self.diffusion.v_target(batch.latents, batch.noise, batch.timesteps)
        weight = self.diffusion.loss_weight(batch.timesteps)
        return weight * (predicted - wanted).square().mean((1, 2, 3)), noisy, predicted

    def forward(self, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        """Losses of a batch, unweighted: "v", and "pixel" and "guard" where the batch asks for them; no "v", no "pixel" if v weighs 0."""
        slots = self.pooler(batch.patches)
        states, guard = self._read(slots, batch)
        if not self.recipe.v_weight:
            return guard
        context = self.diffusion.context_from_embeddings(self.head(states.float()))
        per_picture, noisy, predicted = self.reconstruction_loss(context, batch)
        losses = {"v": per_picture.mean()} | guard
        early = batch.timesteps < self.recipe.pixel_below
        if batch.pixels is not None and early.any():
            estimate = self.diffusion.estimate_latents(noisy[early], predicted[early], batch.timesteps[early])
            losses["pixel"] = (self.diffusion.decode(estimate) - batch.pixels[early]).abs().mean()
        return losses

    def _read(self, slots: Float[Tensor, "b q h"], batch: Batch) -> tuple[Float[Tensor, "b q h"], dict[str, Float[Tensor, ""]]]:
        """H_dict, and the guard's loss where the batch asks for it; one pass through the language tower where both read the same input."""
        if batch.stock is None:
            return self.vlm.slot_states(slots, PROMPT), {}
        fed, grid = self.fed(batch.patches, slots)
        states, logits, mask, _ = self.vlm.states_and_answer_logits(fed, PROMPT, [answer.text for answer in batch.stock], grid)
        loss = {"guard": guard_loss(logits, mask, *stack_answers(batch.stock, mask))}
        return (self.vlm.slot_states(slots, PROMPT) if self.recipe.keep_patches else states), loss

    def total(self, losses: dict[str, Tensor]) -> Float[Tensor, ""]:
        """L = L_v + gamma L_pixel, and the guard; each with its weight, of the losses that are there."""
        weights = {"v": self.recipe.v_weight, "pixel": self.recipe.pixel_weight, "guard": self.recipe.guard_weight}
        return sum(weights[name] * value for name, value in losses.items())

    def cool(self) -> None:
        """Lower the temperature of a vocabulary head by one step; nothing for a continuous one."""
        if isinstance(self.head, VocabularyHead):
            self.head.cool()

    def weights_hash(self) -> str:
        """Hash of what inference uses, in hex: the pooler and the adapters. The key of every cache of what the slots say."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.state_dict().items()):
            if not name.startswith("head."):
                digest.update(name.encode() + tensor.detach().float().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]
