"""A person without a browser: the Python SDK `livekit`, as published, with its own libwebrtc.

`call URL TOKEN` joins, publishes a moving picture and a tone, and writes one line of JSON twice a
second with what it received. Each line on its standard input is a data packet to send, as JSON
{"text", "reliable", "topic"}. `churn URL SECONDS_MAX` joins and leaves once for each token on its
standard input.
"""

import asyncio
import json
import sys

import numpy as np
from livekit import rtc
from livekit.rtc._proto import stats_pb2 as rtc_stats

WIDTH, HEIGHT, FPS = 640, 480, 20
SAMPLE_RATE, TONE_HZ = 48_000, 440
#: How many of `churn` are in the room at once.
CHURN_WIDTH = 8


def say(**row):
    print(json.dumps(row), flush=True)


class Received:
    """Counts what comes from the others."""

    def __init__(self):
        self.frames = self.decoded = self.width = self.height = 0
        self.energy = 0.0
        self.packets = []
        self.pictures = []
        self.tasks = set()

    def watch(self, track):
        if track.kind == rtc.TrackKind.KIND_VIDEO:
            self.pictures.append(track)
            return
        task = asyncio.ensure_future(self.audio(track))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def look(self):
        """Pictures are counted where they are decoded: in one run of twenty the SDK's `VideoStream` handed out
        none of those that libwebrtc had decoded, twenty a second."""
        for track in self.pictures:
            for stats in await track.get_stats():
                if stats.HasField("inbound_rtp"):
                    inbound = stats.inbound_rtp.inbound
                    # libwebrtc begins again at zero when its settings change: the SDK's first publication
                    # writes a start bitrate into the sections that receive, too.
                    decoded = inbound.frames_decoded
                    self.frames += decoded - self.decoded if decoded >= self.decoded else decoded
                    self.decoded = decoded
                    self.width, self.height = inbound.frame_width, inbound.frame_height

    async def audio(self, track):
        async for event in rtc.AudioStream(track):
            samples = np.frombuffer(event.frame.data, dtype=np.int16).astype(np.float64) / 32768
            self.energy += float(np.mean(samples**2)) * event.frame.duration

    def packet(self, packet):
        self.packets.append({
            "text": packet.data.decode(),
            "topic": packet.topic,
            "reliable": packet.kind == rtc.DataPacketKind.KIND_RELIABLE,
            "from": packet.participant.identity if packet.participant else "",
        })


async def sent(camera):
    """What became of the painted pictures: by layer, how many were encoded and what holds the encoder back."""
    layers = {}
    for stats in await camera.get_stats():
        if stats.HasField("outbound_rtp"):
            outbound = stats.outbound_rtp.outbound
            reason = rtc_stats.QualityLimitationReason.Name(outbound.quality_limitation_reason)
            layers[outbound.rid] = [outbound.frames_encoded, outbound.target_bitrate, reason]
    return layers


async def paint(source):
    """A gradient that moves, so that the encoder has something to do."""
    column = np.arange(HEIGHT, dtype=np.uint16)[:, None]
    row = np.arange(WIDTH, dtype=np.uint16)[None, :]
    chroma = np.full(WIDTH * HEIGHT // 2, 128, dtype=np.uint8)
    loop = asyncio.get_running_loop()
    due = loop.time()
    step = 0
    while True:
        luma = ((row + column + 5 * step) & 0xFF).astype(np.uint8)
        picture = np.concatenate([luma.ravel(), chroma]).tobytes()
        source.capture_frame(rtc.VideoFrame(WIDTH, HEIGHT, rtc.VideoBufferType.I420, picture))
        step += 1
        due += 1 / FPS
        await asyncio.sleep(max(0.0, due - loop.time()))


async def hum(source):
    """10 ms of a tone at a time; the source itself keeps the pace."""
    length = SAMPLE_RATE // 100
    start = 0
    while True:
        times = np.arange(start, start + length) / SAMPLE_RATE
        tone = (np.sin(2 * np.pi * TONE_HZ * times) * 8_000).astype(np.int16)
        await source.capture_frame(rtc.AudioFrame(tone.tobytes(), SAMPLE_RATE, 1, length))
        start += length


async def send_lines(room):
    """Data packets from standard input."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        wish = json.loads(line)
        await room.local_participant.publish_data(
            wish["text"], reliable=wish["reliable"], topic=wish["topic"]
        )


async def call(url, token):
    room, received = rtc.Room(), Received()
    room.on("track_subscribed", lambda track, *_: received.watch(track))
    room.on("data_received", received.packet)
    await room.connect(url, token, rtc.RoomOptions(auto_subscribe=True))
    video, audio = rtc.VideoSource(WIDTH, HEIGHT), rtc.AudioSource(SAMPLE_RATE, 1)
    me = room.local_participant
    camera = rtc.LocalVideoTrack.create_video_track("picture", video)
    await me.publish_track(camera, rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_CAMERA))
    tone = rtc.LocalAudioTrack.create_audio_track("tone", audio)
    await me.publish_track(tone, rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE))
    work = [asyncio.ensure_future(each) for each in (paint(video), hum(audio), send_lines(room))]
    say(event="in", identity=me.identity)
    while not work[2].done():
        for task in work[:2]:
            if task.done():
                task.result()
        packets, received.packets = received.packets, []
        await received.look()
        at = asyncio.get_running_loop().time()
        say(event="received", at=at, sent=await sent(camera), frames=received.frames, width=received.width,
            height=received.height, energy=received.energy, packets=packets)
        await asyncio.sleep(0.5)
    for task in work:
        task.cancel()
    await room.disconnect()


async def churn(url, seconds_max, tokens):
    """Every join is a whole one: signaling, ICE and DTLS."""
    waiting = list(tokens)

    async def visit():
        while waiting:
            room = rtc.Room()
            await room.connect(url, waiting.pop())
            await room.disconnect()

    visits = asyncio.gather(*(visit() for _ in range(CHURN_WIDTH)))
    await asyncio.wait_for(visits, float(seconds_max))
    say(event="done", visits=len(tokens))


if __name__ == "__main__":
    job, *arguments = sys.argv[1:]
    if job == "call":
        asyncio.run(call(*arguments))
    else:
        url, seconds_max = arguments
        asyncio.run(churn(url, seconds_max, sys.stdin.read().split()))
