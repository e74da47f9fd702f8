"""Everything a site says, searched for what must not leave it."""

import csv
import json
import logging
import re
from dataclasses import fields

import pydicom
from flwr.app import ArrayRecord, ConfigRecord, Context, RecordDict

from client.app import app as client_app
from client.privacy import ledger
from common.configuration import load_run, to_yaml
from common.protocol import COMPARED, CONTROLS, Estimate, ExplanationQuality, ExplanationScore
from server.app import app as server_app
from simulations.local_grid import LocalGrid

SECRETS = ("YAMADA", "1957-03-02", "/manifest", ".dcm", "dicom")


class ListeningGrid(LocalGrid):
    """Keeps the bytes of every reply."""

    heard = b""

    def _work(self, message):
        reply = super()._work(message)
        if reply.has_error():
            self.heard += repr(reply.error).encode()
            return reply
        for name, record in reply.content.items():
            self.heard += name.encode()
            if isinstance(record, ConfigRecord):
                self.heard += repr(dict(record)).encode()
            elif isinstance(record, ArrayRecord):
                self.heard += b"".join(key.encode() + array.data for key, array in record.items())
            else:
                raise AssertionError(f"unexpected record {type(record)}")
        return reply


def name_patients(site):
    """Give patients, exams and devices identifying names."""
    file = site / "manifest.csv"
    with file.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    for row in rows:
        row["patient_id"] = f"YAMADA-{row['patient_id']}"
        row["exam_id"] = f"1957-03-02-{row['exam_id']}"
    with file.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def federate(sites, out, *overrides):
    config = load_run("tiny", ["training.threads=1", "federation.rounds=1", "sites=[MCS,TUH]", *overrides])
    out.mkdir()
    (out / "config.yaml").write_text(to_yaml(config))
    nodes = {
        name: {"site": name, "data": str(sites / name), "state": str(out / "sites" / name)} for name in ("MCS", "TUH")
    }
    grid = ListeningGrid(client_app, nodes)
    server_app(grid, Context(1, 1, {}, RecordDict(), {"run-folder": str(out)}))
    return grid.heard


def test_no_identifier_path_or_date_leaves_a_site(own_phantom, tmp_path):
    for name in ("MCS", "TUH"):
        name_patients(own_phantom / name)
    heard = federate(own_phantom, tmp_path / "run")
    assert len(heard) > 1e6, "updates were heard"  # two of 300,000 parameters in bf16
    assert b"TrainReport" in heard
    assert b"EvaluationReport" in heard
    for secret in (*SECRETS, str(tmp_path)):
        assert secret.encode() not in heard, secret


def keys_of(value):
    """Every key of a nested message."""
    if isinstance(value, dict):
        return set(value) | {key for item in value.values() for key in keys_of(item)}
    assert value is None or isinstance(value, int | float), "a list or a text among scores of explanations"
    return set()


def test_scores_of_explanations_hold_no_identifier_path_or_pixel(own_phantom, tmp_path):
    for name in ("MCS", "TUH"):
        name_patients(own_phantom / name)
    more = ("data.test_fraction=0.6", "evaluation.quality=full", "evaluation.explainers=[hirescam]",
            "evaluation.explained=3")  # fmt: skip
    heard = federate(own_phantom, tmp_path / "run", *more)
    for secret in (*SECRETS, str(tmp_path)):
        assert secret.encode() not in heard, secret
    files = sorted(own_phantom.glob("*/dicom/*.dcm"))
    assert len(files) > 20
    for file in files:
        rows = pydicom.dcmread(file).pixel_array
        middle = rows[len(rows) // 2]
        assert middle.tobytes() not in heard and middle.astype("float32").tobytes() not in heard
    told = [json.loads(body) for body in re.findall(r"'body': '(.*?)'[,}]", heard.decode("latin-1"))]
    scores = [report["explanations"] for report in told if report.get("explanations")]
    assert scores and scores[0]["hirescam"]["quality"]["faithfulness"]["value"] is not None
    words = {item.name for kind in (Estimate, ExplanationScore, ExplanationQuality) for item in fields(kind)}
    for report in scores:
        assert keys_of(report) <= words | {"hirescam", *CONTROLS, *COMPARED}


def test_of_a_private_run_only_its_price_leaves_and_nothing_that_its_ledger_holds(own_phantom, tmp_path):
    for name in ("MCS", "TUH"):
        name_patients(own_phantom / name)
    out = tmp_path / "run"
    heard = federate(own_phantom, out, "privacy.unit=patient", "privacy.noise_multiplier=5", "model.norm=group",
                     "privacy.patients_per_step=99")  # fmt: skip
    assert b'"privacy":{"epsilon":' in heard and b'"planned":{"epsilon":' in heard
    for name in ("MCS", "TUH"):
        state = out / "sites" / name
        (line,) = ledger.read(state)
        (members,) = (state / "privacy-patients").iterdir()
        assert members.name == line.data
        secrets = [line.data, line.key, ledger.last_hash(state), *members.read_text().split()]
        assert len(secrets) == 3 + line.patients
        for secret in (*secrets, *SECRETS, (state / "keys" / "patients.key").read_bytes()):
            assert (secret if isinstance(secret, bytes) else secret.encode()) not in heard
        assert b"YAMADA" not in b"".join(file.read_bytes() for file in state.glob("privacy-*/*"))


def test_a_refusal_names_the_error_but_not_the_file(own_phantom, tmp_path, caplog):
    name_patients(own_phantom / "TUH")
    broken = sorted((own_phantom / "TUH" / "dicom").iterdir())[0]
    broken.write_bytes(b"damaged")
    with caplog.at_level(logging.ERROR):
        heard = federate(own_phantom, tmp_path / "run", "federation.quorum=0.5")
    assert b"UnreadableImageError" in heard
    for secret in (*SECRETS, str(tmp_path)):
        assert secret.encode() not in heard, secret
    assert broken.name in caplog.text, "the site's own log says which file"
