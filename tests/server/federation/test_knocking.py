"""A node that is not let in is told why, by name; what one that is let in says of its program is kept."""

import datetime
from base64 import b64encode

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from flwr.common.constant import TIMESTAMP_HEADER
from flwr.supercore.constant import FLEET_HTTP_PUBLIC_KEY_HEADER
from flwr.supercore.primitives.asymmetric import public_key_to_bytes

from client.node.refusal import LONGEST, refusal_in
from common.code import CODE_HEADER, VERSION_HEADER, code_digest
from common.enrolment import fingerprint, openssh
from server.federation.founding import found
from server.federation.home import FederationHome, FederationSettings
from server.federation.knocking import reason_to_refuse
from server.federation.registry import AdmittedSite, _write
from server.federation.roll import overview
from server.federation.visits import Visit, note_visit, read_visits

NOW = datetime.datetime(2026, 11, 26, 12, 0, tzinfo=datetime.UTC)
KEYS = {name: ec.generate_private_key(ec.SECP384R1()).public_key() for name in ("TUH", "OLD", "STRANGER")}
SITES = [
    AdmittedSite("OLD", openssh(KEYS["OLD"]), "2026-01-01", "2026-02-03T04:05:06"),
    AdmittedSite("TUH", openssh(KEYS["TUH"]), "2026-01-01"),
]


def headers(key=KEYS["TUH"], seconds=0.0, **more):
    pem = public_key_to_bytes(key) if isinstance(key, ec.EllipticCurvePublicKey) else key
    time = (NOW + datetime.timedelta(seconds=seconds)).isoformat()
    named = {FLEET_HTTP_PUBLIC_KEY_HEADER: b64encode(pem), TIMESTAMP_HEADER: time.encode()} | more
    return {name.lower().encode(): value for name, value in named.items()}


@pytest.mark.parametrize(
    ("sent", "says"),
    [
        (
            headers(KEYS["STRANGER"]),
            f"KeyNotAdmitted: the key {fingerprint(openssh(KEYS['STRANGER']))} is not admitted",
        ),
        (headers(KEYS["OLD"]), "KeyRevoked: the key SHA256:"),
        (headers(KEYS["OLD"]), "of OLD was withdrawn on 2026-02-03"),
        (headers(seconds=3600), "ClockWrong: the clock of TUH is 60 min ahead of the coordinator's"),
        (headers(seconds=-3600), "ClockWrong: the clock of TUH is 60 min behind the coordinator's"),
        (headers(seconds=6), "is 6 s ahead of"),
        (headers(seconds=-306), "is 5 min behind"),
    ],
    ids=["not admitted", "revoked", "when", "ahead", "behind", "seconds ahead", "minutes behind"],  # keys are random
)
def test_the_reason_is_named(sent, says):
    assert says in reason_to_refuse(sent, SITES, NOW)


@pytest.mark.parametrize("seconds", [0, 4, -300])
def test_an_admitted_key_at_the_right_time_is_left_to_flower(seconds):
    assert reason_to_refuse(headers(seconds=seconds), SITES, NOW) == ""


OTHER = ed25519.Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize(
    "sent",
    [
        {},
        headers(b"rubbish"),
        headers(OTHER),
        headers() | {FLEET_HTTP_PUBLIC_KEY_HEADER.lower().encode(): b"\xff"},
        headers() | {TIMESTAMP_HEADER.lower().encode(): b"yesterday"},
        headers() | {TIMESTAMP_HEADER.lower().encode(): b"2026-11-26"},
    ],
)
def test_what_cannot_be_read_is_left_to_flower(sent):
    assert reason_to_refuse(sent, SITES, NOW) == ""


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("ClockWrong: the clock of TUH is 60 min behind", "60 min behind; set this machine's clock, best by NTP"),
        ("KeyNotAdmitted: the key SHA256:x", "ask the coordinator whether your request was enrolled"),
        ("KeyRevoked: the key SHA256:x", "delete keys/node.key and enrol again"),
        ("Failed to activate SuperNode.", "another node with this key is connected"),
    ],
)
def test_the_hospital_reads_the_reason_and_what_to_do(line, says):
    text = f"Exit Code: 305\nFailed to initialize the connection to the SuperLink.\n[code: 2004] {line}\nMore help"
    assert says in refusal_in(text)
    assert "More help" not in refusal_in(text)


def test_what_a_coordinator_writes_cannot_paint_on_the_hospitals_terminal():
    line = "Failed to initialize the connection to the SuperLink.\n[code: 2004] \x1b[31m" + "x" * 5000
    assert "\x1b" not in refusal_in(line)
    assert len(refusal_in(line)) < LONGEST + 100
    assert refusal_in("SuperNode ID: 3") == refusal_in("") == ""


@pytest.fixture
def home(tmp_path):
    made = FederationHome(tmp_path / "federation")
    found(made, FederationSettings("test", "127.0.0.1", sites=["TUH", "OLD", "NEW"]))
    _write(made, SITES)
    return made


def program(version=b"1.2.3", code=None):
    return {VERSION_HEADER: version, CODE_HEADER: (code or code_digest()).encode()}


def test_the_roll_shows_the_program_that_each_site_said_when_it_was_let_in(home):
    settings = FederationSettings("test", "127.0.0.1", sites=["TUH", "OLD", "NEW"])
    assert all(" - " in line for line in overview(home, settings) if "kit" not in line)
    note_visit(home, headers(**program()), NOW)
    note_visit(home, headers(KEYS["OLD"], **program(b"1.0", "f" * 64)), NOW)
    lines = {line.split()[0]: line for line in overview(home, settings)}
    assert f"1.2.3 ({code_digest()[:12]})" in lines["TUH"]
    assert "1.0 (ffffffffffff, not ours)" in lines["OLD"]
    assert "2026-11-26T12:00:00" in lines["TUH"]
    assert lines["NEW"].endswith("has a kit, no request yet")


def test_a_later_visit_replaces_an_earlier_one_and_rubbish_is_not_shown(home):
    key = fingerprint(openssh(KEYS["TUH"]))
    note_visit(home, headers(**program()), NOW)
    note_visit(home, headers(**program(b"<b>\x1b[31m")), NOW)
    assert read_visits(home) == {key: Visit("", code_digest(), "2026-11-26T12:00:00+00:00")}
    note_visit(home, {}, NOW)
    home.visits_file.write_text("{")
    assert read_visits(home) == {}
