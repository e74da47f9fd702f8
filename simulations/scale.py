"""The scale of grey values of a training outside the federation: all its images lie here, so nobody has to be asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from client.appearance import scale_of
from client.evaluation import MINIMUM_CELL
from client.site import Site, load_site
from common.configuration import RunConfig
from common.data.scale import as_stored, awaits_scale
from common.errors import EmptySiteError
from server.harmonisation import mean_scale


def with_scale_of(config: RunConfig, sites: Sequence[Site]) -> RunConfig:
    """The configuration with the scale of the training images of ``sites``, where their images await one.

    Of several sites it is the scale on which a federation of them agrees: the mean over those that have enough
    patients to tell. Of one site, which trains alone, it is its own, however few they are.

    Raises:
        EmptySiteError: nobody has enough training patients.
        XaiFederationError: of the sites' data, by name.
    """
    if not awaits_scale(config.imaging):
        return config
    minimum = MINIMUM_CELL if len(sites) > 1 else 1
    method, stored = config.imaging.harmonisation, as_stored(config)
    parts = {site.name: scale_of(load_site(site, stored).of_split("train"), method, minimum).values for site in sites}
    told = {name: values for name, values in parts.items() if values}
    if not told:
        raise EmptySiteError(
            f"no site has the {minimum} training patients that a scale of grey values takes",
            where=", ".join(parts),
            do="take larger sites, or choose another imaging.harmonisation",
        )
    return replace(config, imaging=replace(config.imaging, standard_scale=mean_scale(told)))


def unsettled(config: RunConfig) -> RunConfig:
    """The configuration as it was before its sites agreed on a scale."""
    return replace(config, imaging=replace(config.imaging, standard_scale=[]))
