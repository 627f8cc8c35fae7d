"""Vision-language models behind one small interface: write text about pictures, and let other vectors stand in for the picture.

Any model that transformers loads as image-text-to-text can write. Slots, patch features and answer logits need the Qwen2.5-VL class, which
the paper names and which every profile of this repository uses. Decoding is greedy everywhere.
"""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from PIL import Image
from torch import Tensor

from cirlib import _torchvision
from cirlib.backbones.devices import choose_device
from cirlib.backbones.vlm_slots import SlotInputs, run_language_tower, slot_inputs, with_answers
from cirlib.types import InputError

MAX_NEW_TOKENS = 256
_NOT_HASHED = ("README.md", "card.json", "training.json")  # what lies beside a checkpoint and decides nothing


class VisionLanguageModel:
    """A frozen image-text-to-text model with its processor.

    Attributes:
        model: The transformers model, in eval mode; its own parameters get no gradients (adapters that are added later may).
        processor: Its processor, padding on the left.
        name: The name or folder that it was loaded by.
        device: Where it lies.
        fingerprint: What decides its answers; the key of the caches.
        hidden_size: Width h of the language tower.
    """

    def __init__(self, model: Any, processor: Any, name: str, device: torch.device, fingerprint: dict[str, str]) -> None:
        self.model = model.eval().requires_grad_(False)
        self.processor = processor
        self.name = name
        self.device = device
        self.fingerprint = fingerprint
        self.hidden_size = model.config.get_text_config().hidden_size
        self.tokenizer.padding_side = "left"
        self._ends = _end_tokens(model.generation_config, self.tokenizer)

    @property
    def tokenizer(self) -> Any:
        """The processor's tokenizer."""
        return self.processor.tokenizer

    @torch.inference_mode()
    def write(self, images: Sequence[Image.Image] | None, prompts: str | Sequence[str], max_new_tokens: int = MAX_NEW_TOKENS) -> list[str]:
        """Greedy answers to prompts, one batch in one pass.

        Args:
            images: One picture for each prompt; None for prompts without a picture.
            prompts: One prompt for all pictures, or one for each. The picture stands after the instruction.
            max_new_tokens: An answer is cut there if the model has not ended its turn before.

        Returns:
            One answer each, without special tokens and surrounding white space.

        Raises:
            InputError: If pictures and prompts differ in number, or the processor has no chat template.
        """
        if isinstance(prompts, str):
            prompts = [prompts] * (1 if images is None else len(images))
        if images is not None and len(images) != len(prompts):
            raise InputError(f"{len(images)} pictures and {len(prompts)} prompts given; give one prompt for all pictures or one for each")
        if not prompts:
            return []
        chats = [self.chat(prompt, images is not None) for prompt in prompts]
        pictures = {} if images is None else {"images": [[image.convert("RGB")] for image in images]}
        inputs = self.processor(text=chats, **pictures, padding=True, return_tensors="pt").to(self.device)
        inputs = {name: value.to(self.model.dtype) if torch.is_floating_point(value) else value for name, value in inputs.items()}
        tokens = self.model.generate(**inputs, generation_config=self._greedy(max_new_tokens))
        return self._decode(tokens[:, inputs["input_ids"].shape[1] :])

    def chat(self, prompt: str, picture: bool) -> str:
        """A prompt in the model's own chat format, ready for the answer; the picture's mark stands after the instruction."""
        if not getattr(self.processor, "chat_template", None):
            raise InputError(f"the processor of {self.name} has no chat template; use an instruction-tuned image-text-to-text model")
        parts = [{"type": "text", "text": prompt}] + [{"type": "image"}] * picture
        return self.processor.apply_chat_template([{"role": "user", "content": parts}], add_generation_prompt=True, tokenize=False)

    @torch.no_grad()
    def patch_features(self, images: Sequence[Image.Image]) -> Float[Tensor, "b n h"]:
        """Image tokens after the patch merger, in row-major order, as the language tower receives them.

        Raises:
            InputError: If there is no picture, the pictures do not become equally many tokens, or the model is not of Qwen's kind.
        """
        return self._patches(images)[0]

    def _patches(self, images: Sequence[Image.Image]) -> tuple[Float[Tensor, "b n h"], tuple[int, int]]:
        """Image tokens and their grid (rows, columns)."""
        if not images:
            raise InputError("no pictures given; give at least one")
        if not hasattr(self.model.model, "visual"):
            raise InputError(f"{type(self.model).__name__} has no patch merger; use a model of the Qwen2.5-VL class")
        pixels = self.processor.image_processor(images=[image.convert("RGB") for image in images], return_tensors="pt").to(self.device)
        grids = pixels["image_grid_thw"]
        if len(grids.unique(dim=0)) > 1:
            sizes = sorted({image.size for image in images})
            raise InputError(f"pictures of {len(sizes)} sizes ({sizes[0]}, {sizes[1]}, ...) become different grids; bring them to one size")
        features = self.model.model.get_image_features(pixels["pixel_values"], grids, return_dict=True).pooler_output
        merge = self.model.config.vision_config.spatial_merge_size
        return torch.stack(list(features)), (int(grids[0, 1]) // merge, int(grids[0, 2]) // merge)

    def slot_states(self, slots: Float[Tensor, "b q h"], prompt: str) -> Float[Tensor, "b q h"]:
        """Hidden states of the language tower at the slots, after its final norm, with slots in place of the image tokens.

        What follows the slots is left out, since a causal tower cannot see it from there. Gradients flow to the slots.
        """
        inputs = self._slot_inputs(slots, prompt)
        seen = SlotInputs(inputs.embeds[:, : inputs.span.stop], inputs.positions[:, :, : inputs.span.stop], inputs.span)
        return run_language_tower(self.model, seen)[:, inputs.span].to(slots.dtype)

    @torch.no_grad()
    def write_from_slots(
        self,
        slots: Float[Tensor, "b q h"],
        prompt: str,
        max_new_tokens: int = MAX_NEW_TOKENS,
        grid: tuple[int, int] | None = None,
    ) -> list[str]:
        """Greedy answers to one prompt with slots in place of the image tokens.

        Args:
            slots: Vectors to stand where the image tokens would.
            prompt: The same for every row.
            max_new_tokens: See `write`.
            grid: Rows and columns where the slots are a picture's own patches; None places them like text, as in `slot_states`.
        """
        if not len(slots):
            return []
        inputs = self._slot_inputs(slots, prompt, grid)
        mask = torch.ones(inputs.embeds.shape[:2], dtype=torch.long, device=self.device)
        tokens = self.model.generate(
            inputs_embeds=inputs.embeds,
            position_ids=inputs.positions,
            attention_mask=mask,
            generation_config=self._greedy(max_new_tokens),
        )
        return self._decode(tokens)

    def answer_logits(
        self, slots: Float[Tensor, "b q h"], prompt: str, answers: Sequence[str], grid: tuple[int, int] | None = None
    ) -> tuple[Float[Tensor, "b t v"], Bool[Tensor, "b t"], Int[Tensor, "b t"]]:
        """Next-token logits over given answers, with slots in place of the image tokens. Gradients flow to the slots.

        Returns:
            Logits that predict each token of the answer, the end of the turn included; which of them count (shorter answers are padded);
            and the tokens themselves. The probability of an answer is the product of its tokens' softmax values where the mask is set.
        """
        return self.states_and_answer_logits(slots, prompt, answers, grid)[1:]

    def states_and_answer_logits(
        self, slots: Float[Tensor, "b q h"], prompt: str, answers: Sequence[str], grid: tuple[int, int] | None = None
    ) -> tuple[Float[Tensor, "b q h"], Float[Tensor, "b t v"], Bool[Tensor, "b t"], Int[Tensor, "b t"]]:
        """`slot_states` and `answer_logits` in one pass: in a causal tower the answer changes nothing of what stands before it."""
        if len(answers) != len(slots):
            raise InputError(f"{len(answers)} answers given for {len(slots)} rows of slots; give one for each")
        end = self._ends[0]
        rows = [torch.tensor([*self.tokenizer(answer, add_special_tokens=False).input_ids, end]) for answer in answers]
        tokens = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=end).to(self.device)  # (b, t)
        mask = torch.arange(tokens.shape[1])[None] < torch.tensor([len(row) for row in rows])[:, None]
        inputs = self._slot_inputs(slots, prompt, grid)
        start = inputs.embeds.shape[1] - 1  # this token predicts the first of the answer
        # Padding follows the answer, where the causal mask lets nothing look at it.
        hidden = run_language_tower(self.model, with_answers(inputs, self.model.get_input_embeddings()(tokens)))
        return hidden[:, inputs.span].to(slots.dtype), self.model.lm_head(hidden[:, start:-1]), mask.to(self.device), tokens

    @torch.no_grad()
    def answer_logits_from_images(
        self, images: Sequence[Image.Image], prompt: str, answers: Sequence[str]
    ) -> tuple[Float[Tensor, "b t v"], Bool[Tensor, "b t"], Int[Tensor, "b t"]]:
        """`answer_logits` of the untouched model: the pictures' own patches at their own places."""
        patches, grid = self._patches(images)
        return self.answer_logits(patches, prompt, answers, grid)

    def _slot_inputs(self, slots: Float[Tensor, "b q h"], prompt: str, grid: tuple[int, int] | None = None) -> SlotInputs:
        ids = self.tokenizer(self.chat(prompt, True), add_special_tokens=False).input_ids
        return slot_inputs(self.model, ids, slots.to(self.device), grid)

    def _greedy(self, max_new_tokens: int) -> Any:
        """Greedy decoding with the checkpoint's own end and padding tokens, and none of its sampling settings."""
        from transformers import GenerationConfig

        pad = self.tokenizer.pad_token_id if self.tokenizer.pad_token_id is not None else self._ends[0]
        return GenerationConfig(do_sample=False, num_beams=1, max_new_tokens=max_new_tokens, eos_token_id=self._ends, pad_token_id=pad)

    def _decode(self, tokens: Int[Tensor, "b t"]) -> list[str]:
        texts = self.tokenizer.batch_decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return [text.strip() for text in texts]


