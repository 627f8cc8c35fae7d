"""Methods: each encodes a gallery and composes queries. Floor 2; a method never imports another."""
