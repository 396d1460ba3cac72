// Publishers and players that know nothing but RTCPeerConnection and fetch.

import { calm, pauses } from './frames.mjs';
import { until } from './wait.mjs';

/** A page of the server's own origin, with the functions below in it. */
export async function httpPage(browser, server, name) {
  const context = await browser.newContext();
  const page = await context.newPage();
  // A document without scripts and without a policy of its own.
  await page.goto(`${server.url}/livez`);
  await page.evaluate(install);
  return new HttpPeer(page, server, name);
}

/** Runs in the page. */
function install() {
  const gathered = (pc) => new Promise((resolve) => {
    if (pc.iceGatheringState === 'complete') resolve();
    pc.addEventListener('icegatheringstatechange', () => pc.iceGatheringState === 'complete' && resolve());
  });

  const post = async (pc, url, token) => {
    await pc.setLocalDescription(await pc.createOffer());
    const answer = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/sdp', authorization: `Bearer ${token}` },
      body: pc.localDescription.sdp,
    });
    const text = await answer.text();
    if (answer.status !== 201) throw new Error(`${answer.status} ${text}`);
    await pc.setRemoteDescription({ type: 'answer', sdp: text });
    const link = answer.headers.get('link');
    window.session = { pc, token, tag: answer.headers.get('etag'), answer: text, link };
    window.session.url = new URL(answer.headers.get('location'), url).href;
    return { url: window.session.url, tag: window.session.tag, answer: text, link };
  };

  window.publish = async (url, token, { encodings, codec, videoFirst, width = 640, height = 480 } = {}) => {
    const pc = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
    const stream = await navigator.mediaDevices.getUserMedia({ audio: true, video: { width, height } });
    const sound = () => pc.addTransceiver(stream.getAudioTracks()[0], { direction: 'sendonly', streams: [stream] });
    if (!videoFirst) sound();
    const sendEncodings = encodings ?? [{}];
    const video = pc.addTransceiver(stream.getVideoTracks()[0], {
      direction: 'sendonly', streams: [stream], sendEncodings,
    });
    if (codec) {
      const { codecs } = RTCRtpSender.getCapabilities('video');
      video.setCodecPreferences(codecs.filter((known) => known.mimeType === codec));
    }
    if (videoFirst) sound();
    return post(pc, url, token);
  };

  window.play = async (url, token, { audio = 1, video = 1 } = {}) => {
    const pc = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
    for (let n = 0; n < audio; n += 1) pc.addTransceiver('audio', { direction: 'recvonly' });
    for (let n = 0; n < video; n += 1) pc.addTransceiver('video', { direction: 'recvonly' });
    const element = document.createElement('video');
    Object.assign(element, { autoplay: true, muted: false });
    document.body.append(element);
    pc.addEventListener('track', ({ streams }) => { element.srcObject = streams[0]; });
    window.element = element;
    return post(pc, url, token);
  };

  /** New credentials of the browser, those of the server by PATCH, and both sides know each other again. */
  window.restart = async () => {
    const { pc, url, token, answer } = window.session;
    pc.restartIce();
    await pc.setLocalDescription(await pc.createOffer());
    await gathered(pc);
    const own = pc.localDescription.sdp;
    const head = /^m=.*$/m.exec(own)[0];
    const lines = [...own.matchAll(/^a=(?:ice-ufrag|ice-pwd|candidate|mid):.*$/gm)].map(([line]) => line.trim());
    const once = (name) => lines.find((line) => line.startsWith(name));
    const fragment = [
      'a=ice-options:trickle', head.trim(), once('a=mid:'), once('a=ice-ufrag:'), once('a=ice-pwd:'),
      ...new Set(lines.filter((line) => line.startsWith('a=candidate:'))), 'a=end-of-candidates', '',
    ].join('\r\n');
    const response = await fetch(url, {
      method: 'PATCH',
      headers: {
        'content-type': 'application/trickle-ice-sdpfrag', 'if-match': '*', authorization: `Bearer ${token}`,
      },
      body: fragment,
    });
    const text = await response.text();
    if (response.status !== 200) throw new Error(`${response.status} ${text}`);
    let sdp = answer;
    for (const name of ['ice-ufrag', 'ice-pwd']) {
      const value = new RegExp(`a=${name}:(.*)`).exec(text)[1].trim();
      sdp = sdp.replace(new RegExp(`a=${name}:.*`, 'g'), `a=${name}:${value}`);
    }
    await pc.setRemoteDescription({ type: 'answer', sdp });
    window.session.tag = response.headers.get('etag');
    return { tag: window.session.tag, text, type: response.headers.get('content-type') };
  };

  window.counters = async () => {
    const rows = { video: {}, audio: {} };
    for (const row of (await window.session.pc.getStats()).values()) {
      if (row.type === 'inbound-rtp') {
        Object.assign(rows[row.kind], {
          frames: row.framesDecoded, width: row.frameWidth, height: row.frameHeight,
          energy: row.totalAudioEnergy, ssrc: row.ssrc, freezes: row.freezeCount,
        });
      }
      if (row.type === 'outbound-rtp' && row.rid) (rows.sent ??= {})[row.rid] = row.framesEncoded;
    }
    return rows;
  };
}

