"""Answers gRPC health checks (``grpc.health.v1``) for a hospital's monitoring."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from common.errors import AddressError


class _Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc]
    """SERVING while the node could answer a request."""

    def __init__(self, healthy: Callable[[], bool]) -> None:
        self._healthy = healthy

    def Check(  # noqa: N802 (gRPC's name)
        self, _request: health_pb2.HealthCheckRequest, _context: grpc.ServicerContext
    ) -> health_pb2.HealthCheckResponse:
        """Answer one check."""
        status = health_pb2.HealthCheckResponse
        return status(status=status.SERVING if self._healthy() else status.NOT_SERVING)


@contextmanager
def health_server(address: str, healthy: Callable[[], bool]) -> Iterator[None]:
    """Answer health checks on ``host:port`` inside the block.

    Raises:
        AddressError: the address cannot be used.
    """
    server = grpc.server(ThreadPoolExecutor(max_workers=2))
    health_pb2_grpc.add_HealthServicer_to_server(_Health(healthy), server)
    try:
        bound = server.add_insecure_port(address)
    except RuntimeError as error:
        bound = 0
        reason: Exception | None = error
    else:
        reason = None
    if not bound:
        raise AddressError(
            f"health checks cannot be answered on {address}", where="site.yaml: health", do="choose a free port"
        ) from reason
    server.start()
    try:
        yield
    finally:
        server.stop(grace=1).wait()
