"""Networks: backbones by name, the breast classifier, the mass detector, normalisation, transfer of weights."""
