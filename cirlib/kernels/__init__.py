"""Tensors in, tensors out: the slow parts, with a plain torch reference for each. Floor 0."""
