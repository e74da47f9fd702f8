"""Patient-level differential privacy: how a site trains privately, what that costs, and who keeps the books."""
