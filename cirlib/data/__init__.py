"""Benchmarks and pictures: atelier, the public benchmarks, and a user's own folder. Floor 1."""
