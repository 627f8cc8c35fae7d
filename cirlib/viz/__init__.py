"""Every figure that a notebook shows. Functions return a matplotlib Figure. Floor 3."""
