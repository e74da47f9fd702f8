"""The pages against the code: every setting with default and limits, links that lead somewhere, no machine's paths."""

import re
from dataclasses import fields
from pathlib import Path
from typing import get_args

import pytest
from omegaconf import OmegaConf

from client.preflight.finding import KINDS
from common.configuration import RunConfig, names
from common.configuration.limits import CHOICES, RANGES
from common.configuration.loading import valid_keys
from common.data.sources import SOURCES
from common.data.sources.labels import Unlabelled
from common.imaging.eligibility import Exclusion
from common.models.backbones import BACKBONES
from common.protocol import AnyMessage
from server.history import RoundRecord
from server.summary import summarise

ROOT = Path(__file__).parents[1]
PAGES = [page for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))) if page.exists()]
SETTING = re.compile(r"^\| `([a-z_.]+)` \| `(.*?)` \| (.*?) \|", re.MULTILINE)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
MACHINE_PATH = re.compile(r"(?<![\w.:/])/(?:home|root|tmp|work|Users|mnt|opt|var|data|srv)\b|[A-Z]:\\")
SETTINGS = {
    key: (default, allowed) for key, default, allowed in SETTING.findall((ROOT / "docs/configuration.md").read_text())
}

ARCHITECTURE = (ROOT / "docs/architecture.md").read_text()


def name_of(page):
    return str(page.relative_to(ROOT))


def anchors(page):
    """What a link may name behind ``#``, as GitHub makes it from headings."""
    headings = re.findall(r"^#+ (.*)$", FENCED.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_page_of_settings_names_every_key_and_no_other():
    assert sorted(SETTINGS) == sorted(valid_keys(RunConfig))


@pytest.mark.parametrize("key", valid_keys(RunConfig))
def test_the_page_of_settings_gives_the_current_default(key):
    written = OmegaConf.create(f"value: {SETTINGS[key][0]}").value
    assert written == OmegaConf.select(OmegaConf.structured(RunConfig), key, throw_on_missing=True)


@pytest.mark.parametrize("key", [*CHOICES, "model.backbone"])
def test_the_page_of_settings_gives_the_current_choices(key):
    assert tuple(re.findall(r"`(.*?)`", SETTINGS[key][1])) == CHOICES.get(key, tuple(BACKBONES))


@pytest.mark.parametrize("key", RANGES)
def test_the_page_of_settings_gives_the_current_range(key):
    low, high = SETTINGS[key][1].removeprefix("null, or ").split(" to ")
    assert (float(low), float(high)) == RANGES[key]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page):
    for target in LINK.findall(FENCED.sub("", page.read_text())):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        found = (page.parent / file) if file else page
        assert found.exists(), f"{name_of(page)} links to {target}"
        assert not anchor or anchor in anchors(found), f"{name_of(page)} links to {target}: no such heading"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_pages_hold_no_path_of_one_machine(page):
    found = MACHINE_PATH.search(page.read_text())
    assert found is None, f"{name_of(page)}: {found.group()}"


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=name_of)
def test_every_page_is_in_the_index(page):
    assert page.name == "README.md" or f"({page.name})" in (ROOT / "docs" / "README.md").read_text()


@pytest.mark.parametrize("message", get_args(AnyMessage))
def test_the_wire_contract_names_every_field_of_a_message(message):
    row = re.search(rf"^\| `{message.__name__}` \| .*? \| (.*?) \|", ARCHITECTURE, re.MULTILINE)
    assert row, message.__name__
    missing = {item.name for item in fields(message)} - set(re.findall(r"`(.*?)`", row[1]))
    assert not missing


def test_the_page_of_files_names_every_key_that_tools_read():
    row = re.search(r"^\| `rounds.jsonl` .*$", ARCHITECTURE, re.MULTILINE)[0]
    assert {item.name for item in fields(RoundRecord)} <= set(re.findall(r"`(.*?)`", row))
    summary = summarise(RunConfig(), [], {"round": 1, "sites": {}, "unseen": {}}, None)
    section = ARCHITECTURE.split("### summary.json")[1].split("###")[0]
    assert set(summary) <= set(re.findall(r"`(.*?)`", section))


def test_every_shipped_row_and_scenario_is_explained():
    for name in names("method"):
        assert f"| `{name}` |" in ARCHITECTURE
    for name in names("simulation"):
        assert f"| `{name}` |" in (ROOT / "docs/researcher.md").read_text()


@pytest.mark.parametrize("name", SOURCES)
def test_the_page_of_data_gives_every_sources_folder_and_rule(name):
    source = SOURCES[name]
    assert f"| `{name}` | {source.layout} | {source.labels} |" in (ROOT / "docs/data.md").read_text()


def test_the_page_for_hospitals_names_every_finding_of_preflight_with_its_severity():
    rows = re.findall(r"^\| ((?:`[a-z-]+`,? ?)+)\| (error|warning|note)", (ROOT / "docs/hospital.md").read_text(), re.M)
    named = {code: severity for codes, severity in rows for code in re.findall(r"`([a-z-]+)`", codes)}
    assert named == {code: kind.severity.value for code, kind in KINDS.items()}


@pytest.mark.parametrize("reason", [*Exclusion, *Unlabelled])
def test_the_page_of_data_explains_every_reason_for_leaving_a_file_out(reason):
    assert f"\n| {reason} | " in (ROOT / "docs/data.md").read_text()
