"""Is the coordinator there? Asked of a real TLS server with good, foreign and expired certificates; and gRPC health."""

import datetime
import http.server
import ssl
import threading
import time
from email.utils import formatdate

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from client.node.health import health_server
from client.node.reach import clock_problem, problem_of
from common.errors import AddressError
from common.processes import free_port
from server.federation.certificates import make_authority, make_server_certificate

NOW = datetime.datetime.now(datetime.UTC)


class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/health" else 404)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def serve(tmp_path):
    """Serve with a certificate; returns the URL and the file of the authority that signed it."""
    servers = []

    def begin(valid_from=NOW, days=10, host="127.0.0.1", listen="127.0.0.1"):
        authority = make_authority("test", NOW - datetime.timedelta(days=100))
        certificate, key = make_server_certificate(*authority, host, valid_from, days)
        for name, data in (("ca.pem", authority[0]), ("server.pem", certificate), ("server.key", key)):
            (tmp_path / name).write_bytes(data)
        server = http.server.ThreadingHTTPServer((listen, 0), Answers)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tmp_path / "server.pem", tmp_path / "server.key")
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"https://{listen}:{server.server_port}", tmp_path / "ca.pem"

    yield begin
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_coordinator_that_answers_is_no_problem_and_another_page_is(serve):
    url, authority = serve()
    assert problem_of(f"{url}/health", authority) == ""
    assert problem_of(f"{url}/other", authority) == "the coordinator answers with 404"


WRONG = {
    "authority": ({}, "not one of this federation: somebody else answers"),
    "expired": ({"valid_from": NOW - datetime.timedelta(days=50)}, "has expired: the coordinator renews it"),
    "not yet": ({"valid_from": NOW + datetime.timedelta(days=5)}, "not valid yet: is this machine's clock right"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_certificate_is_named_with_who_can_mend_it(serve, wrong):
    begin, says = WRONG[wrong]
    url, authority = serve(**begin)
    if wrong == "authority":
        authority.write_bytes(make_authority("other", NOW)[0])
    assert says in problem_of(f"{url}/health", authority)


def test_a_certificate_for_another_address_is_named(serve):
    url, authority = serve(listen="127.0.0.2")
    assert "for another address than that of site.yaml" in problem_of(f"{url}/health", authority)


@pytest.mark.parametrize(
    ("minutes", "says"),
    [(61, "61 min ahead of"), (0.5, "30 s ahead of"), (-60, "60 min behind"), (-5.1, "5 min behind")],
)
def test_a_clock_that_is_off_is_named_with_what_to_do(minutes, says):
    there = datetime.datetime(2026, 11, 26, 12, 0, 0, tzinfo=datetime.UTC)
    problem = clock_problem("Thu, 26 Nov 2026 12:00:00 GMT", there + datetime.timedelta(minutes=minutes))
    assert f"clock is {says} the coordinator's" in problem
    assert "NTP" in problem


@pytest.mark.parametrize("seconds", [-299, -1, 0, 2, 9])
def test_a_clock_that_is_near_enough_is_no_problem(seconds):
    there = datetime.datetime(2026, 11, 26, 12, 0, 0, tzinfo=datetime.UTC)
    assert clock_problem("Thu, 26 Nov 2026 12:00:00 GMT", there + datetime.timedelta(seconds=seconds)) == ""
    assert clock_problem("yesterday", there) == clock_problem("", there) == ""


def test_the_coordinators_own_date_is_looked_at(serve, monkeypatch):
    """Its clock is an hour behind: the answer over TLS says so."""
    monkeypatch.setattr(Answers, "date_time_string", lambda *_: formatdate(time.time() - 3600, usegmt=True))
    url, authority = serve()
    assert "60 min ahead of the coordinator's" in problem_of(f"{url}/health", authority)


def test_nobody_there_and_no_authority_are_named(serve, tmp_path):
    _, authority = serve()
    assert problem_of(f"https://127.0.0.1:{free_port()}/health", authority).startswith("no connection")
    assert "cannot be read" in problem_of("https://127.0.0.1:9/health", tmp_path / "missing.pem")


def test_a_monitor_sees_whether_the_node_could_answer():
    healthy, port = [True], free_port()
    status = health_pb2.HealthCheckResponse
    with health_server(f"127.0.0.1:{port}", lambda: healthy[0]), grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        monitor = health_pb2_grpc.HealthStub(channel)
        assert monitor.Check(health_pb2.HealthCheckRequest(), timeout=10).status == status.SERVING
        healthy[0] = False
        assert monitor.Check(health_pb2.HealthCheckRequest(), timeout=10).status == status.NOT_SERVING


def test_an_address_that_cannot_be_used_for_health_is_named():
    with pytest.raises(AddressError, match="not-an-address"), health_server("not-an-address", lambda: True):
        pass
