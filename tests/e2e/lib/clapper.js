// Runs in a page of Chromium: a film clapper, and one who attends to it. sync.mjs puts it there.
//
// `clap` publishes a camera and a microphone whose picture turns white at the moment at which a tone
// begins. `attend` notes when another page shows the one and plays the other, and what its browser
// takes for the publisher's time at what it plays.

window.clapper = (() => {
  /** From one clap to the next, and how long one lasts. */
  const PERIOD_S = 0.6;
  const CLAP_S = 0.15;
  const FRAME_MS = 33;
  const WIDTH = 640;
  const HEIGHT = 360;
  /** How often the clapper looks whether it is time. */
  const LOOK_MS = 3;
  const ESTIMATE_EVERY_MS = 250;
  const TONE_HZ = 1_000;
  /** Brightness from which on a picture counts as white. */
  const WHITE = 128;
  /** Loudness of a sample from which on it counts, and how much silence makes it a beginning. */
  const LOUD = 0.05;
  const SILENCE_MS = 200;

  /** A tone for each clap: gives the track and the clock by which it sounds. */
  async function tones() {
    const context = new AudioContext();
    await context.resume();
    const tone = new OscillatorNode(context, { frequency: TONE_HZ });
    const gate = new GainNode(context, { gain: 0 });
    const out = context.createMediaStreamDestination();
    tone.connect(gate).connect(out);
    tone.start();
    return { context, gate, microphone: out.stream.getAudioTracks()[0] };
  }

  /** Publishes both tracks in the SDK's room. The page must be allowed to play sound. */
  async function clap(room) {
    const { context, gate, microphone } = await tones();
    const canvas = document.createElement('canvas');
    [canvas.width, canvas.height] = [WIDTH, HEIGHT];
    const pen = canvas.getContext('2d');
    const [camera] = canvas.captureStream(0).getVideoTracks();
    let next = context.currentTime;
    let isWhite = false;
    let painted = 0;
    const paint = () => {
      painted = performance.now();
      pen.fillStyle = isWhite ? '#fff' : '#000';
      pen.fillRect(0, 0, WIDTH, HEIGHT);
      // Something moves at the lower edge, so that an encoder has work.
      pen.fillStyle = '#777';
      pen.fillRect((painted / 5) % WIDTH, HEIGHT - 40, 40, 40);
      camera.requestFrame();
    };
    setInterval(() => {
      const now = context.currentTime;
      if (now >= next + CLAP_S) {
        next += PERIOD_S;
        gate.gain.setValueAtTime(1, next);
        gate.gain.setValueAtTime(0, next + CLAP_S);
      }
      const white = now >= next;
      if (white !== isWhite || performance.now() - painted >= FRAME_MS) {
        isWhite = white;
        paint();
      }
    }, LOOK_MS);
    const { localParticipant } = room;
    await localParticipant.publishTrack(microphone, { source: 'microphone', dtx: false });
    await localParticipant.publishTrack(camera, {
      source: 'camera', simulcast: false, videoCodec: 'vp8', backupCodec: false,
    });
  }

  /** Notes when pictures turn white: by when they are to be on screen. */
  function watch(video, seen) {
    const canvas = new OffscreenCanvas(1, 1);
    const pen = canvas.getContext('2d', { willReadFrequently: true });
    let wasWhite = true;
    const look = (_, { expectedDisplayTime }) => {
      pen.drawImage(video, 0, 0, 1, 1);
      const isWhite = pen.getImageData(0, 0, 1, 1).data[1] >= WHITE;
      if (isWhite && !wasWhite) seen.push(expectedDisplayTime);
      wasWhite = isWhite;
      video.requestVideoFrameCallback(look);
    };
    video.requestVideoFrameCallback(look);
  }

  /** Notes when tones begin: by when the browser takes the sound out of its jitter buffer. */
  async function listen(track, heard) {
    let lastLoud = 0;
    const reader = new MediaStreamTrackProcessor({ track }).readable.getReader();
    for (;;) {
      const { value: sound, done } = await reader.read();
      if (done) return;
      const now = performance.now();
      const samples = new Float32Array(sound.numberOfFrames);
      sound.copyTo(samples, { planeIndex: 0, format: 'f32-planar' });
      const loud = samples.findIndex((sample) => Math.abs(sample) >= LOUD);
      if (loud >= 0) {
        const at = now + (loud * 1_000) / sound.sampleRate;
        if (at - lastLoud > SILENCE_MS) heard.push(at);
        lastLoud = now;
      }
      sound.close();
    }
  }

  /** The publisher's time at what is played of a track, in ms; undefined while the browser knows none. */
  async function estimate(track) {
    const rows = [...(await track.getRTCStatsReport()).values()];
    return rows.find((row) => row.type === 'inbound-rtp')?.estimatedPlayoutTimestamp;
  }

  /** Notes of the one who claps: { from, now, seen, heard, skews }, in ms of this page's clock. */
  function attend(room) {
    const [who] = room.remoteParticipants.values();
    const [camera] = [...who.videoTrackPublications.values()].map((publication) => publication.track);
    const [microphone] = [...who.audioTrackPublications.values()].map((publication) => publication.track);
    const notes = { from: performance.now(), seen: [], heard: [], skews: [] };
    watch(camera.attachedElements[0], notes.seen);
    listen(microphone.mediaStreamTrack, notes.heard);
    setInterval(async () => {
      const [picture, sound] = await Promise.all([camera, microphone].map(estimate));
      // Sound that is of an earlier moment than the picture is played late.
      if (picture && sound) notes.skews.push([performance.now(), picture - sound]);
    }, ESTIMATE_EVERY_MS);
    return { notes: () => ({ ...notes, now: performance.now() }) };
  }

  return { clap, attend };
})();
