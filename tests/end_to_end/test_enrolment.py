"""From nothing to an admitted hospital, over the two command lines, and everything that must be refused."""

import json
import re
import shutil
import subprocess

import pytest
import yaml
from typer.testing import CliRunner

from client.cli import app as client
from common.audit import read
from server.cli import app as server


class Place:
    """A coordinator's and two hospitals' folders, and their command lines."""

    def __init__(self, folder):
        self.folder = folder
        for site in ("MCS", "TUH"):
            (folder / "hospitals" / site).mkdir(parents=True)
            (folder / "hospitals" / site / "manifest.csv").write_text("patient_id\n")
        self.home = folder / "federation"

    def server(self, *arguments, typed=""):
        return CliRunner().invoke(server, [*arguments, "--home", str(self.home)], input=typed)

    def client(self, *arguments):
        return CliRunner().invoke(client, [str(argument) for argument in arguments])

    def found(self):
        return self.server("init", "miyagi", "--host", "fl.example.org", "--sites", "MCS,TUH")

    def state(self, site):
        return self.folder / "state" / site

    def enrol(self, site, kit=None, state=None):
        return self.client(
            *("enrol", kit or self.home / "kits" / f"{site}.kit.yaml", "--site", site),
            *("--data", self.folder / "hospitals" / site, "--state", state or self.state(site)),
        )

    def request(self, site):
        return self.state(site) / f"{site}.request.yaml"


@pytest.fixture
def place(tmp_path):
    made = Place(tmp_path)
    assert made.found().exit_code == 0
    return made


def fingerprint_of(result):
    return re.search(r"SHA256:\S+", result.output)[0]


def test_from_nothing_to_an_admitted_hospital(place):
    printed = fingerprint_of(place.enrol("TUH"))
    admitted = place.server("enrol", str(place.request("TUH")), typed="y\n")
    assert admitted.exit_code == 0
    assert fingerprint_of(admitted) == printed
    listed = place.server("sites").output
    assert re.search(rf"TUH\s+server is not running\s+-\s+{re.escape(printed)}", listed)
    assert "MCS          has a kit, no request yet" in listed
    assert [entry.event for entry in read(place.home / "audit.jsonl")] == ["federation founded", "site admitted"]


def test_openssh_reads_the_key_and_shows_the_same_fingerprint(place):
    if not shutil.which("ssh-keygen"):
        pytest.skip("ssh-keygen is not installed")
    printed = fingerprint_of(place.enrol("TUH"))
    key = place.state("TUH") / "keys" / "node.key"
    shown = subprocess.run(["ssh-keygen", "-lf", str(key)], capture_output=True, text=True, check=True).stdout
    assert shown.startswith(f"384 {printed} ")


def test_secrets_stay_where_they_were_made_and_are_for_their_owner_alone(place):
    place.enrol("TUH")
    secrets = [*(place.home / "keys").iterdir(), *(place.state("TUH") / "keys").iterdir()]
    assert {path.stat().st_mode & 0o777 for path in secrets} == {0o600}
    travelling = (place.home / "kits" / "TUH.kit.yaml").read_text() + place.request("TUH").read_text()
    assert "PRIVATE" not in travelling
    assert not any(path.read_text().strip() in travelling for path in secrets)


def test_enrolling_again_keeps_the_key_and_the_settings(place):
    first = fingerprint_of(place.enrol("TUH"))
    settings = place.state("TUH") / "site.yaml"
    settings.write_text(settings.read_text().replace("rounds: 1000", "rounds: 7"))
    assert fingerprint_of(place.enrol("TUH")) == first
    assert yaml.safe_load(settings.read_text())["policy"]["rounds"] == 7


def refused(result, name, code, text):
    assert result.exit_code == code, result.output
    assert name in result.output
    assert text in result.output.replace("\n", " ")


def test_a_wrong_fingerprint_admits_nobody(place):
    place.enrol("TUH")
    refused(
        place.server("enrol", str(place.request("TUH")), "--fingerprint", "SHA256:x"), "FingerprintError", 31, "TUH"
    )
    refused(place.server("enrol", str(place.request("TUH")), typed="n\n"), "FingerprintError", 31, "not admitted")
    assert not (place.home / "sites.yaml").exists()


@pytest.mark.parametrize("field", ["site", "federation", "public_key", "signature"])
def test_a_request_changed_on_its_way_is_refused(place, field):
    """An MCS key that claims to be TUH, another key under TUH's signature, and so on."""
    place.enrol("TUH")
    place.enrol("MCS")
    request = yaml.safe_load(place.request("MCS").read_text())
    request[field] = yaml.safe_load(place.request("TUH").read_text())[field] if field != "federation" else "other"
    place.request("MCS").write_text(yaml.safe_dump(request))
    result = place.server("enrol", str(place.request("MCS")), typed="y\n")
    refused(result, "EnrolmentError", 30, "signature does not fit")


