// GStreamer's webrtcbin by a small program in C (gst/peer.c), which leaves HTTP to us.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';

import { Child, beside } from './peer.mjs';
import { until } from './wait.mjs';

const LIBRARIES = ['gstreamer-webrtc-1.0', 'gstreamer-sdp-1.0', 'gstreamer-video-1.0'];
const ELEMENTS = ['webrtcbin', 'nicesrc', 'dtlssrtpdec', 'vp8enc', 'x264enc', 'openh264dec', 'opusenc'];

/** What the colour 0xc02060 of the program is in each plane (BT.601), and how far an encoder may be off. */
const COLOUR = { y: 91, u: 132, v: 194 };
const COLOUR_TOLERANCE = 3;
const TONE_HZ = 440;
/** A pitch is counted from few turns, and lost ones do not count. */
const TONE_TOLERANCE_HZ = 15;

const run = (program, ...args) => execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });

/**
 * Builds the program. Gives { skip } with the reason why that cannot be done here, or { enter }, which
 * lets a peer in.
 */
export function gstreamer() {
  let flags;
  try {
    flags = run('pkg-config', '--cflags', '--libs', ...LIBRARIES).trim().split(/\s+/);
    for (const element of ELEMENTS) run('gst-inspect-1.0', element);
    run('cc', '--version');
  } catch (error) {
    return { skip: `GStreamer for C is not installed here: ${error.message.split('\n')[0]}` };
  }
  const folder = mkdtempSync(join(tmpdir(), 'antipode-gst-'));
  after(() => rmSync(folder, { recursive: true, force: true }));
  const program = join(folder, 'peer');
  run('cc', '-O1', '-Wall', '-Wextra', '-Wno-unused-parameter', '-o', program, beside('gst/peer.c'), ...flags);
  return { enter: (...args) => GstPeer.enter(program, ...args) };
}

class GstPeer extends Child {
  /** `way`: whip or whep. */
  static async enter(program, server, way, room, codec) {
    const peer = new GstPeer(program, way === 'whip' ? 'publish' : 'play', codec);
    peer.server = server;
    try {
      await peer.open(`${server.url}/${way}/${room}`, await server.token(room, way));
    } catch (error) {
      await peer.leave();
      error.message += `\n${peer.errors.join('')}`;
      throw error;
    }
    return peer;
  }

  /** Lines of the offer until a dot, lines of JSON after it. */
  take(line) {
    if (this.offer) {
      super.take(line);
    } else if (line === '.') {
      this.offer = `${this.lines.join('\r\n')}\r\n`;
    } else {
      (this.lines ??= []).push(line.trimEnd());
    }
  }

  async open(url, token) {
    await until('webrtcbin offers', () => this.offer || this.isOver);
    this.authorization = { authorization: `Bearer ${token}` };
    const headers = { ...this.authorization, 'content-type': 'application/sdp' };
    const answer = await fetch(url, { method: 'POST', headers, body: this.offer });
    const text = await answer.text();
    assert.equal(answer.status, 201, `${text}\n${this.offer}`);
    this.url = new URL(answer.headers.get('location'), url).href;
    this.child.stdin.write(`${text.replaceAll('\r\n', '\n')}.\n`);
  }

  /** Waits until so many pictures came, and judges the colour of the last and the pitch of the sound. */
  async seesAndHears(pictures, note) {
    const near = (row) => Math.abs(row.toneHz - TONE_HZ) <= TONE_TOLERANCE_HZ;
    const row = await this.row(`sees ${pictures} and hears`, (one) => one.pictures >= pictures && near(one), 30_000);
    note(JSON.stringify(row));
    assert.deepEqual([row.width, row.height], [320, 240]);
    for (const [plane, want] of Object.entries(COLOUR)) {
      assert.ok(Math.abs(row[plane] - want) <= COLOUR_TOLERANCE, `${plane} is ${row[plane]}, not ${want}`);
    }
  }

  async delete() {
    const { status } = await fetch(this.url, { method: 'DELETE', headers: this.authorization });
    assert.equal(status, 200);
  }
}
