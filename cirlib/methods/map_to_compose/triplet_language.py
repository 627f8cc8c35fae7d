"""Captions and rewritten captions by a vision-language model: the shipped miniature, or any that transformers loads by name."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cirlib._cache import cache_dir
from cirlib.methods.map_to_compose.triplet_retrieval import Rewrite
from cirlib.types import ImageSet

if TYPE_CHECKING:
    from cirlib.backbones.vlm import VisionLanguageModel


def vlm_captions(vlm: "VisionLanguageModel", images: ImageSet, cache: Path | None = None, progress: bool = True) -> dict[str, str]:
    """Image id to a caption by a vision-language model, kept by picture, model and prompt version.

    Args:
        vlm: The shipped miniature, or any model that `load_vlm` loads by name.
        images: Pictures.
        cache: Folder of the answers; default is the user's cache folder.
        progress: Show a bar.
    """
    from cirlib.backbones.vlm_cache import write_image_set
    from cirlib.backbones.vlm_prompts import CAPTION_PROMPT

    answers = write_image_set(vlm, images, CAPTION_PROMPT, cache or cache_dir("vlm"), progress=progress)
    return dict(zip(images.ids, answers, strict=True))


def rewrite_with_vlm(vlm: "VisionLanguageModel", cache: Path | None = None, progress: bool = True) -> Rewrite:
    """Rewriting by the language half of a vision-language model, prompted without a picture; answers are kept by prompt and model.

    Args:
        vlm: The shipped miniature, or any model that `load_vlm` loads by name.
        cache: Folder of the answers; default is the user's cache folder.
        progress: Show a bar.

    Returns:
        From captions and modification texts to the answers, which may be empty.
    """
    from cirlib.backbones.vlm_cache import write_texts
    from cirlib.backbones.vlm_prompts import REWRITE_VERSION, rewrite_prompt

    def rewrite(captions: Sequence[str], texts: Sequence[str]) -> list[str]:
        prompts = [rewrite_prompt(caption, text) for caption, text in zip(captions, texts, strict=True)]
        return write_texts(vlm, prompts, REWRITE_VERSION, cache=cache or cache_dir("vlm"), progress=progress)

    return rewrite
