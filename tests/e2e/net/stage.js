// Runs in a page of Chromium: people in rooms, and a record of what each of them sees and hears.
// cast.mjs puts this file in the place of the server's app.js and calls `stage` from outside.

const sdk = await import('./dist/livekit-client.esm.mjs');
document.body.replaceChildren();
const seats = new Map();

/** How often the counters are read, in ms. */
const RECORD_EVERY_MS = 250;
/** The same for the decoder alone where its pauses are measured: more often than a frame comes. */
const DECODER_EVERY_MS = 20;

/** One person in one room. Several may sit in one page. */
class Seat {
  constructor(name, { secret, autoSubscribe = true, ...options } = {}) {
    this.name = name;
    this.pictures = new Map();
    this.rows = [];
    this.sent = [];
    this.events = [];
    this.marks = {};
    this.secret = secret;
    this.autoSubscribe = autoSubscribe;
    this.keys = secret === undefined ? undefined : new sdk.ExternalE2EEKeyProvider();
    this.room = new sdk.Room({ adaptiveStream: false, ...options, ...(this.keys && sealedWith(this.keys)) });
    const { TrackSubscribed, TrackUnsubscribed } = sdk.RoomEvent;
    this.room.on(TrackSubscribed, (track, publication, from) => this.attach(track, publication, from));
    this.room.on(TrackUnsubscribed, (track) => track.detach().forEach((element) => element.remove()));
    for (const event of ['online', 'offline']) {
      addEventListener(event, () => this.note(event, []));
    }
    const told = [
      'connectionStateChanged', 'signalReconnecting', 'reconnecting', 'reconnected', 'encryptionError',
      'trackStreamStateChanged', 'activeSpeakersChanged',
    ];
    for (const event of told) {
      this.room.on(event, (...words) => this.note(event, words.map(inWord)));
    }
  }

  note(event, words) {
    this.events.push({ at: performance.now(), event, words });
  }

  async join(url, token) {
    this.marks.connect = performance.now();
    if (this.keys) {
      await this.keys.setKey(this.secret);
      await this.room.setE2EEEnabled(true);
    }
    await this.room.connect(url, token, { autoSubscribe: this.autoSubscribe });
    this.marks.connected = performance.now();
  }

  attach(track, publication, from) {
    this.marks[`${track.kind}Subscribed`] ??= performance.now();
    const element = track.attach();
    document.body.append(element);
    if (track.kind !== 'video') return;
    const key = `${from.identity} ${publication.source}`;
    // After a full reconnect the same person's picture goes on in the same record.
    const picture = this.pictures.get(key) ?? { key, frames: [] };
    this.pictures.set(key, picture);
    const note = (at, { width, height, presentedFrames }) => {
      this.marks.firstFrame ??= at;
      picture.frames.push([at, width, height, presentedFrames]);
      if (track.attachedElements.includes(element)) element.requestVideoFrameCallback(note);
    };
    element.requestVideoFrameCallback(note);
  }

  /** Publishes the camera; `top` and `lower` are { width, height, fps, kbps }; `mode` is that of an SVC codec. */
  async publishVideo({ source = 'camera', top, lower = [], content, codec = 'vp8', mode }) {
    const track = await film(top);
    if (content) track.contentHint = content;
    const preset = ({ width, height, kbps, fps }) => new sdk.VideoPreset(width, height, kbps * 1000, fps);
    const layers = lower.map(preset);
    const encoding = preset(top).encoding;
    await this.room.localParticipant.publishTrack(track, {
      source, simulcast: lower.length > 0, videoCodec: codec, scalabilityMode: mode, backupCodec: false,
      videoEncoding: encoding, videoSimulcastLayers: layers,
      screenShareEncoding: encoding, screenShareSimulcastLayers: layers,
      // The bitrates are what is tested: a busy machine may lower the frame rate, not the picture.
      degradationPreference: 'maintain-resolution',
    });
  }

  /**
   * The mean brightness of each row of a picture, 64 rows of 0 to 255: the film is panned from side to
   * side, which leaves them as they are. Without `identity` those of the own camera.
   */
  async rowsOfLight(identity) {
    const who = identity ? this.room.remoteParticipants.get(identity) : this.room.localParticipant;
    const [{ track }] = who.videoTrackPublications.values();
    const element = identity ? track.attachedElements[0] : await preview(track);
    return brightness(element);
  }

  async publishMicrophone() {
    await this.room.localParticipant.setMicrophoneEnabled(true);
  }

  /** Starts to read all counters again and again. */
  record() {
    const look = async () => {
      for (const row of await this.read()) (row.local ? this.sent : this.rows).push(row);
      this.timer = setTimeout(look, RECORD_EVERY_MS);
    };
    return look();
  }

  /** One row for each track that is received, and for each layer that is sent, now. */
  async read() {
    const rows = [];
    for (const who of [this.room.localParticipant, ...this.room.remoteParticipants.values()]) {
      for (const publication of who.trackPublications.values()) {
        const report = await publication.track?.getRTCStatsReport().catch(() => undefined);
        for (const stat of report?.values() ?? []) {
          const codec = report.get(stat.codecId)?.mimeType ?? '';
          if (stat.type === 'inbound-rtp') rows.push({ ...inbound(who, publication, stat), codec });
          if (stat.type === 'outbound-rtp') rows.push({ ...outbound(who, publication, stat), codec });
        }
      }
    }
    return rows;
  }

