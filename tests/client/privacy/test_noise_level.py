"""The plan of a round, delta, and the noise that a budget needs."""

import pytest
from opacus.accountants import create_accountant

from client.privacy.noise_level import delta_of, noise_multiplier_of
from client.privacy.plan import Steps, steps_of_round
from common.configuration import PrivacyConfig, load_run
from common.errors import ConfigurationError, DeltaError


def test_the_steps_of_a_round_by_hand():
    """100 patients by 16: seven steps an epoch, each patient in 16 of 100; six patients are all in every step."""
    privacy = PrivacyConfig(patients_per_step=16)
    assert steps_of_round(privacy, 2, 100, 1.1) == Steps(1.1, 0.16, 14)
    assert steps_of_round(privacy, 3, 6, 1.1) == Steps(1.1, 1.0, 3)
    assert steps_of_round(privacy, 1, 16, 0.0) == Steps(0.0, 1.0, 1)


@pytest.mark.parametrize("accountant", ["prv", "rdp"])
@pytest.mark.parametrize(("epsilon", "patients"), [(3.0, 20), (1.0, 50)])
def test_the_noise_found_spends_the_budget_and_no_more(accountant, epsilon, patients):
    """Opacus' accountant over the same steps."""
    privacy = PrivacyConfig(epsilon=epsilon, accountant=accountant)
    noise = noise_multiplier_of(privacy, patients, 2, 5)
    steps = steps_of_round(privacy, 2, patients, noise)
    books = create_accountant(accountant)
    books.history = [(noise, steps.sample_rate, 5 * steps.steps)]
    assert epsilon - 0.01 <= books.get_epsilon(delta=0.1 / patients) <= epsilon


def test_more_patients_need_less_noise_and_more_rounds_more():
    privacy = PrivacyConfig(epsilon=1.0, accountant="rdp")
    few, many, long = (noise_multiplier_of(privacy, n, 1, rounds) for n, rounds in ((100, 5), (1000, 5), (100, 50)))
    assert many < few < long


def test_a_noise_level_that_is_set_is_taken():
    assert noise_multiplier_of(PrivacyConfig(noise_multiplier=0.7), 100, 1, 30) == 0.7
    assert noise_multiplier_of(PrivacyConfig(noise_multiplier=0.0), 100, 1, 30) == 0.0


def test_delta_is_a_tenth_of_one_over_the_patients_or_what_is_set():
    assert delta_of(PrivacyConfig(), 250) == pytest.approx(4e-4)
    assert delta_of(PrivacyConfig(delta=1e-5), 250) == 1e-5
    for delta in (1 / 250, 0.01):
        with pytest.raises(DeltaError, match="too much for 250 patients"):
            delta_of(PrivacyConfig(delta=delta), 250)
        with pytest.raises(DeltaError):
            noise_multiplier_of(PrivacyConfig(delta=delta, noise_multiplier=1.0), 250, 1, 1)


def test_a_budget_that_no_noise_keeps_is_named():
    with pytest.raises(ConfigurationError, match="finds no noise that keeps 14 steps under"):
        noise_multiplier_of(PrivacyConfig(epsilon=0.05, delta=1e-12, accountant="rdp"), 100, 1, 2)
    with pytest.raises(ConfigurationError, match="needs a budget"):
        noise_multiplier_of(PrivacyConfig(), 100, 1, 1)


@pytest.mark.parametrize("budget", [[], ["privacy.epsilon=8", "privacy.noise_multiplier=1"]], ids=["none", "both"])
def test_private_training_needs_one_budget(budget):
    with pytest.raises(ConfigurationError, match="either a budget or a noise level"):
        load_run("tiny", ["privacy.unit=patient", *budget])
    assert load_run("tiny", ["privacy.unit=patient", "privacy.epsilon=8"]).privacy.epsilon == 8
