"""Map-to-Compose: a pseudo-word that gathers visual detail inside the text tower (stage 1), then low-rank adapters that learn to compose
(stage 2).

The source is the authors' released code; the tables of the paper ("From Mapping to Composing", arXiv 2504.17990) could not be read. Where
the released code and our correction of it differ, the recipe has a field, and the correction is the default.
"""
