"""A wire with faults: carries IP packets between two network namespaces through two TUN devices.

    wire.py NEAR_NAME FAR_NAME FAR_NAMESPACE SEED

Standard input takes one JSON object a line and answers each with one line on standard output. An
object with "down" (near to far) or "up" (far to near) sets that direction's faults, all of them:
{"loss": 0.05, "delay_ms": 40, "jitter_ms": 10}. "rebind" sets by how much the ports from which the far
side sends UDP are shifted on their way: a NAT whose mappings were lost. What comes back to the old
ports is lost from then on. The answer holds the counters of both directions.
The same seed drops the same ordinals of each direction. Jitter delays, it never reorders: a queue
in a router does not either. Ends when standard input does.
"""

import ctypes
import fcntl
import json
import os
import random
import select
import struct
import sys
import time
from collections import deque

TUNSETIFF = 0x400454CA
IFF_TUN = 0x0001
IFF_NO_PI = 0x1000
CLONE_NEWNET = 0x40000000
PACKET_BYTES_MAX = 65536
IPPROTO_UDP = 17
# Packets that a direction holds back at once; more are dropped and counted, as in a real buffer.
HELD_MAX = 4096
# Packets taken from one device before the other one has its turn.
BATCH = 64


def open_tun(name):
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    return fd


def enter(namespace):
    libc = ctypes.CDLL(None, use_errno=True)
    fd = os.open(namespace, os.O_RDONLY)
    if libc.setns(fd, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")
    os.close(fd)


def shift_port(packet, shift, is_up):
    """Shifts the far side's port of a whole IPv4 UDP packet (RFC 768); anything else is as it was."""
    if packet[0] >> 4 != 4 or packet[9] != IPPROTO_UDP:
        return packet
    udp = (packet[0] & 15) * 4
    at = udp if is_up else udp + 2
    port = int.from_bytes(packet[at : at + 2], "big") + (shift if is_up else -shift)
    changed = bytearray(packet)
    changed[at : at + 2] = (port & 0xFFFF).to_bytes(2, "big")
    # Over IPv4 zero stands for no checksum.
    changed[udp + 6 : udp + 8] = b"\0\0"
    return bytes(changed)


class Direction:
    """One way through the wire: its faults, its queue, its counters."""

    def __init__(self, source, target, seed, is_up):
        self.source, self.target, self.is_up = source, target, is_up
        self.shift = 0
        self.chance = random.Random(seed)
        self.held = deque()
        self.last_due = 0.0
        self.set({})
        self.counters = {"carried": 0, "lost": 0, "overflowed": 0, "refused": 0}

    def set(self, faults):
        self.loss = faults.get("loss", 0.0)
        self.delay_s = faults.get("delay_ms", 0.0) / 1000
        self.jitter_s = faults.get("jitter_ms", 0.0) / 1000

    def take(self, now):
        for _ in range(BATCH):
            try:
                packet = os.read(self.source, PACKET_BYTES_MAX)
            except BlockingIOError:
                return
            if self.chance.random() < self.loss:
                self.counters["lost"] += 1
                continue
            if len(self.held) >= HELD_MAX:
                self.counters["overflowed"] += 1
                continue
            if self.shift:
                packet = shift_port(packet, self.shift, self.is_up)
            due = now + self.delay_s + self.chance.uniform(0, self.jitter_s)
            self.last_due = max(self.last_due, due)
            self.held.append((self.last_due, packet))

    def give(self, now):
        while self.held and self.held[0][0] <= now:
            try:
                os.write(self.target, self.held[0][1])
                self.counters["carried"] += 1
            except OSError:
                # The device is down, or has no room: a wire loses what it cannot deliver.
                self.counters["refused"] += 1
            self.held.popleft()


def obey(line, down, up):
    order = json.loads(line)
    for name, direction in (("down", down), ("up", up)):
        direction.shift = order.get("rebind", direction.shift)
        if name in order:
            direction.set(order[name])
    print(json.dumps({"down": down.counters, "up": up.counters}), flush=True)


def main():
    near_name, far_name, namespace, seed = sys.argv[1:]
    near = open_tun(near_name)
    enter(namespace)
    far = open_tun(far_name)
    down = Direction(near, far, seed + "down", is_up=False)
    up = Direction(far, near, seed + "up", is_up=True)
    print("{}", flush=True)
    pending = b""
    while True:
        now = time.monotonic()
        dues = [side.held[0][0] for side in (down, up) if side.held]
        wait = max(0.0, min(dues) - now) if dues else None
        ready, _, _ = select.select([near, far, 0], [], [], wait)
        now = time.monotonic()
        if near in ready:
            down.take(now)
        if far in ready:
            up.take(now)
        down.give(now)
        up.give(now)
        if 0 in ready:
            data = os.read(0, 65536)
            if not data:
                return
            *lines, pending = (pending + data).split(b"\n")
            for line in lines:
                obey(line, down, up)


main()
