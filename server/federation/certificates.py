"""The federation's own certificate authority and the server certificate that it signs."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from common.errors import CertificateError

AUTHORITY_DAYS = 3650
SERVER_DAYS = 397
"""Longest lifetime that browsers and proxies accept of a server certificate."""
WARN_DAYS = 30
_TOLERATED = datetime.timedelta(hours=1)
"""Hospitals' clocks may be this far behind and still accept a new certificate."""


def make_authority(federation: str, now: datetime.datetime) -> tuple[bytes, bytes]:
    """Make a certificate authority; returns PEM of its certificate and of its private key."""
    key = ec.generate_private_key(ec.SECP384R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"xai-federation {federation} CA")])
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _TOLERATED)
        .not_valid_after(now + datetime.timedelta(days=AUTHORITY_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(identifier, critical=False)
        .sign(key, hashes.SHA384())
    )
    return certificate.public_bytes(Encoding.PEM), _private(key)


def make_server_certificate(
    authority: bytes, authority_key: bytes, host: str, now: datetime.datetime, days: int = SERVER_DAYS
) -> tuple[bytes, bytes]:
    """Sign a certificate for ``host`` and for loopback; returns PEM of certificate and private key.

    Args:
        authority: PEM of the authority's certificate.
        authority_key: PEM of its private key.
        host: name or IP address under which sites reach the coordinator.
        now: begin of validity (an hour earlier is tolerated), with time zone.
        days: lifetime.

    Raises:
        CertificateError: certificate and key are damaged, of another kind, or not a pair.
    """
    issuer, signer = _authority(authority, authority_key)
    key = ec.generate_private_key(ec.SECP384R1())
    names = dict.fromkeys([_name(host), _name("localhost"), _name("127.0.0.1")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host[:64])]))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _TOLERATED)
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .sign(signer, hashes.SHA384())
    )
    return certificate.public_bytes(Encoding.PEM), _private(key)


def _authority(certificate: bytes, key: bytes) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """The authority as :func:`make_authority` made it: a person keeps its key elsewhere and puts it back."""
    try:
        issuer, signer = x509.load_pem_x509_certificate(certificate), load_pem_private_key(key, None)
    except (ValueError, TypeError) as error:  # TypeError: it is locked with a password
        raise _not_the_authority("cannot be read") from error
    if not isinstance(signer, ec.EllipticCurvePrivateKey) or signer.public_key() != issuer.public_key():
        raise _not_the_authority("do not belong together")
    return issuer, signer


def _not_the_authority(reason: str) -> CertificateError:
    return CertificateError(
        f"the authority's certificate and key {reason}",
        where="keys/ca.key",
        do="put back the key that xai-server init made for this federation",
    )


def check_certificate(path: Path, host: str, now: datetime.datetime) -> int:
    """Check the server certificate in ``path``; returns how many days it is still valid.

    Raises:
        CertificateError: missing, damaged, expired, not valid yet, or for another host.
    """
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, x509.ExtensionNotFound) as error:
        raise CertificateError(
            "the server certificate cannot be read", where=str(path), do="make a new one: xai-server renew"
        ) from error
    if now >= certificate.not_valid_after_utc:
        raise CertificateError(
            f"the server certificate expired on {certificate.not_valid_after_utc:%Y-%m-%d}",
            where=str(path),
            do="make a new one: xai-server renew (sites need nothing new)",
        )
    if now < certificate.not_valid_before_utc:
        raise CertificateError(
            f"the server certificate is valid from {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC only",
            where=str(path),
            do="set this machine's clock",
        )
    if _name(host) not in list(names):
        raise CertificateError(
            f"the server certificate is not for {host}", where=str(path), do="make a new one: xai-server renew"
        )
    return (certificate.not_valid_after_utc - now).days


def _name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
