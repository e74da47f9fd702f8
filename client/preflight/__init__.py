"""Preflight: what of a site's data will be used, what not, and why, before anything trains."""
