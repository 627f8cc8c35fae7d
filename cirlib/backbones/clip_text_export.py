"""The text tower of an OpenCLIP model as the text encoder of a latent diffusion, in the form that Stable Diffusion folders hold.

Stable Diffusion 2 reads OpenCLIP's text tower at the output of its last block but one, followed by the final norm; so does this export,
which leaves the last block out. The tokenizer pads with the token of id 0, as OpenCLIP does and as Stable Diffusion 2 does ("!").
"""

from typing import Any

from torch import Tensor

from cirlib import _torchvision
from cirlib.backbones.clip import Clip
from cirlib.backbones.clip_text import text_tower
from cirlib.types import InputError

START, END = "<|startoftext|>", "<|endoftext|>"  # as CLIPTokenizer writes OpenCLIP's start and end


def export_text_encoder(clip: Clip) -> Any:
    """Build transformers' `CLIPTextModel` without the last block, in fp32.

    Args:
        clip: A CLIP with OpenCLIP's plain text transformer of at least two blocks.

    Raises:
        InputError: If the text tower has one block only, or is not OpenCLIP's plain transformer.
    """
    _torchvision.prepare()
    from transformers import CLIPTextConfig, CLIPTextModel

    tower = text_tower(clip)
    blocks = list(tower.transformer.resblocks)[:-1]
    if not blocks:
        raise InputError(f"the text tower of {clip.name} has one block, and a diffusion reads the last but one; use a deeper CLIP")
    words, width = tower.token_embedding.weight.shape
    config = CLIPTextConfig(
        vocab_size=words,
        hidden_size=width,
        intermediate_size=blocks[0].mlp.c_fc.out_features,
        projection_dim=clip.embedding_dim,
        num_hidden_layers=len(blocks),
        num_attention_heads=blocks[0].attn.num_heads,
        max_position_embeddings=clip.context_length,
        hidden_act="quick_gelu" if clip.checkpoint.model.get("quick_gelu") else "gelu",
        pad_token_id=0,
        bos_token_id=clip.tokenizer.sot_token_id,
        eos_token_id=clip.tokenizer.eot_token_id,
    )
    model = CLIPTextModel(config)
    weights = {
        "embeddings.token_embedding.weight": tower.token_embedding.weight,
        "embeddings.position_embedding.weight": tower.positional_embedding,
        "final_layer_norm.weight": tower.ln_final.weight,
        "final_layer_norm.bias": tower.ln_final.bias,
    }
    for number, block in enumerate(blocks):
        weights |= {f"encoder.layers.{number}.{name}": value for name, value in _block_weights(block).items()}
    model.load_state_dict(weights)
    return model.float().eval()


def _block_weights(block: Any) -> dict[str, Tensor]:
    """One residual block under transformers' names; OpenCLIP keeps query, key and value in one matrix."""
    weights = {}
    for part in ("weight", "bias"):
        query, key, value = getattr(block.attn, f"in_proj_{part}").chunk(3)
        weights |= {f"self_attn.{name}_proj.{part}": row for name, row in (("q", query), ("k", key), ("v", value))}
        for name, module in (
            ("self_attn.out_proj", block.attn.out_proj),
            ("layer_norm1", block.ln_1),
            ("layer_norm2", block.ln_2),
            ("mlp.fc1", block.mlp.c_fc),
            ("mlp.fc2", block.mlp.c_proj),
        ):
            weights[f"{name}.{part}"] = getattr(module, part)
    return weights


def export_tokenizer(clip: Clip) -> Any:
    """Build transformers' `CLIPTokenizer` with the ids of OpenCLIP's byte pair tokenizer.

    The padding token is a special token and is cut out of the text before anything else, so a text that contains it as a word (in CLIP's
    vocabulary: an exclamation mark) is the one case that reads otherwise than in OpenCLIP; Stable Diffusion 2 has the same exception.

    Raises:
        InputError: If the tokenizer of the CLIP is not OpenCLIP's byte pair tokenizer.
    """
    _torchvision.prepare()
    from transformers import CLIPTokenizer

    source = clip.tokenizer
    if not (hasattr(source, "bpe_ranks") and hasattr(source, "encoder")):
        raise InputError(f"the tokenizer of {clip.name} is not OpenCLIP's byte pair tokenizer; use a CLIP with CLIP's own tokenizer")
    names = {source.sot_token_id: START, source.eot_token_id: END}
    vocabulary = {names.get(number, word): number for word, number in source.encoder.items()}
    return CLIPTokenizer(
        vocab=vocabulary,
        merges=list(source.bpe_ranks),
        pad_token=source.decoder[0],
        model_max_length=clip.context_length,
    )
