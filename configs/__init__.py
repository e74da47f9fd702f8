"""YAML configuration shipped with the package; see ``common.configuration`` for how it is read."""
