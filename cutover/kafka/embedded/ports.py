"""Free ports on the loopback address.

They are taken below the range from which systems give ports to outgoing connections, so that a stopped broker finds its port free again.
"""

import random
import socket

from cutover.errors import KafkaInUse

LOWEST, HIGHEST = 20_000, 32_000


def is_free(port: int) -> bool:
    """Whether a broker could listen on the port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def answers(port: int) -> bool:
    """Whether somebody accepts connections on the port."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def choose(count: int, taken: set[int]) -> list[int]:
    """`count` different free ports, none of them in `taken`."""
    chosen: list[int] = []
    for port in random.sample(range(LOWEST, HIGHEST), HIGHEST - LOWEST):
        if len(chosen) == count:
            break
        if port not in taken and is_free(port):
            chosen.append(port)
    return chosen


def demand(port: int) -> int:
    """The port, if it is free; else raises KafkaInUse."""
    if not is_free(port):
        raise KafkaInUse(
            f"Port {port} on 127.0.0.1 is taken.", port=port, advice="Choose another --port, or none: then a free one is found."
        )
    return port
