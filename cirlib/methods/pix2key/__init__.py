"""Pix2Key (Wei et al., 2026): pictures as dictionaries of short facts, queries as signed ones, both embedded as text; and V-Dict-AE."""
