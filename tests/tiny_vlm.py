"""A vision-language model of a few hundred kilobytes with random weights, for tests that need its shapes and not its skill."""

from copy import deepcopy
from functools import cache
from pathlib import Path

from cirlib import _torchvision
from cirlib.backbones.vlm_miniature import build_processor, model_config, save_vlm, train_tokenizer

SENTENCES = ('{"dress":{"color":"red","sleeve":"long"}}', '"},"negative":{"', "a red dress with long sleeves", "Describe the object.")

WILD = 0.3  # weights large enough that the picture and every token move the answer; with the usual 0.02 it repeats its last token


@cache
def _tokenizer():
    return train_tokenizer(SENTENCES * 3, 360)


def tiny_vlm(folder: Path, seed: int = 0, image_size: int = 48) -> Path:
    """Write a random Qwen2.5-VL with processor files to `folder`: pictures in patches of 12 (48 px: 4 image tokens), width 32."""
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
    save_vlm(folder, model, build_processor(tokenizer, image_size=image_size))
    return folder


LLAVA_CHAT = (
    "{% for message in messages %}USER: {% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endfor %} ASSISTANT:"
)


def tiny_llava(folder: Path) -> Path:
    """Write a random LLaVA: an image-text-to-text model of another class, with one token for each of its 16 patches."""
    _torchvision.prepare()
    import torch
    from transformers import CLIPImageProcessor, LlavaConfig, LlavaForConditionalGeneration, LlavaProcessor

    tokenizer = deepcopy(_tokenizer())
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2, "initializer_range": WILD}
    config = LlavaConfig(
        vision_config={"model_type": "clip_vision_model", **sizes, "image_size": 48, "patch_size": 12},
        text_config={"model_type": "llama", **sizes, "vocab_size": len(tokenizer), "bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 0},
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        LlavaForConditionalGeneration(config).save_pretrained(folder)
    images = CLIPImageProcessor(size={"shortest_edge": 48}, crop_size={"height": 48, "width": 48})
    LlavaProcessor(
        images,
        tokenizer,
        patch_size=12,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=LLAVA_CHAT,
    ).save_pretrained(folder)
    return folder
