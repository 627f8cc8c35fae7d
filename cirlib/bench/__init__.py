"""Benchmarks: every speed claim comes from here, with its baseline in the same run."""
