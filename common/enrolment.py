"""What passes between coordinator and hospital before they are connected: a kit one way, a request the other.

Both are small YAML files that a person can read. Neither is secret: the private key is made at the
hospital and stays there. Who is who is settled by two people comparing a fingerprint.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import yaml
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_ssh_public_key
from pydantic import ValidationError

from common.adapters import adapter_of
from common.errors import EnrolmentError

CURVE = ec.SECP384R1


@dataclass(frozen=True)
class Kit:
    """Coordinator to hospital: where to connect and how to recognise the coordinator. Nothing secret."""

    federation: str
    site: str
    address: str
    """``host:port`` of the listener for sites."""
    ca_certificate: str
    """PEM of the federation's own certificate authority."""


@dataclass(frozen=True)
class Request:
    """Hospital to coordinator: admit this key under this name. Signed with the key itself."""

    federation: str
    site: str
    public_key: str
    """OpenSSH text of an ECDSA P-384 key."""
    signature: str

    @property
    def fingerprint(self) -> str:
        """What two people compare over the telephone; ``ssh-keygen -lf`` shows the same."""
        return fingerprint(self.public_key)

    @property
    def key(self) -> ec.EllipticCurvePublicKey:
        """The public key, read.

        Raises:
            EnrolmentError: it is no ECDSA P-384 key.
        """
        try:
            key = load_ssh_public_key(self.public_key.encode())
        except (ValueError, UnsupportedAlgorithm, binascii.Error) as error:
            raise EnrolmentError(
                "the request's public key cannot be read", do="let the hospital enrol again"
            ) from error
        if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, CURVE):
            raise EnrolmentError("the request's key is not ECDSA P-384", do="let the hospital enrol again")
        return key


def fingerprint(public_key: str) -> str:
    """SHA-256 fingerprint of an OpenSSH public key, written as OpenSSH does.

    Raises:
        EnrolmentError: the text is no OpenSSH public key.
    """
    try:
        blob = base64.b64decode(public_key.split()[1], validate=True)
    except (IndexError, binascii.Error) as error:
        raise EnrolmentError("a public key is damaged", do="let the hospital enrol again") from error
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def openssh(key: ec.EllipticCurvePublicKey) -> str:
    """The public key as OpenSSH writes it."""
    return key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def make_request(federation: str, site: str, key: ec.EllipticCurvePrivateKey) -> Request:
    """Sign a request for admission with the site's key."""
    public_key = openssh(key.public_key())
    signature = key.sign(_signed(federation, site, public_key), ec.ECDSA(hashes.SHA384()))
    return Request(federation, site, public_key, base64.b64encode(signature).decode())


def verify(request: Request) -> None:
    """Check that who made the request holds the private key, for this site of this federation.

    Raises:
        EnrolmentError: damaged key, or a signature that does not fit.
    """
    signed = _signed(request.federation, request.site, request.public_key)
    try:
        signature = base64.b64decode(request.signature, validate=True)
        request.key.verify(signature, signed, ec.ECDSA(hashes.SHA384()))
    except (InvalidSignature, binascii.Error) as error:
        raise EnrolmentError(
            "the request's signature does not fit its site and key",
            do="somebody changed the file on its way: let the hospital send it again",
        ) from error


def _signed(federation: str, site: str, public_key: str) -> bytes:
    return "\n".join(("xai-federation enrolment", federation, site, public_key)).encode()


F = TypeVar("F", Kit, Request)


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as they are, so that a certificate looks like one."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def to_text(item: Kit | Request) -> str:
    """YAML of a kit or request, with a first line for the person who opens it."""
    what = "Startup kit" if isinstance(item, Kit) else "Request for admission"
    body = yaml.dump(asdict(item), Dumper=_Dumper, sort_keys=False, width=1000)
    return f"# {what} of {item.site} in {item.federation}. Nothing in it is secret.\n{body}"


def read_file(path: Path, kind: type[F]) -> F:
    """Read a kit or a request.

    Raises:
        EnrolmentError: missing, damaged, or something else.
    """
    name = "a startup kit" if kind is Kit else "a request for admission"
    try:
        return adapter_of(kind).validate_python(yaml.safe_load(path.read_text()))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ValidationError) as error:
        raise EnrolmentError(
            f"the file is not {name}", where=str(path), do="check the path, or have the file sent again"
        ) from error