def load_vlm(name_or_folder: str | os.PathLike[str], device: str = "auto", dtype: torch.dtype | None = None) -> VisionLanguageModel:
    """Load a vision-language model, frozen and in eval mode.

    Args:
        name_or_folder: A folder of `save_pretrained`, or a name on the Hugging Face hub ("Qwen/Qwen2.5-VL-3B-Instruct").
        device: "auto" (this process's GPU if there is one, else the CPU), "cpu", "cuda", ...
        dtype: Type of the weights; None takes float32 on a CPU, bfloat16 on a GPU that has it, float16 on others.

    Raises:
        InputError: If nothing can be loaded from there, or the device is not known.
    """
    chosen = choose_device(device)
    name = os.fspath(name_or_folder)
    if dtype is None:
        dtype = torch.float32 if chosen.type != "cuda" else torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    _torchvision.prepare()
    from transformers import AutoModelForImageTextToText, AutoProcessor

    try:
        model = AutoModelForImageTextToText.from_pretrained(name, dtype=dtype).to(chosen)
        processor = AutoProcessor.from_pretrained(name)
    except (OSError, ValueError) as error:  # missing files, no connection, or a configuration of another kind of model
        reason = " ".join(str(error).split())[:300]
        raise InputError(f"no image-text-to-text model can be loaded from {name!r}: {reason}") from error
    fingerprint = {"weights": _content_hash(name, model), "dtype": str(dtype).removeprefix("torch.")}
    return VisionLanguageModel(model, processor, name, chosen, fingerprint)


def _content_hash(name: str, model: Any) -> str:
    """Hash over the files of a folder, or the commit of a model from the hub."""
    folder = Path(name)
    if not folder.is_dir():
        return f"{name}@{getattr(model.config, '_commit_hash', None)}"
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.iterdir() if path.is_file() and path.name not in _NOT_HASHED):
        with open(path, "rb") as file:
            digest.update(f"{path.name}:{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()


def _end_tokens(own: Any, tokenizer: Any) -> list[int]:
    """Tokens that end a turn, the checkpoint's first choice first."""
    end = own.eos_token_id if own.eos_token_id is not None else tokenizer.eos_token_id
    return list(end) if isinstance(end, list | tuple) else [end]
