// The scenes in which a network is bad, each a function from a Play to figures. quality.test.mjs
// judges the figures, measure.mjs prints them.

import { pause } from '../lib/wait.mjs';
import { CAMERA } from './play.mjs';
import {
  changes, concealedPercent, firstAfter, fps, frozenMs, growth, kbps, longestWait, picture, rowsOf,
  settledAfter,
} from './figures.mjs';

const isTop = (width) => width === CAMERA.top.width;
const isLower = (width) => width < CAMERA.top.width;
/** What a person sends whose own picture matters less: one layer, which costs the machine little. */
const SMALL_CAMERA = { top: { width: 640, height: 360, fps: 30, kbps: 300 } };
/** Of its bitrate, from which on a layer counts as running. */
const RUNNING_SHARE = 0.75;
/** How long a picture must have been whole and even before a scene begins. */
const CALM_MS = 2_000;
const CALM_WAIT_MS = 150;

/** alice, who publishes the usual camera and a microphone. */
export async function publisher(play, how = {}) {
  const person = await play.enter('alice', { camera: true, ...how });
  await person.call('publishMicrophone');
  await person.call('publishVideo', CAMERA);
  return person;
}

/** Waits until the viewer has had the publisher's top layer at its rate, evenly, for a while. */
export function atBest(viewer, identity, { top } = CAMERA) {
  return viewer.until(`has the top layer of ${identity}`, ({ now, ...timeline }) => {
    const frames = picture(timeline, identity);
    const from = now - CALM_MS;
    const rows = rowsOf(timeline, 'video', identity);
    return settledAfter(frames, from, now, (width) => width === top.width) < CALM_WAIT_MS &&
      longestWait(frames, from, now) < CALM_WAIT_MS &&
      kbps(rows, from, now) > top.kbps * RUNNING_SHARE;
  }, 30_000);
}

/** Lets the scene run for so long and gives the moments of its begin and end on the viewer's clock. */
async function watch(viewer, ms) {
  const from = await viewer.now();
  await pause(ms);
  return [from, await viewer.now()];
}

/** How a picture and its sound were between two moments. */
function quality(timeline, identity, from, to) {
  const frames = picture(timeline, identity);
  const rows = rowsOf(timeline, 'video', identity);
  return {
    fps: fps(frames, from, to),
    frozenMs: Math.max(frozenMs(frames, from, to), growth(rows, 'frozenMs', from, to)),
    longestWaitMs: longestWait(frames, from, to),
    concealedPercent: concealedPercent(timeline, identity, from, to),
    kbps: kbps(rows, from, to),
    changes: changes(frames, from, to),
  };
}

const CAP_KBPS = 500;
/** How long a viewer may take to find its layer. */
const SETTLE_MS = 2_000;

/** A viewer's link falls to less than the top layer needs, and recovers. */
export async function cap(play) {
  await publisher(play);
  const bob = await play.enter('bob');
  await atBest(bob, 'alice');
  bob.spot.capDown(CAP_KBPS);
  const [capped, lifted] = await watch(bob, 14_000);
  bob.spot.capDown();
  const [, end] = await watch(bob, 11_000);
  const timeline = await bob.timeline();
  const frames = picture(timeline, 'alice');
  const settledMs = settledAfter(frames, capped, lifted, isLower);
  const settled = capped + Math.min(settledMs, lifted - capped);
  const whole = quality(timeline, 'alice', capped, lifted);
  return {
    settledMs,
    firstLowerMs: firstAfter(frames, capped, lifted, isLower),
    frozenMs: whole.frozenMs,
    longestWaitMs: whole.longestWaitMs,
    fpsSettled: settled < lifted ? fps(frames, settled, lifted) : 0,
    kbpsCapped: whole.kbps,
    // Sound that was on its way behind the last large pictures comes late whatever is done.
    concealedPercent: concealedPercent(timeline, 'alice', capped + SETTLE_MS, lifted),
    changesCapped: whole.changes,
    backMs: settledAfter(frames, lifted, end, isTop),
    firstTopMs: firstAfter(frames, lifted, end, isTop),
  };
}

const LOSS = { loss: 0.05 };
/** Another continent over a radio link, one way. */
const FAR = { delay_ms: 75, jitter_ms: 20, loss: 0.01 };

