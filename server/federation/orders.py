"""From ``xai-server train task=classifier rounds=20 sites=MCS,TUH`` to a checked run configuration."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from common.configuration import RunConfig, load_run
from common.errors import ConfigurationError, EnrolmentError

SHORT = {
    "rounds": "federation.rounds",
    "deadline": "federation.deadline_seconds",
    "joining": "federation.joining_seconds",
}
"""What a coordinator writes most, without its group."""


def run_config(scenario: str, arguments: Sequence[str], admitted: Collection[str]) -> RunConfig:
    """Read a coordinator's settings.

    ``sites=A,B`` and ``unseen=C`` take names; without ``sites`` every admitted site trains that is not
    unseen. ``quorum`` is a share of the sites, or from 1 on a number of sites. Baselines need all data in
    one place and are left out.

    Raises:
        ConfigurationError: as ``common.configuration.load_run``; a quorum larger than the number of sites.
        EnrolmentError: a site that is not admitted, or none at all.
    """
    quorum, passed = "", []
    for argument in arguments:
        key, _, value = argument.partition("=")
        if key in ("sites", "unseen"):
            passed.append(f"{key}=[{value.strip('[]')}]")
        elif key == "quorum":
            quorum = value
        else:
            passed.append(f"{SHORT.get(key, key)}={value}" if value else argument)
    config = load_run(scenario, [*passed, "baselines=[]"])
    sites = config.sites or [name for name in sorted(admitted) if name not in config.unseen]
    config = replace(config, sites=sites)
    for name in (*config.sites, *config.unseen):
        if name not in admitted:
            raise EnrolmentError(
                f"{name} is not admitted", where="sites", do=f"admitted: {', '.join(sorted(admitted)) or 'none'}"
            )
    if not sites:
        raise EnrolmentError("no site is admitted", do="admit one: xai-server enrol REQUEST")
    if set(sites) & set(config.unseen):
        raise ConfigurationError("a site both trains and is unseen", where="sites, unseen", do="name it once")
    return _with_quorum(config, quorum) if quorum else config


def survey_config(scenario: str, arguments: Sequence[str], admitted: Collection[str]) -> RunConfig:
    """As :func:`run_config`, for a look at the shift between sites.

    Raises:
        ConfigurationError: as there, or there are fewer than two sites to compare.
        EnrolmentError: as there.
    """
    config = run_config(scenario, arguments, admitted)
    sites = [*config.sites, *config.unseen]
    if len(sites) < 2:
        raise ConfigurationError(
            f"{', '.join(sites)} is one site: there is nothing to compare it with",
            where="sites, unseen",
            do="name two or more, or admit another: xai-server enrol REQUEST",
        )
    return config


def _with_quorum(config: RunConfig, text: str) -> RunConfig:
    try:
        value = float(text)
    except ValueError as error:
        raise ConfigurationError(f"quorum={text} is not a number", where="quorum") from error
    share = value if value < 1 else value / len(config.sites)
    if not 0 <= share <= 1 or (value > 1 and value != int(value)):
        raise ConfigurationError(
            f"quorum={text} does not fit {len(config.sites)} sites",
            where="quorum",
            do="give a share or a number of sites",
        )
    return replace(config, federation=replace(config.federation, quorum=share))
