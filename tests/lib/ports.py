"""Ports for what tests start. They stay with the process that asked until it ends, also while nobody listens there:
several test programs run at once, and a service that is away comes back to its port."""
import random
import socket

claims = []  # names of the kernel's, each held by one process


def free_ports(count):
    """Ports nobody listens on, below the range that outgoing connections take theirs from."""
    found = []
    while len(found) < count:
        port = random.randrange(15000, 32000)
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0otad-test-port-{port}")
            with socket.socket() as s:
                s.bind(("0.0.0.0", port))
        except OSError:
            claim.close()
            continue
        claims.append(claim)
        found.append(port)
    return found


def free_port():
    return free_ports(1)[0]
