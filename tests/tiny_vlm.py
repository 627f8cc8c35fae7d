"""A vision-language model of a few hundred kilobytes with random weights, for tests that need its shapes and not its skill."""

from functools import cache
from pathlib import Path

from cirlib import _torchvision
from cirlib.backbones.vlm_miniature import build_processor, model_config, save_vlm, train_tokenizer

SENTENCES = ('{"dress":{"color":"red","sleeve":"long"}}', '"},"negative":{"', "a red dress with long sleeves", "Describe the object.")

WILD = 0.3  # weights large enough that the picture and every token move the answer; with the usual 0.02 it repeats its last token


@cache
def _tokenizer():
    return train_tokenizer(SENTENCES * 3, 360)


def tiny_vlm(folder: Path, seed: int = 0) -> Path:
    """Write a random Qwen2.5-VL with processor files to `folder`: 48 px pictures in patches of 12, 4 image tokens, width 32."""
    _torchvision.prepare()
    import torch
    from transformers import Qwen2_5_VLForConditionalGeneration

    tokenizer = _tokenizer()
    vision = {"depth": 1, "hidden_size": 32, "intermediate_size": 48, "num_heads": 2, "initializer_range": WILD}
    text = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "initializer_range": WILD,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "rope_parameters": {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 10_000.0},
    }
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Qwen2_5_VLForConditionalGeneration(model_config(tokenizer, vision, text))
    save_vlm(folder, model, build_processor(tokenizer, image_size=48))
    return folder
