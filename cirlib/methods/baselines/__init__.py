"""What every method must beat: image only, text only, sum, slerp, chance."""
