"""How long the SuperNode pauses, and how one that was killed is reported gone."""

import datetime
import json
import logging

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from client.node import supernode
from client.node.farewell import remember, remembered, say_goodbye
from client.node.supernode import Quick
from common.processes import free_port
from server.federation.certificates import make_authority


@pytest.fixture
def slept(monkeypatch):
    pauses = []
    monkeypatch.setattr(supernode.time, "sleep", pauses.append)
    return pauses


def test_while_no_message_comes_the_coordinator_is_asked_less_and_less_often_but_every_second(slept):
    quick = Quick()
    for _ in range(60):
        quick.sleep(3)
    assert slept[:10] == [0.1] * 10
    assert slept == sorted(slept)
    assert slept[-1] == 1.0
    assert max(pause / max(1.0, sum(slept[:number])) for number, pause in enumerate(slept)) <= 0.1 + 1e-9


def test_a_message_makes_it_quick_again_and_the_executor_is_looked_at_often(slept):
    quick = Quick()
    for seconds in [3] * 60 + [0.5] * 5 + [3]:
        quick.sleep(seconds)
    assert slept[60:] == [0.05] * 5 + [0.1]


def test_the_number_is_noted_when_flower_says_it(tmp_path):
    handler = supernode._NotesConnection(tmp_path / "connected", tmp_path / "refused", tmp_path / "number")
    record = logging.LogRecord("flwr", logging.INFO, "", 0, "SuperNode ID: %s", (7766554433221100,), None)
    handler.emit(record)
    assert (tmp_path / "connected").exists()
    assert remembered(tmp_path / "number") == 7766554433221100


@pytest.mark.parametrize(
    "change",
    [
        lambda note: note.unlink(),
        lambda note: note.write_text("{"),
        lambda note: note.write_text("[]"),
        lambda note: note.write_text(json.dumps(json.loads(note.read_text()) | {"boot": "of another machine"})),
    ],
)
def test_without_a_note_of_this_machine_nobody_is_put_out(tmp_path, change):
    note = tmp_path / "number"
    remember(note, 5)
    assert remembered(note) == 5
    change(note)
    assert remembered(note) is None


def test_a_goodbye_that_nobody_hears_does_no_harm(tmp_path):
    """The coordinator is not there; that one that is there hears it is part of test_deployed.py."""
    note, key = tmp_path / "number", tmp_path / "node.key"
    private = ec.generate_private_key(ec.SECP384R1())
    key.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    authority, _ = make_authority("test", datetime.datetime.now(datetime.UTC))
    (tmp_path / "ca.pem").write_bytes(authority)
    remember(note, 5)
    say_goodbye(f"127.0.0.1:{free_port()}", tmp_path / "ca.pem", key, note)
    assert not note.exists()


@pytest.mark.parametrize("content", [b"", b"rubbish", None])
def test_a_key_that_is_none_is_left_to_the_supernode_to_name(tmp_path, content):
    note, key = tmp_path / "number", tmp_path / "node.key"
    other = ed25519.Ed25519PrivateKey.generate()
    key.write_bytes(
        other.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()) if content is None else content
    )
    remember(note, 5)
    say_goodbye(f"127.0.0.1:{free_port()}", tmp_path / "ca.pem", key, note)
    assert not note.exists()
