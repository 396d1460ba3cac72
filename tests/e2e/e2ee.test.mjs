// End-to-end encryption with the SDK's own worker: the server forwards what it cannot read, and
// still changes layers in it.

import assert from 'node:assert/strict';
import { fileURLToPath } from 'node:url';

import { scene } from './lib/scene.mjs';
import { pause, until } from './lib/wait.mjs';
import { film } from './net/camera.mjs';
import { openStage } from './net/cast.mjs';
import { growth, likeness, picture, rowsOf } from './net/figures.mjs';
import { CAMERA } from './net/play.mjs';

/** As the page's SDK, from the same package; scripts/test fetches it. */
const SDK = '../../.cache/page/node_modules/livekit-client/dist';
const WORKER = process.env.E2EE_WORKER
  ?? fileURLToPath(new URL(`${SDK}/livekit-client.e2ee.worker.mjs`, import.meta.url));
const SECRET = 'a secret that no server has';
/** Compressed and scaled, a picture is still this much like its original; another one is not. */
const LIKENESS_MIN = 0.9;
const LIKENESS_MAX_BLIND = 0.5;
/** How long a blind viewer is watched. */
const BLIND_MS = 4_000;
/** From a wish for another layer to the first picture of it. */
const SWITCH_MS = 5_000;

const browserArgs = [`--use-file-for-fake-video-capture=${await film()}`];

/** Opens a page of its own for a person; `secret` makes it one who seals and opens. */
async function enter({ browser, server }, name, secret) {
  const stage = await openStage(browser, server.url, { 'e2ee.worker.mjs': WORKER });
  const person = await stage.sit(name, secret === undefined ? {} : { secret });
  await person.call('record');
  return person;
}

/** Waits until the picture of `identity` is what its camera sees, at this width, and moves. */
function sees(viewer, identity, width, original) {
  return until(`${viewer.name} sees ${identity} at ${width}`, async () => {
    const { now, ...timeline } = await viewer.call('timeline', 2_000);
    const frames = picture(timeline, identity);
    const recent = frames.filter(([at]) => at > now - 1_000);
    const seen = recent.length > 10 && recent.every((frame) => frame[1] === width);
    const alike = recent.length > 0 ? likeness(await viewer.call('rowsOfLight', identity), original) : 0;
    if (seen && alike > LIKENESS_MIN) return true;
    throw new Error(`${recent.length} frames, last ${frames.at(-1)}, likeness ${alike.toFixed(2)}`);
  }, 30_000);
}

scene('those with the key see each other, one without it sees nothing', async (stage) => {
  const alice = await enter(stage, 'alice', SECRET);
  await alice.call('publishVideo', CAMERA);
  await alice.call('publishMicrophone');
  const bob = await enter(stage, 'bob', SECRET);
  await bob.call('publishVideo', { top: CAMERA.lower[1] });
  const original = await alice.call('rowsOfLight');
  await sees(bob, 'alice', CAMERA.top.width, original);
  await sees(alice, 'bob', CAMERA.lower[1].width, original);

  // The wrong key, and none at all.
  for (const [name, secret] of [['carol', 'another secret'], ['dave', undefined]]) {
    const blind = await enter(stage, name, secret);
    await blind.until('is sent both pictures', (timeline) => {
      return ['alice', 'bob'].every((from) => rowsOf(timeline, 'video', from).at(-1)?.bytes > 10_000);
    });
    const from = await blind.now();
    await pause(BLIND_MS);
    const timeline = await blind.timeline();
    for (const who of ['alice', 'bob']) {
      const decoded = growth(rowsOf(timeline, 'video', who), 'decoded', from, timeline.now);
      const shown = picture(timeline, who).length;
      stage.note(`${name}: ${decoded} frames of ${who} decoded, ${shown} shown`);
      if (shown > 0) {
        const alike = likeness(await blind.call('rowsOfLight', who), original);
        assert.ok(Math.abs(alike) < LIKENESS_MAX_BLIND, `${name} sees ${who}: likeness ${alike}`);
      }
    }
    await blind.page.context().close();
  }
}, { browserArgs });

scene('layers are switched in what the server cannot read', async (stage) => {
  const alice = await enter(stage, 'alice', SECRET);
  await alice.call('publishVideo', CAMERA);
  const bob = await enter(stage, 'bob', SECRET);
  const original = await alice.call('rowsOfLight');
  const { top, lower: [low, medium] } = CAMERA;
  const steps = [['HIGH', top], ['LOW', low], ['MEDIUM', medium], ['HIGH', top]];
  for (const [index, [level, { width }]] of steps.entries()) {
    const wished = await bob.now();
    await bob.call('setQuality', level);
    await sees(bob, 'alice', width, original);
    const frames = picture(await bob.timeline(), 'alice');
    const came = frames.find(([at, seen]) => at > wished && seen === width)[0] - wished;
    stage.note(`${level}: first frame ${width} wide after ${came.toFixed(0)} ms`);
    // Before the first step the layers are still starting at the publisher.
    if (index > 0) assert.ok(came < SWITCH_MS, `${level} took ${came.toFixed(0)} ms`);
  }
}, { browserArgs });
