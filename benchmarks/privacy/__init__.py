"""Attacks on trained models and on updates, with and without differential privacy: what a patient risks."""
