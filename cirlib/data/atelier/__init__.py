"""Atelier: a drawn world of garments whose attributes are known exactly."""
