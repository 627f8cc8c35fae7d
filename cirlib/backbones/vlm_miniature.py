"""The miniature vision-language model before any training: transformers' Qwen2.5-VL class, small, with processor files of its own.

Everything is as Qwen has it (window attention off, rotary positions, patch merger, M-RoPE, chat marks) but for the sizes, the tokenizer's
vocabulary, which is learnt from atelier's sentences, and a chat template without a default system message. All sizes are our choice.
"""

from collections.abc import Iterable
from copy import deepcopy
from pathlib import Path
from typing import Any

from cirlib import _torchvision

IMAGE_SIZE, PATCH, MERGE = 96, 12, 2
IMAGE_TOKENS = (IMAGE_SIZE // PATCH // MERGE) ** 2
TURN_END = "<|im_end|>"
SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    TURN_END,
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
# Qwen's split of text into words, with one alternative before it: a JSON key with the punctuation around it is one word, so that a pair
# of a dictionary costs two tokens and not four.
WORDS = (
    r"""["{},\[\]]*\p{L}[\p{L} \-]*":["{\[]*"""
    r"""|(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"""
)
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif part['type'] == 'video' %}<|vision_start|><|video_pad|><|vision_end|>"
    "{% elif 'text' in part %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def train_tokenizer(sentences: Iterable[str], size: int) -> Any:
    """Byte-level BPE tokenizer of at most `size` tokens, special tokens included, as a transformers tokenizer."""
    _torchvision.prepare()
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(WORDS), behavior="isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        initial_alphabet=sorted(alphabet),
        special_tokens=[AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS],
        show_progress=False,
    )
    tokenizer.train_from_iterator(sentences, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=TURN_END, pad_token="<|endoftext|>", padding_side="left", model_max_length=2048
    )


def build_processor(tokenizer: Any, image_size: int = IMAGE_SIZE, patch: int = PATCH) -> Any:
    """Qwen's processor around a tokenizer: every picture is brought to about `image_size` squared pixels, in multiples of two patches."""
    _torchvision.prepare()
    from transformers import Qwen2_5_VLProcessor, Qwen2VLImageProcessor, Qwen2VLVideoProcessor

    sizes = {
        "patch_size": patch,
        "merge_size": MERGE,
        "temporal_patch_size": 1,
        "size": {"shortest_edge": image_size**2, "longest_edge": image_size**2},
    }
    return Qwen2_5_VLProcessor(
        image_processor=Qwen2VLImageProcessor(**sizes),
        tokenizer=tokenizer,
        video_processor=Qwen2VLVideoProcessor(**sizes),
        chat_template=CHAT_TEMPLATE,
    )


def model_config(tokenizer: Any, vision: dict[str, int] | None = None, text: dict[str, Any] | None = None) -> Any:
    """Configuration of the miniature: 3.8 million parameters with its vocabulary of about a thousand.

    Args:
        tokenizer: Its vocabulary and the places of its special tokens are taken over.
        vision: Sizes of the vision tower that differ from the miniature's.
        text: Sizes of the language tower that differ from the miniature's.
    """
    _torchvision.prepare()
    from transformers import Qwen2_5_VLConfig

    token = tokenizer.convert_tokens_to_ids
    vision_config = {"depth": 5, "hidden_size": 160, "intermediate_size": 400, "num_heads": 5, "patch_size": PATCH} | (vision or {})
    text_config = {
        "hidden_size": 192,
        "intermediate_size": 512,
        "num_hidden_layers": 4,
        "num_attention_heads": 6,
        "num_key_value_heads": 2,
        "rope_parameters": {"rope_type": "default", "mrope_section": [4, 6, 6], "rope_theta": 10_000.0},
    } | (text or {})
    return Qwen2_5_VLConfig(
        vision_config={
            **vision_config,
            "spatial_merge_size": MERGE,
            "temporal_patch_size": 1,
            "window_size": IMAGE_SIZE,
            "fullatt_block_indexes": list(range(vision_config["depth"])),
            "out_hidden_size": text_config["hidden_size"],
        },
        text_config={
            **text_config,
            "vocab_size": len(tokenizer),
            "max_position_embeddings": 2048,
            "bos_token_id": token("<|endoftext|>"),
            "eos_token_id": token(TURN_END),
            "pad_token_id": token("<|endoftext|>"),
        },
        image_token_id=token("<|image_pad|>"),
        video_token_id=token("<|video_pad|>"),
        vision_start_token_id=token("<|vision_start|>"),
        vision_end_token_id=token("<|vision_end|>"),
        tie_word_embeddings=True,
    )


def save_vlm(folder: Path, model: Any, processor: Any) -> None:
    """Write weights in fp16, configuration and processor files: a folder that transformers' Auto classes load. The model stays as it is."""
    deepcopy(model).half().save_pretrained(folder)  # a copy, because half() would change a model that is still being trained
    (folder / "model.safetensors").chmod(0o644)  # written for the owner only
    processor.save_pretrained(folder)
