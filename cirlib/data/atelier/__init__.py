"""Atelier: a drawn world of garments whose attributes are known exactly.

`load_atelier` gives the benchmark, `load_pictures` the pictures alone. Everything follows from (version, split, index).
"""

from cirlib.data.atelier.benchmark import load_atelier, load_pictures
from cirlib.data.atelier.schema import ATTRIBUTES, DETAILS, SINGLE_VALUED, VERSION

__all__ = ["ATTRIBUTES", "DETAILS", "SINGLE_VALUED", "VERSION", "load_atelier", "load_pictures"]
