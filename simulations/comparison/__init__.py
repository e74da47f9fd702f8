"""``xai-sim compare``: methods side by side, over seeds, on the same patients, with paired statistics."""