@pytest.mark.parametrize("text", ["", "a: [", "site: TUH\n", "- 1\n", "\x00"])
def test_rubbish_is_no_kit_and_no_request(place, text):
    file = place.folder / "rubbish.yaml"
    file.write_text(text)
    refused(place.server("enrol", str(file)), "EnrolmentError", 30, "not a request for admission")
    refused(place.enrol("TUH", kit=file), "EnrolmentError", 30, "not a startup kit")
    assert not place.state("TUH").exists()


def test_a_kit_for_another_site_and_data_without_manifest_are_refused(place):
    refused(place.enrol("MCS", kit=place.home / "kits" / "TUH.kit.yaml"), "EnrolmentError", 30, "for TUH, not for MCS")
    (place.folder / "hospitals" / "TUH" / "manifest.csv").unlink()
    refused(place.enrol("TUH"), "EnrolmentError", 30, "no manifest.csv")
    assert not place.state("TUH").exists()


def test_a_second_key_needs_the_first_one_revoked_and_a_revoked_key_never_returns(place):
    place.enrol("TUH")
    place.server("enrol", str(place.request("TUH")), typed="y\n")
    old = place.request("TUH").read_text()
    shutil.rmtree(place.state("TUH"))
    place.enrol("TUH")
    refused(place.server("enrol", str(place.request("TUH")), typed="y\n"), "EnrolmentError", 30, "with another key")
    assert place.server("sites", "--revoke", "TUH").exit_code == 0
    assert place.server("enrol", str(place.request("TUH")), typed="y\n").exit_code == 0
    place.request("TUH").write_text(old)
    refused(place.server("enrol", str(place.request("TUH")), typed="y\n"), "EnrolmentError", 30, "was revoked")
    states = [line.split()[1] for line in place.server("sites").output.splitlines() if line.startswith("TUH")]
    assert states == ["revoked", "server"]


def test_a_federation_is_not_founded_over_another(place):
    before = (place.home / "ca.pem").read_bytes()
    refused(place.found(), "FederationStateError", 33, "already holds a federation")
    assert (place.home / "ca.pem").read_bytes() == before


@pytest.mark.parametrize("host", ["https://fl.example.org", "fl.example.org:8443", "two words", ""])
def test_what_is_no_host_is_refused(tmp_path, host):
    result = Place(tmp_path).server("init", "x", "--host", host, "--sites", "TUH")
    refused(result, "ConfigurationError", 2, "is not a host")
    assert not (tmp_path / "federation").exists()


def test_a_site_without_kit_gets_one_later(place):
    assert place.server("kit", "RAW").exit_code == 0
    assert "RAW          has a kit, no request yet" in place.server("sites").output


def test_a_renewed_certificate_is_of_the_same_authority_and_a_new_host_reaches_the_kits(place):
    authority, before = (place.home / "ca.pem").read_bytes(), (place.home / "server.pem").read_bytes()
    assert place.server("renew").exit_code == 0
    assert (place.home / "ca.pem").read_bytes() == authority
    assert (place.home / "server.pem").read_bytes() != before
    assert place.server("renew", "--host", "new.example.org").exit_code == 0
    kit = yaml.safe_load((place.home / "kits" / "TUH.kit.yaml").read_text())
    assert kit["address"] == "new.example.org:8443"
    (place.home / "keys" / "ca.key").unlink()
    refused(place.server("renew"), "CertificateError", 32, "put it back")


def test_a_changed_program_is_not_run_until_it_is_accepted(place):
    place.enrol("TUH")
    settings = place.state("TUH") / "site.yaml"
    accepted = settings.read_text()
    settings.write_text(re.sub(r"(?m)^code: .*$", 'code: "' + "0" * 64 + '"', accepted))
    start = ("--site", "TUH", "--state", place.state("TUH"))
    refused(place.client(*start), "CodeChangedError", 34, "is not the accepted one")
    assert place.client(*start, "pin").exit_code == 0
    assert settings.read_text() == accepted


def test_a_key_that_others_can_read_is_not_used(place):
    place.enrol("TUH")
    (place.state("TUH") / "keys" / "node.key").chmod(0o644)
    refused(place.client("--site", "TUH", "--state", place.state("TUH")), "ConfigurationError", 2, "read by others")


def test_status_without_a_node_says_so_and_ends_with_1(place):
    place.enrol("TUH")
    result = place.client("--site", "TUH", "--state", place.state("TUH"), "status")
    assert (result.exit_code, result.output) == (1, "TUH: not running\n")


def test_the_audit_of_a_site_shows_a_changed_line(place):
    place.enrol("TUH")
    log = place.state("TUH") / "audit.jsonl"
    command = ("--site", "TUH", "--state", place.state("TUH"), "audit", "--verify")
    assert "chain intact" in place.client(*command).output
    entry = json.loads(log.read_text())
    entry["details"]["address"] = "elsewhere.example.org:8443"
    log.write_text(json.dumps(entry) + "\n")
    refused(place.client(*command), "AuditError", 38, "chain of the audit log is broken")