/** A viewer's link loses packets at random, in both directions. */
export async function loss(play) {
  await publisher(play);
  const bob = await play.enter('bob', { wire: 'tun' });
  return impaired(bob.spot, LOSS, bob);
}

/** A viewer far away: delay, jitter and a little loss. */
export async function distant(play) {
  await publisher(play);
  const bob = await play.enter('bob', { wire: 'tun' });
  return impaired(bob.spot, FAR, bob);
}

/** Less than a packet of a picture has. */
const TUNNEL_BYTES = 900;

/** A viewer comes behind a tunnel that carries no datagram of ours whole. */
export async function tunnel(play) {
  await publisher(play);
  const bob = await play.enter('bob');
  await atBest(bob, 'alice');
  bob.spot.carryAtMost(TUNNEL_BYTES);
  const [from, to] = await watch(bob, 8_000);
  return quality(await bob.timeline(), 'alice', from, to);
}

/** The publisher's link does. */
export async function lossUpstream(play) {
  const alice = await publisher(play, { wire: 'tun' });
  const bob = await play.enter('bob');
  return impaired(alice.spot, LOSS, bob);
}

const SLIGHT_LOSS = { loss: 0.03 };

/** The same of a codec whose layers, of this mode, are in one stream. */
export async function lossOfLayers(play, codec, mode) {
  const alice = await play.enter('alice', { camera: true });
  await alice.call('publishMicrophone');
  await alice.call('publishVideo', { ...SMALL_CAMERA, codec, mode });
  const bob = await play.enter('bob', { wire: 'tun' });
  return impaired(bob.spot, SLIGHT_LOSS, bob, SMALL_CAMERA);
}

/** bob's picture of alice while both directions of the spot's wire have these faults. */
async function impaired(spot, faults, bob, camera = CAMERA) {
  await atBest(bob, 'alice', camera);
  const before = await spot.impair({ down: faults, up: faults });
  const [from, to] = await watch(bob, 20_000);
  const after = await spot.impair({ down: {}, up: {} });
  const timeline = await bob.timeline();
  const rows = rowsOf(timeline, 'video', 'alice');
  const [lost, carried] = ['lost', 'carried'].map((name) => {
    return after.down[name] + after.up[name] - before.down[name] - before.up[name];
  });
  return {
    ...quality(timeline, 'alice', from, to),
    videoCodec: rows.at(-1).codec,
    audioCodec: rowsOf(timeline, 'audio', 'alice').at(-1).codec,
    lostPercent: (100 * lost) / (lost + carried),
    nacks: growth(rows, 'nacks', from, to),
    plis: growth(rows, 'plis', from, to),
    keyFrames: growth(rows, 'keyFrames', from, to),
    retransmitted: growth(rows, 'retransmitted', from, to),
  };
}

/** Two viewers of one track: one link is bad, the other viewer must not notice. */
export async function unequal(play) {
  const alice = await publisher(play);
  const bob = await play.enter('bob');
  const carol = await play.enter('carol');
  await atBest(bob, 'alice');
  await atBest(carol, 'alice');
  const start = await alice.now();
  bob.spot.capDown(CAP_KBPS);
  const watched = [bob, carol].map((viewer) => watch(viewer, 12_000));
  const [[bobFrom, bobTo], [carolFrom, carolTo]] = await Promise.all(watched);
  const bobFrames = picture(await bob.timeline(), 'alice');
  const carolTimeline = await carol.timeline();
  const carols = quality(carolTimeline, 'alice', carolFrom, carolTo);
  const top = (await alice.timeline()).sent.filter((row) => row.kind === 'video' && row.rid === 'f');
  return {
    bobSettledMs: settledAfter(bobFrames, bobFrom, bobTo, isLower),
    carolFps: carols.fps,
    carolFrozenMs: carols.frozenMs,
    carolLongestWaitMs: carols.longestWaitMs,
    carolChanges: carols.changes,
    carolLeftTopMs: settledAfter(picture(carolTimeline, 'alice'), carolFrom, carolTo, isTop),
    carolConcealedPercent: carols.concealedPercent,
    aliceTopKbps: kbps(top, start, await alice.now()),
    aliceKeyFrames: growth(top, 'keyFrames', start, await alice.now()),
  };
}

