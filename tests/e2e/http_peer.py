"""A publisher and a player without a browser and without an SDK: aiortc, as published, over HTTP.

`publish URL TOKEN FILE [copied]` sends a file by WHIP; `copied` sends its bits as they are, else aiortc
encodes anew. `play URL TOKEN` receives by WHEP, reads the numbers of the pictures (pattern.py) and the
frequency of the sound, and writes one line of JSON twice a second with what it has. Both delete their
resource when their standard input ends.
"""

import asyncio
import json
import sys
import urllib.parse
import urllib.request

import aioice.ice
import numpy as np
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.contrib.media import MediaPlayer
from aiortc.mediastreams import MediaStreamError
from aiortc.rtcrtpsender import RTCRtpSender

import pattern

# It leaves the loopback interface out, and a machine for tests may have no other.
aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]


def say(**row):
    print(json.dumps(row), flush=True)


def request(method, url, token, body=None):
    headers = {"authorization": f"Bearer {token}", "content-type": "application/sdp"}
    asked = urllib.request.Request(url, body, headers, method=method)
    with urllib.request.urlopen(asked, timeout=20) as answer:
        return answer.status, dict(answer.headers), answer.read().decode()


class Heard:
    """Counts what comes, and judges it."""

    def __init__(self):
        self.pictures = self.foreign = self.backwards = self.width = self.height = 0
        self.last = None
        self.numbers = set()
        self.samples = np.zeros(0)
        self.tone_hz, self.purity = 0, 0.0

    def see(self, frame):
        self.pictures += 1
        self.width, self.height = frame.width, frame.height
        number = pattern.number_of(frame.to_ndarray(format="gray"))
        if number is None:
            self.foreign += 1
            return
        # Numbers start again at zero, so half of them count as ahead.
        if self.last is not None:
            step = (number - self.last) % pattern.NUMBERS
            self.backwards += step > pattern.NUMBERS // 2
        self.last = number
        self.numbers.add(number)

    def hear(self, frame):
        channels = len(frame.layout.channels)
        sound = frame.to_ndarray().reshape(-1, channels)[:, 0].astype(float)
        self.samples = np.concatenate([self.samples, sound])
        if len(self.samples) >= pattern.SAMPLE_RATE:
            self.tone_hz, self.purity = pattern.tone_of(self.samples[: pattern.SAMPLE_RATE])
            self.samples = np.zeros(0)

    async def watch(self, track):
        take = self.see if track.kind == "video" else self.hear
        try:
            while True:
                take(await track.recv())
        except MediaStreamError:
            say(event="ended", kind=track.kind)

    def row(self):
        return {
            "pictures": self.pictures, "distinct": len(self.numbers), "foreign": self.foreign,
            "backwards": self.backwards, "width": self.width, "height": self.height,
            "number": self.last, "toneHz": self.tone_hz, "purity": round(self.purity, 3),
        }


class Session:
    """One resource of a server."""

    def __init__(self, url, token):
        self.url, self.token = url, token
        self.pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.pc.on("connectionstatechange", lambda: say(event=self.pc.connectionState))

    async def open(self):
        await self.pc.setLocalDescription(await self.pc.createOffer())
        offer = self.pc.localDescription.sdp.encode()
        _, headers, answer = await asyncio.to_thread(request, "POST", self.url, self.token, offer)
        self.url = urllib.parse.urljoin(self.url, headers["location"])
        say(event="open", url=self.url, answer=answer)
        await self.pc.setRemoteDescription(RTCSessionDescription(answer, "answer"))

    async def close(self):
        status, _, _ = await asyncio.to_thread(request, "DELETE", self.url, self.token)
        say(event="deleted", status=status)
        await self.pc.close()


async def until_told():
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()


async def publish(url, token, file, how=""):
    copied = how == "copied"
    player = MediaPlayer(file, decode=not copied)
    session = Session(url, token)
    codec = "video/H264" if "h264" in file else "video/VP8"
    for track in (player.audio, player.video):
        transceiver = session.pc.addTransceiver(track, direction="sendonly")
        if track.kind == "video":
            known = RTCRtpSender.getCapabilities("video").codecs
            transceiver.setCodecPreferences([each for each in known if each.mimeType == codec])
    await session.open()
    await until_told()
    await session.close()


async def play(url, token):
    session, heard = Session(url, token), Heard()
    tasks = []

    @session.pc.on("track")
    def on_track(track: MediaStreamTrack):
        tasks.append(asyncio.ensure_future(heard.watch(track)))

    for kind in ("audio", "video"):
        session.pc.addTransceiver(kind, direction="recvonly")
    await session.open()
    told = asyncio.ensure_future(until_told())
    while not (await asyncio.wait([told], timeout=0.5))[0]:
        for task in tasks:
            # What went wrong in it is raised here.
            if task.done():
                task.result()
        say(event="received", **heard.row())
    await session.close()


if __name__ == "__main__":
    job, *arguments = sys.argv[1:]
    asyncio.run({"publish": publish, "play": play}[job](*arguments))
