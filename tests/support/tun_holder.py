"""Runs inside a fresh network namespace: makes a TUN device, hands it to the router, and keeps the namespace alive.

``python tun_holder.py SOCKET_FD ADDRESS PEER ADDRESS6 PEER6 MTU``. The device's file descriptor goes over the Unix
socket; the process ends when that socket closes, and the namespace with it.
"""

from __future__ import annotations

import array
import fcntl
import os
import socket
import struct
import subprocess
import sys

TUNSETIFF = 0x400454CA
IFF_TUN = 0x0001
IFF_NO_PI = 0x1000
DEVICE = "lossy0"


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"ip {' '.join(words)}: {done.stderr.strip()}")


def main() -> None:
    """Configures the device, sends it, waits for the end."""
    link = socket.socket(fileno=int(sys.argv[1]))
    address, peer, address6, peer6, mtu = sys.argv[2:7]
    try:
        device = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", DEVICE.encode(), IFF_TUN | IFF_NO_PI))
        _ip("link", "set", "lo", "up")
        _ip("link", "set", DEVICE, "mtu", mtu, "up")
        _ip("address", "add", address, "peer", peer, "dev", DEVICE)
        try:
            _ip("-6", "address", "add", address6, "peer", peer6, "dev", DEVICE, "nodad")
        except OSError as error:
            print(error, file=sys.stderr)  # noqa: T201 - no IPv6 in this kernel: IPv4 alone is tested
    except OSError as error:
        link.sendall(b"E" + str(error).encode())
        return
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [device]).tobytes())]
    link.sendmsg([b"D"], rights)
    os.close(device)  # the router's copy keeps it alive
    link.recv(1)


if __name__ == "__main__":
    main()
