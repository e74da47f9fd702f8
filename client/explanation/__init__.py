"""Explanations of the model on a site's own patients: maps, their controls, their scores, pictures."""
