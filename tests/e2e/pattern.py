"""Pictures that carry their number, and a tone: what a test sends, to be recognised where it arrives.

`make FOLDER` writes them as files: `vp8.webm` and `h264.ts` with Opus, and `camera.mjpeg` with
`microphone.wav` for a browser that takes them for its devices.
"""

import os
import sys
import wave
from fractions import Fraction

import av
import numpy as np

WIDTH, HEIGHT, FPS, SECONDS = 320, 240, 15, 40
SAMPLE_RATE, TONE_HZ = 48_000, 440
#: Four rows of four blocks: eight bits of the number, and the same bits turned over as a check.
SIDE, BITS = 4, 8
NUMBERS = 1 << BITS
DARK, BRIGHT, MIDDLE = 40, 210, 128
#: A block as near to the middle as that is neither: it was not painted by us.
DOUBT = 40


def paint(number):
    """The luma of one picture."""
    word = number << BITS | (~number & NUMBERS - 1)
    bits = np.array([word >> place & 1 for place in range(2 * BITS)]).reshape(SIDE, SIDE)
    blocks = np.where(bits == 1, BRIGHT, DARK).astype(np.uint8)
    return np.kron(blocks, np.ones((HEIGHT // SIDE, WIDTH // SIDE), dtype=np.uint8))


def number_of(luma):
    """The number that a picture carries; None if it is none of ours, whole and clean."""
    height, width = (length // SIDE * SIDE for length in luma.shape)
    blocks = luma[:height, :width].reshape(SIDE, height // SIDE, SIDE, width // SIDE)
    # Edges of blocks are blurred; their middles are not.
    low, high = (slice(length // SIDE // 4, length // SIDE * 3 // 4) for length in (height, width))
    means = blocks[:, low, :, high].mean(axis=(1, 3)).ravel()
    if (abs(means - MIDDLE) < DOUBT).any():
        return None
    word = sum(1 << place for place, mean in enumerate(means) if mean > MIDDLE)
    number, check = word >> BITS, word & NUMBERS - 1
    return number if number ^ check == NUMBERS - 1 else None


def tone_of(samples):
    """The strongest frequency of about a second of sound, in hertz, and its share of the energy."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) ** 2
    if spectrum.sum() == 0:
        return 0, 0.0
    peak = int(spectrum.argmax())
    # A window spreads a tone over its neighbours.
    share = spectrum[max(0, peak - 4):peak + 5].sum() / spectrum.sum()
    return round(peak * SAMPLE_RATE / len(samples)), float(share)


def picture(number):
    chroma = np.full(WIDTH * HEIGHT // 2, MIDDLE, dtype=np.uint8)
    planes = np.concatenate([paint(number % NUMBERS).ravel(), chroma])
    frame = av.VideoFrame.from_ndarray(planes.reshape(HEIGHT * 3 // 2, WIDTH), "yuv420p")
    frame.pts, frame.time_base = number, Fraction(1, FPS)
    return frame


def sine(start, count):
    return np.sin(2 * np.pi * TONE_HZ * np.arange(start, start + count) / SAMPLE_RATE) * 8_000


def write_file(path, codec, options):
    """Pictures and sound, written in step so that a reader finds both near each other."""
    with av.open(path, "w") as file:
        video = file.add_stream(codec, rate=FPS, options=options)
        video.width, video.height, video.pix_fmt, video.bit_rate = WIDTH, HEIGHT, "yuv420p", 400_000
        video.gop_size = FPS
        audio = file.add_stream("libopus", rate=SAMPLE_RATE, layout="stereo", bit_rate=48_000)
        # 20 ms, which is what libopus takes.
        block, played = SAMPLE_RATE // 50, 0
        for number in range(FPS * SECONDS):
            file.mux(video.encode(picture(number)))
            while played * FPS < (number + 1) * SAMPLE_RATE:
                tone = np.repeat(sine(played, block), 2).astype(np.int16)
                sound = av.AudioFrame.from_ndarray(tone.reshape(1, -1), "s16", "stereo")
                sound.sample_rate, sound.pts = SAMPLE_RATE, played
                file.mux(audio.encode(sound))
                played += block
        file.mux(video.encode(None))
        file.mux(audio.encode(None))


def write_devices(folder):
    """What Chromium takes for a camera and a microphone; it plays them round and round."""
    with av.open(os.path.join(folder, "camera.mjpeg"), "w", format="mjpeg") as file:
        video = file.add_stream("mjpeg", rate=FPS, options={"qmin": "3", "qmax": "5"})
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuvj420p"
        for number in range(NUMBERS):
            file.mux(video.encode(picture(number).reformat(format="yuvj420p")))
        file.mux(video.encode(None))
    with wave.open(os.path.join(folder, "microphone.wav"), "wb") as file:
        file.setparams((1, 2, SAMPLE_RATE, 0, "NONE", ""))
        file.writeframes(sine(0, 10 * SAMPLE_RATE).astype("<i2").tobytes())


if __name__ == "__main__":
    _, job, where = sys.argv
    assert job == "make", job
    # On few and busy cores more threads than one wait for each other most of the time.
    write_file(os.path.join(where, "vp8.webm"), "libvpx", {
        "deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0", "threads": "1",
    })
    # Whoever sends it as it is sends it with parameter sets before each keyframe, and no picture twice.
    write_file(os.path.join(where, "h264.ts"), "libx264", {
        "preset": "ultrafast", "tune": "zerolatency", "profile": "baseline", "threads": "1",
    })
    write_devices(where)
