"""What a site minimises besides its own loss, one objective a module; :func:`backward_of` chooses by the method."""

from client.objectives.choice import backward_of, penalty_of
from client.objectives.guidance import Backward, Guidance
from client.objectives.proximal import penalty

__all__ = ["Backward", "Guidance", "backward_of", "penalty", "penalty_of"]
