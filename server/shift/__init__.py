"""How far sites are apart, of what kind that is, and what to do about it."""
