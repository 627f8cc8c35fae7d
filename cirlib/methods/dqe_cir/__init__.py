"""DQE-CIR (arXiv 2603.04037) as a reconstruction on QuRe's base (arXiv 2507.12416).

The paper's equations could not be read, QuRe's and its code could. So the substrate (backbone, score, preference loss, schedule) is QuRe's,
the ideas (attribute weights, mid-zone negatives, three losses) are DQE-CIR's, and their form is ours; every docstring says which is which.
"""
