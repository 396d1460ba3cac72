// Figures from getStats: what each track really carries.
//
// `read` gives the counters as the browser has them, for tests; `measure` turns two readings into
// rates, for the tiles.

const VIDEO_AND_AUDIO = ['inbound-rtp', 'outbound-rtp'];

export class Meter {
  constructor() {
    this.last = new Map();
    this.rates = new Map();
  }

  /** The rates of a track over the last second: width, height, fps, kbps. */
  figures(sid) {
    return this.rates.get(sid);
  }

  /** Call once a second. */
  async measure(room) {
    const rates = new Map();
    const next = new Map();
    for (const row of await this.read(room)) {
      const before = this.last.get(row.sid);
      next.set(row.sid, row);
      const seconds = before ? (row.at - before.at) / 1000 : 0;
      const bytes = before ? row.bytes - before.bytes : 0;
      // The counters start again when the peer connection does.
      const kbps = seconds > 0 && bytes >= 0 ? (bytes * 8) / 1000 / seconds : 0;
      rates.set(row.sid, { width: row.width, height: row.height, fps: row.fps, kbps });
    }
    this.last = next;
    this.rates = rates;
  }

  /** One row for each track that is sent or received now. Times in ms, energy as in the standard. */
  async read(room) {
    const rows = [];
    for (const participant of [room.localParticipant, ...room.remoteParticipants.values()]) {
      for (const publication of participant.trackPublications.values()) {
        const report = await reportOf(publication.track);
        if (report) rows.push(row(participant, publication, report));
      }
    }
    return rows;
  }
}

/** A track that is just being taken down has no report; that is no error here. */
async function reportOf(track) {
  try {
    return await track?.getRTCStatsReport();
  } catch {
    return undefined;
  }
}

/** Sums the layers of a simulcast sender; the size is that of the largest one that is sent. */
function row(participant, publication, report) {
  const sum = {
    identity: participant.identity,
    local: participant.isLocal,
    source: publication.source,
    kind: publication.kind,
    sid: publication.trackSid,
    at: performance.now(),
    width: 0, height: 0, fps: 0, bytes: 0, packets: 0, lost: 0,
    frames: 0, keyFrames: 0, freezes: 0, energy: 0, concealed: 0, pictureRequests: 0,
    codec: '',
  };
  for (const stat of report.values()) {
    if (!VIDEO_AND_AUDIO.includes(stat.type)) continue;
    const isLarger = (stat.frameWidth ?? 0) >= sum.width;
    if (isLarger && stat.frameWidth) [sum.width, sum.height] = [stat.frameWidth, stat.frameHeight];
    sum.fps = Math.max(sum.fps, stat.framesPerSecond ?? 0);
    sum.bytes += stat.bytesReceived ?? stat.bytesSent ?? 0;
    sum.packets += stat.packetsReceived ?? stat.packetsSent ?? 0;
    sum.lost += stat.packetsLost ?? 0;
    sum.frames += stat.framesDecoded ?? stat.framesEncoded ?? 0;
    sum.keyFrames += stat.keyFramesDecoded ?? stat.keyFramesEncoded ?? 0;
    sum.freezes += stat.freezeCount ?? 0;
    sum.energy += stat.totalAudioEnergy ?? 0;
    sum.concealed += stat.concealedSamples ?? 0;
    sum.pictureRequests += stat.pliCount ?? 0;
    sum.codec = report.get(stat.codecId)?.mimeType ?? sum.codec;
  }
  return sum;
}
