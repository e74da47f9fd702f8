"""Sites that differ in one kind alone: everything else is the reference's, and severity scales it."""

from dataclasses import asdict

import pytest

from common.configuration import load_run, names
from common.configuration.limits import CHOICES
from common.errors import ConfigurationError
from simulations.phantom.dataset import write_site
from simulations.phantom.difficulty import DEFAULT
from simulations.phantom.patient import draw_patient
from simulations.phantom.sites import REFERENCE_POPULATION, SHIFTS, SITES, acquisition_at, site_at

SCALE = {"pixel_spacing_mm", "field_mm"}
KINDS = {
    "prevalence": {"malignant", "benign"},
    "labels": {"false_negative", "false_positive"},
    "structure": {"density", "thickness_mm", "lesion_radius_mm", "conspicuity"},
}


def changed(one, other):
    return {key for key, value in asdict(one).items() if value != asdict(other)[key]}


@pytest.mark.parametrize("name", SITES)
def test_at_severity_zero_all_sites_are_alike(name):
    site, machine = site_at(name, 0.0, SHIFTS)
    assert site.population == REFERENCE_POPULATION
    assert changed(machine, acquisition_at(SITES["MCS"], 0.0)) <= {"curves"}, "of which the own ones weigh nothing"


@pytest.mark.parametrize("kind", SHIFTS)
def test_one_kind_changes_its_own_values_and_no_other(kind):
    name = "CR" if kind == "labels" else "RAW"  # RAW's own values all differ from the reference's
    site, machine = site_at(name, 1.0, (kind,))
    reference, own = acquisition_at(SITES[name], 0.0), acquisition_at(SITES[name], 1.0)
    assert changed(site.population, REFERENCE_POPULATION) == KINDS.get(kind, set())
    moved = changed(machine, reference)
    if kind == "scale":
        assert moved and moved <= SCALE
    elif kind == "appearance":
        assert moved == changed(own, reference) - SCALE
    else:
        assert not moved


def test_at_severity_one_a_site_has_its_own_values_and_at_two_is_twice_as_far():
    one, two = (site_at("RAW", severity, ("prevalence", "structure"))[0].population for severity in (1.0, 2.0))
    own = SITES["RAW"].population
    assert (one.malignant, one.thickness_mm) == (pytest.approx(own.malignant), pytest.approx(own.thickness_mm))
    assert one.density == pytest.approx(own.density)
    assert two.malignant == pytest.approx(2 * own.malignant - REFERENCE_POPULATION.malignant)
    assert sum(two.density) == pytest.approx(1) and min(two.density) >= 0


def test_without_shifts_the_population_is_the_sites_own_at_every_severity():
    assert site_at("TUH", 0.0) == (SITES["TUH"], acquisition_at(SITES["TUH"], 0.0))


def test_wrong_labels_are_as_many_as_said_and_at_one_site():
    def wrong(name):
        site, _ = site_at(name, 1.0, ("labels",))
        drawn = [draw_patient(site, number, 0, DEFAULT) for number in range(1500)]
        malignant = [patient for patient in drawn if patient.label == "malignant"]
        return sum(patient.recorded != "malignant" for patient in malignant) / len(malignant)

    assert wrong("CR") == pytest.approx(0.20, abs=0.05)
    assert wrong("MCS") == 0


def test_the_order_of_shifts_does_not_matter_and_an_unknown_one_is_refused(tmp_path):
    options = {"rows": 128, "workers": 1}
    first = write_site("TUH", 1, tmp_path / "a", shifts=("scale", "appearance"), **options)
    second = write_site("TUH", 1, tmp_path / "b", shifts=("appearance", "scale"), **options)
    pictures = [sorted(path.read_bytes() for path in manifest.parent.glob("dicom/*")) for manifest in (first, second)]
    assert pictures[0] == pictures[1]
    with pytest.raises(ConfigurationError, match="unknown shift 'colour'"):
        write_site("TUH", 1, tmp_path / "c", shifts=("colour",), **options)


def test_settings_and_phantom_know_the_same_kinds_and_scenarios_have_enough_test_patients():
    assert CHOICES["phantom.shifts"] == SHIFTS
    shipped = [load_run(name) for name in names("simulation") if name.startswith("shift-")]
    assert {config.phantom.shifts[0] for config in shipped if len(config.phantom.shifts) == 1} == set(SHIFTS)
    assert all(config.phantom.exams * config.data.test_fraction >= 600 for config in shipped)
