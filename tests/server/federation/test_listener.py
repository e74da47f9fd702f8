"""The public listener's sockets."""

import socket

from server.federation.superlink import probing


def test_connections_of_sites_are_probed_by_the_kernel():
    """They inherit it; a connection whose other end vanished without a word is closed after 30 s and three probes."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        probing(listener).listen()
        with socket.create_connection(listener.getsockname()), listener.accept()[0] as taken:
            assert taken.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            silence, pause, probes, unheard = (
                taken.getsockopt(socket.IPPROTO_TCP, option)
                for option in (
                    socket.TCP_KEEPIDLE,
                    socket.TCP_KEEPINTVL,
                    socket.TCP_KEEPCNT,
                    socket.TCP_USER_TIMEOUT,
                )
            )
    assert silence + pause * probes <= 60
    assert unheard <= 60_000