/** One person with a page. */
class HttpPeer {
  constructor(page, server, name) {
    Object.assign(this, { page, server, name, console: [] });
    page.on('console', (message) => this.console.push(message.text()));
  }

  async publish(room, { token, query = '', ...how } = {}) {
    this.token = token ?? await this.server.token(room, this.name);
    const url = `${this.server.url}/whip/${encodeURIComponent(room)}${query}`;
    return this.page.evaluate(([at, word, rest]) => window.publish(at, word, rest), [url, this.token, how]);
  }

  async play(room, { token, query = '', of, ...how } = {}) {
    this.token = token ?? await this.server.token(room, this.name);
    const path = [room, of].filter(Boolean).map(encodeURIComponent).join('/');
    const url = `${this.server.url}/whep/${path}${query}`;
    return this.page.evaluate(([at, word, rest]) => window.play(at, word, rest), [url, this.token, how]);
  }

  restart() {
    return this.page.evaluate(() => window.restart());
  }

  counters() {
    return this.page.evaluate(() => window.counters());
  }

  /** Waits until pictures of at least that size move, and, unless told otherwise, sound is heard. */
  sees(width = 640, { sound = true, exactly = false, ms = 30_000 } = {}) {
    return until(`${this.name} sees ${width}`, async () => {
      const before = await this.counters();
      const { video, audio } = await this.counters();
      const wide = exactly ? video.width === width : video.width >= width;
      if (wide && video.frames > (before.video.frames ?? 0) - 1 && (!sound || audio.energy > 0)) return true;
      throw new Error(`${this.name} has ${JSON.stringify({ video, audio })}`);
    }, ms);
  }

  /** Waits until so many more frames were decoded than now. */
  async seesMore(frames = 15, ms = 15_000) {
    const start = (await this.counters()).video.frames ?? 0;
    return until(`${this.name} sees ${frames} more frames`, async () => {
      const now = (await this.counters()).video.frames ?? 0;
      if (now - start >= frames) return true;
      throw new Error(`${now - start} frames`);
    }, ms);
  }

  /** Notes frames from a moment on at which they have come evenly for a while; `pauses` reads the notes. */
  calm() {
    return calm(this.page, 'video');
  }

  pauses() {
    return pauses(this.page);
  }

  /** A request on the resource of this page, by its token or another. */
  ask(method, headers = {}, body = undefined, path = '') {
    return this.page.evaluate(async ([how, more, text, rest]) => {
      const { url, token } = window.session;
      const response = await fetch(url + rest, {
        method: how, headers: { authorization: `Bearer ${token}`, ...more }, body: text,
      });
      return { status: response.status, text: await response.text() };
    }, [method, headers, body, path]);
  }

  close() {
    return this.page.context().close();
  }
}
