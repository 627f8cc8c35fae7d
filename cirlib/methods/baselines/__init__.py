"""What every method must beat: image only, text only, sum, slerp, chance, and a rewritten caption."""

from cirlib.methods.baselines.caption_rewrite import CaptionRewrite, caption_with, rewrite_with
from cirlib.methods.baselines.chance import Chance, expected_recall
from cirlib.methods.baselines.fusion import ImageOnly, Slerp, TextOnly, WeightedSum, slerp, weighted_sum

__all__ = [
    "CaptionRewrite",
    "Chance",
    "ImageOnly",
    "Slerp",
    "TextOnly",
    "WeightedSum",
    "caption_with",
    "expected_recall",
    "rewrite_with",
    "slerp",
    "weighted_sum",
]
