"""One CPU thread for every test: small networks are slower with more, and results repeat anywhere."""

import torch

torch.set_num_threads(1)