/** A call in which both send; bob is the one whose network changes. */
async function pair(play, how) {
  const alice = await publisher(play);
  const bob = await play.enter('bob', { camera: true, ...how });
  await bob.call('publishVideo', SMALL_CAMERA);
  await atBest(bob, 'alice');
  await atBest(alice, 'bob', SMALL_CAMERA);
  return [alice, bob];
}

/** How long each of the two saw nothing of the other after `change`. */
async function blindness(alice, bob, change, ms) {
  await change();
  const [[bobFrom, bobTo], [aliceFrom, aliceTo]] = await Promise.all([watch(bob, ms), watch(alice, ms)]);
  return {
    bobBlindMs: longestWait(picture(await bob.timeline(), 'alice'), bobFrom, bobTo),
    aliceBlindMs: longestWait(picture(await alice.timeline(), 'bob'), aliceFrom, aliceTo),
    events: await reconnections(bob, bobFrom),
  };
}

/** A phone between two networks: no link for a moment, then another address. */
export async function move(play) {
  const [alice, bob] = await pair(play);
  bob.spot.disconnect();
  await happened(bob, 'offline');
  return blindness(alice, bob, () => bob.spot.reconnect(), 8_000);
}

/** A NAT forgets its mappings: bob's packets come from other ports, and nothing tells the browser. */
export async function rebind(play) {
  const [alice, bob] = await pair(play, { wire: 'tun' });
  return blindness(alice, bob, () => bob.spot.impair({ rebind: 1_000 }), 10_000);
}

/** What the SDK said of its connection since `from`. */
async function reconnections(person, from) {
  const { events } = await person.timeline();
  const name = ({ event, words }) => (event === 'connectionStateChanged' ? words[0] : event);
  return events.filter(({ event, at }) => /onnect|line$/.test(event) && at >= from)
    .map((row) => `${name(row)}@${(row.at - from).toFixed(0)}`).join(' ');
}

/** Waits until the SDK or the browser has told of something since `from`. */
function happened(person, name, from = 0) {
  return person.until(`was told ${name}`, ({ events }) => {
    return events.some(({ event, at }) => event === name && at > from);
  });
}

const DOOR_PORT = 7880;

/** The WebSocket is cut, the media path is not. */
export async function socketDrops(play) {
  const alice = await publisher(play);
  const spot = await play.place({ camera: true });
  const door = await spot.openDoor(DOOR_PORT, play.server.port);
  const bob = await play.sitAt('bob', spot, `http://127.0.0.1:${DOOR_PORT}`);
  await bob.call('publishVideo', SMALL_CAMERA);
  await atBest(bob, 'alice');
  await atBest(alice, 'bob', SMALL_CAMERA);
  const from = await bob.now();
  const aliceFrom = await alice.now();
  door.kill('SIGKILL');
  await door.over;
  await happened(bob, 'signalReconnecting', from);
  await spot.openDoor(DOOR_PORT, play.server.port);
  await happened(bob, 'reconnected', from);
  await pause(3_000);
  return {
    bobBlindMs: longestWait(picture(await bob.timeline(), 'alice'), from, await bob.now()),
    aliceBlindMs: longestWait(picture(await alice.timeline(), 'bob'), aliceFrom, await alice.now()),
    bobConcealedPercent: concealedPercent(await bob.timeline(), 'alice', from, await bob.now()),
    events: await reconnections(bob, from),
  };
}

/** The SDK's last resort: everything anew under the same identity. */
export async function fullReconnect(play) {
  await publisher(play);
  const bob = await play.enter('bob');
  await atBest(bob, 'alice');
  await bob.page.evaluate(() => { window.stage.seats.get('bob').noteDecoding(); });
  await bob.until('has a decoder at work', ({ decoded, now }) => {
    return decoded.length > 30 && longestWait(decoded, now - CALM_MS, now) < CALM_WAIT_MS;
  });
  const from = await bob.now();
  await bob.room('simulateScenario', 'full-reconnect');
  await happened(bob, 'reconnected', from);
  await pause(2_000);
  const timeline = await bob.timeline();
  return {
    decoderIdleMs: longestWait(timeline.decoded, from, timeline.now),
    bobBlindMs: longestWait(picture(timeline, 'alice'), from, timeline.now),
    events: await reconnections(bob, from),
  };
}

/** All of them by name, in the order in which they are measured. */
export const SCENES = {
  cap, loss, lossUpstream, distant, unequal, move, rebind, socketDrops, fullReconnect,
};
