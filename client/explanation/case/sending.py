"""Sends DICOM objects to an archive (C-STORE), as the hospital's modalities do."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pydicom
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE

from common import progress
from common.errors import SendingError

OURS = "XAI-FEDERATION"
SECONDS = 30.0
ADDRESS = re.compile(r"^(?P<host>[^\s:/]+):(?P<port>\d{1,5})/(?P<title>[ -.0-\[\]-~]{1,16})$")


@dataclass(frozen=True)
class Archive:
    """Where to: host, port and application entity title."""

    host: str
    port: int
    title: str


def parse_archive(text: str) -> Archive:
    """Read ``host:port/TITLE``.

    Raises:
        SendingError: it is not of this form.
    """
    found = ADDRESS.match(text)
    if not found or not 0 < int(found["port"]) < 65536:
        raise SendingError(
            f"'{text}' is no address of an archive", where="--send", do="give host:port/TITLE, pacs.local:104/ARCHIVE"
        )
    return Archive(found["host"], int(found["port"]), found["title"].strip())


def send(files: Sequence[Path], archive: Archive) -> int:
    """Store all files in the archive, in one association; returns their number.

    Raises:
        SendingError: there is no file; the archive cannot be reached, refuses us or a kind of object, or cannot store
            one; those before it are stored.
    """
    where = f"{archive.host}:{archive.port}/{archive.title}"
    if not files:
        raise SendingError(
            "there is nothing to send: these exams have no DICOM objects",
            where=where,
            do="only originals that are DICOM files have some",
        )
    datasets = {path: pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["SOPClassUID"]) for path in files}
    entity = AE(OURS)
    entity.connection_timeout = entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = SECONDS
    for kind in sorted({str(dataset.SOPClassUID) for dataset in datasets.values()}):
        entity.add_requested_context(kind, [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
    association = entity.associate(archive.host, archive.port, ae_title=archive.title)
    if not association.is_established:
        reason = "it refuses the association" if association.is_rejected else "it cannot be reached"
        raise SendingError(
            f"nothing was sent: {reason}", where=where, do=f"check address and title, and that it knows '{OURS}'"
        )
    try:
        with progress.track("sending", len(files)) as advance:
            for number, path in enumerate(files):
                try:
                    status = association.send_c_store(path)
                except ValueError as error:  # no context for this kind of object was accepted
                    raise _refused(number, len(files), path, "it does not take objects of this kind", where) from error
                if "Status" not in status:
                    raise _refused(number, len(files), path, "the connection broke", where)
                if status.Status not in (0x0000, 0xB000, 0xB006, 0xB007):  # success, or stored with a warning
                    raise _refused(number, len(files), path, f"status {status.Status:04X}", where)
                advance(1)
    finally:
        association.release()
    return len(files)


def _refused(number: int, total: int, path: Path, reason: str, where: str) -> SendingError:
    return SendingError(
        f"{number} of {total} objects were stored, then {path.name} was not: {reason}",
        where=where,
        do="ask who runs the archive; the same call sends all again, and an archive knows second copies",
    )