  /**
   * Starts to note when frames come out of the decoder, whichever peer connection it belongs to now.
   * After a full reconnect the SDK keeps new tracks to itself for 2 s (its `minReconnectWait`), so a
   * picture is there long before it is on screen, and the server is answerable for the former.
   */
  async noteDecoding() {
    this.decoded = [];
    let last;
    for (;;) {
      const report = await this.room.engine?.pcManager?.publisher.getStats().catch(() => undefined);
      const decoders = [...(report?.values() ?? [])].filter((stat) => stat.framesDecoded > 0);
      const counts = decoders.map(({ id, framesDecoded }) => `${id} ${framesDecoded}`).join();
      if (counts && counts !== last) this.decoded.push([performance.now(), 0, 0, this.decoded.length]);
      last = counts;
      await new Promise((resolve) => { setTimeout(resolve, DECODER_EVERY_MS); });
    }
  }

  setQuality(level) {
    for (const who of this.room.remoteParticipants.values()) {
      for (const publication of who.videoTrackPublications.values()) {
        publication.setVideoQuality(sdk.VideoQuality[level]);
      }
    }
  }

  /** What was recorded in the last `ms`, and all events, as plain data. */
  timeline(ms = Infinity) {
    const now = performance.now();
    const isRecent = (at) => at >= now - ms;
    const pictures = [...this.pictures.values()].map(({ key, frames }) => {
      return { key, frames: frames.filter(([at]) => isRecent(at)) };
    });
    const [rows, sent] = [this.rows, this.sent].map((list) => list.filter(({ at }) => isRecent(at)));
    const { name, events, marks, decoded } = this;
    return { name, now, marks, events, pictures, rows, sent, decoded };
  }

  async leave() {
    clearTimeout(this.timer);
    await this.room.disconnect();
    seats.delete(this.name);
  }
}

const films = new Map();

/** A track of the camera. Those of one size share one capture, which is scaled once for all. */
async function film({ width, height, fps }) {
  const size = `${width} ${height} ${fps}`;
  const video = { width: { exact: width }, height: { exact: height }, frameRate: { exact: fps } };
  if (!films.has(size)) films.set(size, navigator.mediaDevices.getUserMedia({ video }));
  return (await films.get(size)).getVideoTracks()[0].clone();
}

/** A picture of a track that nothing shows yet. */
async function preview(track) {
  const element = track.attach();
  document.body.append(element);
  await new Promise((resolve) => { element.requestVideoFrameCallback(resolve); });
  return element;
}

function brightness(element) {
  const rows = 64;
  const columns = 32;
  const canvas = new OffscreenCanvas(columns, rows);
  const pen = canvas.getContext('2d');
  pen.drawImage(element, 0, 0, columns, rows);
  const { data } = pen.getImageData(0, 0, columns, rows);
  return Array.from({ length: rows }, (_, row) => {
    let sum = 0;
    for (let at = row * columns * 4; at < (row + 1) * columns * 4; at += 4) sum += data[at + 1];
    return sum / columns;
  });
}

/** Room options with which media is sealed end to end under keys that no server has. */
function sealedWith(keyProvider) {
  const worker = new Worker('e2ee.worker.mjs', { type: 'module' });
  return { encryption: { keyProvider, worker } };
}

/** What of an event's argument is worth a line. */
function inWord(value) {
  if (typeof value !== 'object') return value;
  return value?.identity ?? value?.trackSid ?? value?.message ?? null;
}

const common = (who, publication, stat) => ({
  at: performance.now(), local: who.isLocal, identity: who.identity, source: publication.source,
  kind: stat.kind, width: stat.frameWidth ?? 0, height: stat.frameHeight ?? 0, fps: stat.framesPerSecond ?? 0,
  nacks: stat.nackCount ?? 0, plis: stat.pliCount ?? 0,
});

const inbound = (who, publication, stat) => ({
  ...common(who, publication, stat),
  bytes: stat.bytesReceived, packets: stat.packetsReceived, lost: stat.packetsLost,
  retransmitted: stat.retransmittedPacketsReceived ?? 0,
  decoded: stat.framesDecoded ?? 0, keyFrames: stat.keyFramesDecoded ?? 0, dropped: stat.framesDropped ?? 0,
  freezes: stat.freezeCount ?? 0, frozenMs: (stat.totalFreezesDuration ?? 0) * 1000,
  samples: stat.totalSamplesReceived ?? 0, concealed: stat.concealedSamples ?? 0,
  silentConcealed: stat.silentConcealedSamples ?? 0, energy: stat.totalAudioEnergy ?? 0,
  // Both grow without end; the delay of a stretch of time is the quotient of their growths.
  bufferedS: stat.jitterBufferDelay ?? 0, emitted: stat.jitterBufferEmittedCount ?? 0,
});

const outbound = (who, publication, stat) => ({
  ...common(who, publication, stat),
  rid: stat.rid ?? '', active: stat.active, bytes: stat.bytesSent, target: stat.targetBitrate ?? 0,
  encoded: stat.framesEncoded ?? 0, keyFrames: stat.keyFramesEncoded ?? 0,
  limitation: stat.qualityLimitationReason ?? 'none',
});

window.stage = {
  sdk,
  seats,
  now: () => performance.now(),
  sit(name, options) {
    const seat = new Seat(name, options);
    seats.set(name, seat);
  },
};
