"""The miniature Q-Former before any training: transformers' `Blip2ForImageTextRetrieval`, small, with a tokenizer of atelier's words.

All sizes are our choice. Three of transformers' defaults would keep it from ever learning: query tokens start as zeros, all alike, and stay
alike; the vision tower starts with a spread of 1e-10; and the Q-Former drops a tenth of everything.
"""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from string import ascii_lowercase, digits
from typing import Any

import torch

from cirlib import _torchvision
from cirlib.backbones.qformer_text import clean_text
from cirlib.data.transforms import CLIP_MEAN, CLIP_STD

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
PUNCTUATION = "',-/?&$%+=<>@[]_`{|}^\\"  # what cleaning leaves of ASCII
VISION = {
    "hidden_size": 160,
    "intermediate_size": 400,
    "num_hidden_layers": 6,
    "num_attention_heads": 5,
    "image_size": 96,
    "patch_size": 12,
}
QFORMER = {"hidden_size": 160, "intermediate_size": 400, "num_hidden_layers": 4, "num_attention_heads": 5, "max_position_embeddings": 64}
QUERY_TOKENS, JOINT_DIM = 8, 128


def build_tokenizer(sentences: Iterable[str], positions: int = QFORMER["max_position_embeddings"], least: int = 5) -> Any:
    """BERT's tokenizer with every word that occurs at least `least` times as one piece, and any other word letter by letter.

    Words are ordered by count, then alphabetically, so that the same sentences give the same tokenizer.
    """
    _torchvision.prepare()
    from tokenizers.pre_tokenizers import BertPreTokenizer
    from transformers import BertTokenizer

    split = BertPreTokenizer().pre_tokenize_str
    counts = Counter(word for sentence in sentences for word, _ in split(clean_text(sentence)))
    words = sorted((word for word, count in counts.items() if count >= least), key=lambda word: (-counts[word], word))
    letters = ascii_lowercase + digits
    pieces = dict.fromkeys((*SPECIAL_TOKENS, *PUNCTUATION, *letters, *(f"##{letter}" for letter in letters), *words))
    return BertTokenizer(vocab={piece: number for number, piece in enumerate(pieces)}, model_max_length=positions)


def build_model(tokenizer: Any, vision: dict[str, int] | None = None, qformer: dict[str, int] | None = None, **options: Any) -> Any:
    """A random model: 3.2 million parameters by default. The global generator of torch decides its weights.

    Args:
        tokenizer: Its vocabulary is taken over.
        vision: Sizes of the vision tower that differ from the miniature's.
        qformer: Sizes of the Q-Former that differ from the miniature's.
        options: What else of transformers' Blip2Config differs: `num_query_tokens`, `image_text_hidden_size`, `attn_implementation`.
    """
    _torchvision.prepare()
    from transformers import Blip2Config, Blip2ForImageTextRetrieval

    config = Blip2Config(
        vision_config={**VISION, "initializer_range": 0.02, **(vision or {})},
        qformer_config={
            **QFORMER,
            "vocab_size": len(tokenizer),
            "pad_token_id": tokenizer.pad_token_id,
            "use_qformer_text_input": True,
            "hidden_dropout_prob": 0.0,
            "attention_probs_dropout_prob": 0.0,
            **(qformer or {}),
        },
        **{"num_query_tokens": QUERY_TOKENS, "image_text_hidden_size": JOINT_DIM, **options},
    )
    model = Blip2ForImageTextRetrieval(config)
    with torch.no_grad():
        model.query_tokens.normal_(0, config.initializer_range)  # as LAVIS
    return model


def save_qformer(folder: Path, model: Any, tokenizer: Any) -> None:
    """Write weights in fp16, configuration, preprocessing and tokenizer: a folder for `load_qformer` and transformers' Auto classes."""
    from transformers import BlipImageProcessor

    side = model.config.vision_config.image_size
    model.half().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    BlipImageProcessor(size={"height": side, "width": side}, image_mean=CLIP_MEAN, image_std=CLIP_STD).save_pretrained(folder)
