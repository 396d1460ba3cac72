// Headless Chromium pages that are in a call through the server's own page.

import { chromium } from 'playwright-core';

import { calm, noteFrames, pauses } from './frames.mjs';
import { until } from './wait.mjs';

const FLAGS = [
  '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync',
  '--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream',
  // There is no network but this machine.
  '--allow-loopback-in-peer-connection',
  '--autoplay-policy=no-user-gesture-required',
];

/** The element in which a page shows the camera of `identity`. */
const cameraOf = (identity) => `.tile[data-identity="${identity}"][data-source="camera"] video`;

/** Flags, and an object first when something else than flags is to be told to the launcher. */
export function launch(...more) {
  const options = typeof more[0] === 'object' ? more.shift() : {};
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: [...FLAGS, ...more],
    // A muted output would leave totalAudioEnergy at zero on some versions.
    ignoreDefaultArgs: ['--mute-audio'],
    ...options,
  });
}

/**
 * Opens the page so that it joins by itself, and waits until it is in the room with its tracks out.
 * `params` go into the link: see app.js for what it takes. `prepare` gets the page before it loads.
 */
export async function joinPage(browser, server, { room, name, token, prepare, ...params }) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
  const page = await context.newPage();
  const guest = new Guest(page, name);
  await prepare?.(page);
  const query = new URLSearchParams({
    room, name, auto: '1', video: 'vga', adaptive: '0', ...params,
  });
  await page.goto(`${server.url}/?${query}${token ? `#token=${token}` : ''}`);
  await guest.until('is in the room', () => window.antipode?.room.state === 'connected');
  const wanted = [params.camera, params.microphone].filter((on) => on !== '0').length;
  await guest.until(`has ${wanted} tracks out`, (count) => {
    return window.antipode.room.localParticipant.trackPublications.size >= count;
  }, wanted);
  return guest;
}

/** One person with a page. */
class Guest {
  constructor(page, name) {
    this.page = page;
    this.name = name;
    this.console = [];
    page.on('console', (message) => this.console.push(`${message.type()}: ${message.text()}`));
    page.on('pageerror', (error) => this.console.push(`uncaught: ${error.message}`));
  }

  /** Waits for a condition that is looked at in the page. */
  async until(what, condition, argument, ms = 20_000) {
    try {
      return await until(`${this.name} ${what}`, () => this.page.evaluate(condition, argument), ms);
    } catch (error) {
      const refusal = await this.page.locator('#join-error').textContent().catch(() => '');
      error.message += `\n${refusal}\n${this.console.slice(-40).join('\n')}`;
      throw error;
    }
  }

  /** Counters of all tracks, as `read` in meter.js gives them. */
  stats() {
    return this.page.evaluate(() => window.antipode.stats());
  }

  /** Counters of what comes from `identity`: { video, audio }, each undefined when there is none. */
  async from(identity) {
    const rows = (await this.stats()).filter((row) => !row.local && row.identity === identity);
    return {
      video: rows.find((row) => row.kind === 'video'),
      audio: rows.find((row) => row.kind === 'audio'),
    };
  }

  identity() {
    return this.page.evaluate(() => window.antipode.room.localParticipant.identity);
  }

  shard() {
    return this.page.evaluate(() => window.antipode.room.localParticipant.attributes['antipode.shard']);
  }

  /** Sids of what this page publishes. */
  published() {
    return this.page.evaluate(() => {
      const { trackPublications } = window.antipode.room.localParticipant;
      return [...trackPublications.values()].map((publication) => publication.trackSid).sort();
    });
  }

  /** Waits until the pictures of `identity` come in at `width` × `height` or more, and sound too. */
  seesAndHears(identity, width = 640, height = 480) {
    return until(`${this.name} sees and hears ${identity}`, async () => {
      const { video, audio } = await this.from(identity);
      if (video?.width >= width && video?.height >= height && audio?.energy > 0) return true;
      throw new Error(`${this.name} has ${JSON.stringify({ video, audio })}`);
    }, 30_000).catch((error) => {
      error.message += `\n${this.console.slice(-40).join('\n')}`;
      throw error;
    });
  }

  /** Starts to note when frames of `identity` reach the screen; `pauses` reads the notes. */
  noteFrames(identity) {
    return noteFrames(this.page, cameraOf(identity));
  }

  /** The same from a moment on at which they have come evenly for a while. */
  calm(identity) {
    return calm(this.page, cameraOf(identity));
  }

  /** How many frames were shown since they are noted, and the longest wait for one, in ms. */
  pauses() {
    return pauses(this.page);
  }

  /** Keeps every data packet that comes; `packets` reads them. */
  async keepPackets() {
    await this.page.evaluate(() => {
      window.packets = [];
      window.antipode.room.on('dataReceived', (bytes, from, kind, topic) => {
        window.packets.push({
          text: new TextDecoder().decode(bytes), from: from?.identity, kind, topic,
        });
      });
    });
  }

  packets() {
    return this.page.evaluate(() => window.packets);
  }

  /** Sends one packet for each text, one after the other. */
  send(texts, options) {
    return this.page.evaluate(async ([list, how]) => {
      for (const text of list) {
        await window.antipode.room.localParticipant.publishData(new TextEncoder().encode(text), how);
      }
    }, [texts, options]);
  }

  async close() {
    await this.page.context().close();
  }
}
