"""Certificates, judged by OpenSSL's own verification in Python's ssl module: a real handshake."""

import datetime
import socket
import ssl
import threading

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from common.errors import CertificateError
from server.federation.certificates import check_certificate, make_authority, make_server_certificate

NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)


@pytest.fixture(scope="module")
def authority():
    return make_authority("test", NOW)


def written(folder, pair, name="server"):
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    certificate.write_bytes(pair[0])
    key.write_bytes(pair[1])
    return certificate, key


def handshake(certificate, key, trusted, host):
    """Let OpenSSL shake hands over a socket; raises what a site would see."""
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(certificate, key)
    visiting = ssl.create_default_context(cadata=trusted.decode())
    ours, theirs = socket.socketpair()

    def serve():
        try:
            serving.wrap_socket(ours, server_side=True).close()
        except (ssl.SSLError, OSError):
            ours.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with visiting.wrap_socket(theirs, server_hostname=host) as connection:
            return connection.version()
    finally:
        thread.join(10)


@pytest.mark.parametrize("host", ["fl.example.org", "192.0.2.7", "2001:db8::7"])
@pytest.mark.parametrize("reached", [None, "localhost", "127.0.0.1"])
def test_a_site_that_trusts_the_authority_connects_under_every_name(tmp_path, authority, host, reached):
    files = written(tmp_path, make_server_certificate(*authority, host, NOW))
    assert handshake(*files, authority[0], reached or host) == "TLSv1.3"


@pytest.mark.parametrize("wrong", ["authority", "host", "expired"])
def test_whatever_is_wrong_the_handshake_fails(tmp_path, authority, wrong):
    begin, days = (NOW - 3 * DAY, 2) if wrong == "expired" else (NOW, 30)
    files = written(tmp_path, make_server_certificate(*authority, "fl.example.org", begin, days))
    trusted = make_authority("other", NOW)[0] if wrong == "authority" else authority[0]
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(*files, trusted, "elsewhere.example.org" if wrong == "host" else "fl.example.org")


def test_the_authority_signs_nothing_but_servers(authority):
    """A server's key cannot sign certificates of its own: OpenSSL would have to accept the chain."""
    from cryptography import x509

    leaf = x509.load_pem_x509_certificate(make_server_certificate(*authority, "fl.example.org", NOW)[0])
    assert leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    assert leaf.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign is False


def test_the_check_at_the_start_names_what_is_wrong(tmp_path, authority):
    file, _ = written(tmp_path, make_server_certificate(*authority, "fl.example.org", NOW, 60))
    assert check_certificate(file, "fl.example.org", NOW + 10 * DAY) == 49  # whole days
    with pytest.raises(CertificateError, match="expired on"):
        check_certificate(file, "fl.example.org", NOW + 61 * DAY)
    with pytest.raises(CertificateError, match="valid from"):
        check_certificate(file, "fl.example.org", NOW - DAY)
    with pytest.raises(CertificateError, match=r"not for other\.example\.org"):
        check_certificate(file, "other.example.org", NOW)
    file.write_text("rubbish")
    with pytest.raises(CertificateError, match="cannot be read"):
        check_certificate(file, "fl.example.org", NOW)


def pem(key, lock=None):
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock or NoEncryption())


@pytest.mark.parametrize(
    ("key", "says"),
    [
        (b"", "cannot be read"),
        (b"-----BEGIN PRIVATE KEY-----\nrubbish\n-----END PRIVATE KEY-----\n", "cannot be read"),
        (pem(ec.generate_private_key(ec.SECP384R1()), BestAvailableEncryption(b"secret")), "cannot be read"),
        (pem(ed25519.Ed25519PrivateKey.generate()), "do not belong together"),
        (pem(ec.generate_private_key(ec.SECP384R1())), "do not belong together"),
    ],
    ids=["empty", "damaged", "locked", "another kind", "another authority's"],
)
def test_a_key_that_is_not_the_authoritys_is_named_and_signs_nothing(authority, key, says):
    with pytest.raises(CertificateError, match=says):
        make_server_certificate(authority[0], key, "127.0.0.1", NOW)
