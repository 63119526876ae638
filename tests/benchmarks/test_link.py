"""The slow link: what it carries arrives as it was, and is counted."""

from __future__ import annotations

import os
import socket
import threading

from benchmarks.link import Direction, linked


def echo(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    with connection:
        while piece := connection.recv(65536):
            connection.sendall(piece)


def test_what_a_link_carries_arrives_and_is_counted() -> None:
    content = os.urandom(300_000)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        answering = threading.Thread(target=echo, args=[listener])
        answering.start()
        with (
            linked(
                listener.getsockname()[1], bits_per_second=1e9, round_trip_seconds=0.001
            ) as link,
            socket.create_connection(("127.0.0.1", link.port)) as connection,
        ):
            connection.sendall(content)
            connection.shutdown(socket.SHUT_WR)
            assert connection.makefile("rb").read() == content
            assert link.carried() == (len(content), len(content))
        answering.join()


def test_bytes_leave_one_after_the_other_and_arrive_after_the_delay() -> None:
    direction = Direction(bytes_per_second=1000, delay_seconds=0.5)
    assert direction.arrival(10.0, 1000) == 11.5
    assert direction.arrival(10.0, 500) == 12.0
    assert direction.arrival(20.0, 500) == 21.0
    assert direction.carried == 2000
