"""Frozen encoders behind small interfaces. Floor 1. open_clip, transformers and diffusers are imported here and nowhere else."""
