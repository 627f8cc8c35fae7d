"""DQE-CIR (arXiv 2603.04037) as a reconstruction on QuRe's base (arXiv 2507.12416).

The paper's equations could not be read, QuRe's and its code could. So the substrate (backbone, score, preference loss, schedule) is QuRe's,
the ideas (attribute weights, mid-zone negatives, three losses) are DQE-CIR's, and their form is ours; every docstring says which is which.
"""

from cirlib.methods.dqe_cir.attributes import AttributeWeights
from cirlib.methods.dqe_cir.method import DqeCir, load_dqe_cir, save_dqe_cir
from cirlib.methods.dqe_cir.query import Composed, ComposedQuery
from cirlib.methods.dqe_cir.recipe import Recipe
from cirlib.methods.dqe_cir.training import TrainedDqeCir, train_dqe_cir

__all__ = [
    "AttributeWeights",
    "Composed",
    "ComposedQuery",
    "DqeCir",
    "Recipe",
    "TrainedDqeCir",
    "load_dqe_cir",
    "save_dqe_cir",
    "train_dqe_cir",
]
