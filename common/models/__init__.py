"""Networks: backbones by name, the breast classifier, normalisation layers, transfer of weights."""
