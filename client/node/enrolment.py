"""Enrolment at the hospital: the site's key is made here and never leaves."""

from __future__ import annotations

import secrets
from pathlib import Path

import yaml
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_ssh_private_key

from client.node.home import SiteHome, read_settings
from common import audit
from common.atomic import write_bytes, write_text
from common.code import code_digest
from common.data.manifest import MANIFEST
from common.enrolment import CURVE, Kit, Request, make_request, read_file, to_text
from common.errors import EnrolmentError
from common.names import check_name

SECRET = 0o600

_TEMPLATE = """\
# A site of the federation {federation}. Read by `xai-client --site {site}`; all keys: docs/hospital.md.
site: {site}
federation: {federation}
address: "{address}"                 # the coordinator's listener
data: {data}
# SHA-256 of the program that this site has accepted. After an update that you want: xai-client --site {site} pin
code: "{code}"
# health: 127.0.0.1:9095             # gRPC health checks for your monitoring

# What the coordinator may ask of this site. Every request is checked; a refusal is named to the coordinator.
policy:
  tasks: [classifier, detector]
  methods: []                        # names of method rows; empty = any
  rounds: 1000                       # a run with more is refused
  minimum_patients: 8
  tell_shift: true                   # say what images and patients look like beside those of other sites
  minimum_steps: 1                   # an update of fewer local steps does not leave
  minimum_cell: null                 # figures over fewer breasts, views or lesions do not leave; null = the program's 5
  decimals: null                     # figures are rounded to so many; null = not at all
  maximum_epsilon: null              # privacy budget of the same patients, all runs together; null = none is kept
  maximum_epsilon_run: null          # of one run
  maximum_delta: null                # of one run; null = below one over the patients
  private_tasks: null                # tasks trained with privacy only; null = all if a budget is set, else none
  training_hours: ""                 # e.g. "20:00-06:00": training begins only then
  cores: 0                           # CPU cores at most; 0 = all
  memory_gb: 0                       # memory of the executor; 0 = no limit
  gpus: null                         # numbers of the GPUs it may use, e.g. [0]; [] = none, null = all
  gpu_memory_gb: 0                   # memory on each of them; 0 = no limit
  message_mb: 1024                   # a larger request (the model it brings) is refused
  ranges:                            # setting: [lowest, highest]
    training.local_epochs: [1, 20]
    training.batch_size: [1, 256]
    method.personal_epochs: [0, 50]
    imaging.height: [32, 2048]
    imaging.width: [32, 2048]
    evaluation.explained: [0, 1000]
    evaluation.background: [1, 64]
    evaluation.gallery: [0, 50]
  fixed: {{}}                          # setting: the only value allowed, e.g. data.unreadable: skip
"""


def enrol(kit_file: Path, site: str, data: Path, home: SiteHome) -> tuple[Request, Path]:
    """Make the site's key and ``site.yaml``; returns the request for admission and its file.

    Calling it again with the same kit keeps the key and writes the request again.

    Args:
        kit_file: what the coordinator sent.
        site: name of the site; it must be the kit's.
        data: folder with ``manifest.csv``.
        home: the site's state folder.

    Raises:
        EnrolmentError: damaged kit, a kit for another site or federation, or a data folder without manifest.
        StorageError: the state folder cannot be written.
    """
    kit = read_file(kit_file, Kit)
    check_name(site)
    if kit.site != site:
        raise EnrolmentError(f"the kit is for {kit.site}, not for {site}", where=str(kit_file), do="ask for your kit")
    if not (data / MANIFEST).is_file():
        raise EnrolmentError(
            f"the data folder has no {MANIFEST}", where=str(data), do="make one: docs/data.md, or xai-client import"
        )
    if home.settings_file.exists():
        _require_same_federation(home, kit)
    key = _key(home)
    write_text(home.authority, kit.ca_certificate)
    if not home.executor_secret.exists():
        write_bytes(home.executor_secret, secrets.token_hex(32).encode(), SECRET)
    if not home.settings_file.exists():
        quoted = yaml.safe_dump(str(data.resolve()), default_style='"').strip()
        text = _TEMPLATE.format(
            site=site, federation=kit.federation, address=kit.address, data=quoted, code=code_digest()
        )
        write_text(home.settings_file, text)
    request = make_request(kit.federation, site, key)
    file = home.folder / f"{site}.request.yaml"
    write_text(file, to_text(request))
    audit.append(home.audit, "enrolled", federation=kit.federation, address=kit.address, key=request.fingerprint)
    return request, file


def _require_same_federation(home: SiteHome, kit: Kit) -> None:
    content = yaml.safe_load(home.settings_file.read_text())
    federation = content.get("federation") if isinstance(content, dict) else None
    if federation != kit.federation:
        raise EnrolmentError(
            f"this state folder belongs to the federation {federation}, the kit to {kit.federation}",
            where=str(home.settings_file),
            do="choose another --state for the other federation",
        )


def _key(home: SiteHome) -> ec.EllipticCurvePrivateKey:
    if home.key.exists():
        key = load_ssh_private_key(home.key.read_bytes(), None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise EnrolmentError("the site's key is not an ECDSA key", where=str(home.key), do="move it away")
        return key
    made = ec.generate_private_key(CURVE())
    home.folder.mkdir(parents=True, exist_ok=True)
    home.key.parent.mkdir(mode=0o700, exist_ok=True)
    write_bytes(home.key, made.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()), SECRET)
    return made


def pin(home: SiteHome) -> str:
    """Accept the installed program: write its digest into ``site.yaml``, whose other lines stay as they are.

    Raises:
        ConfigurationError: the site is not enrolled, or ``site.yaml`` is wrong.
        EnrolmentError: ``site.yaml`` has no line ``code:``.
    """
    read_settings(home)
    lines = home.settings_file.read_text().splitlines()
    numbers = [number for number, line in enumerate(lines) if line.startswith("code:")]
    if len(numbers) != 1:
        raise EnrolmentError("site.yaml has no line 'code:' of its own", where=str(home.settings_file))
    lines[numbers[0]] = f'code: "{code_digest()}"'
    write_text(home.settings_file, "\n".join(lines) + "\n")
    audit.append(home.audit, "program accepted", code=code_digest())
    return code_digest()
