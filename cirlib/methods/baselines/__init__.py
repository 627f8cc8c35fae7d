"""What every method must beat: image only, text only, sum, slerp, chance."""

from cirlib.methods.baselines.chance import Chance, expected_recall
from cirlib.methods.baselines.fusion import ImageOnly, Slerp, TextOnly, WeightedSum, slerp, weighted_sum

__all__ = ["Chance", "ImageOnly", "Slerp", "TextOnly", "WeightedSum", "expected_recall", "slerp", "weighted_sum"]
