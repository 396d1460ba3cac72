// Prints how long a viewer waits from `connect()` to the first picture on screen, over many joins on
// loopback: node tests/e2e/net/first-frame.mjs [--joins N]
//
// Run it from the repository's root, with nothing else running. The publisher has been in the room
// for a while; each join is a new Room in a page that has its SDK loaded.

import { parseArgs } from 'node:util';

import { launch } from '../lib/browser.mjs';
import { startServer } from '../lib/server.mjs';
import { pause } from '../lib/wait.mjs';
import { film } from './camera.mjs';
import { openStage } from './cast.mjs';
import { percentile } from './figures.mjs';
import { CAMERA } from './play.mjs';

const { values } = parseArgs({ options: { joins: { type: 'string', default: '20' } } });
/** Between two joins, so that the second one does not wait for a keyframe that the first had just got. */
const REST_MS = 1_500;
/** The first ones warm up the browser and are not counted. */
const WARM = 2;

async function joinOnce(stage, number) {
  const viewer = await stage.sit(`viewer${number}`);
  const { marks } = await viewer.until('has a picture', (timeline) => timeline.marks.firstFrame);
  await viewer.call('leave');
  const since = (mark) => marks[mark] - marks.connect;
  return {
    connected: since('connected'), subscribed: since('videoSubscribed'), picture: since('firstFrame'),
  };
}

async function main() {
  const server = await startServer();
  const publisher = await launch(`--use-file-for-fake-video-capture=${await film()}`);
  const browser = await launch();
  try {
    const alice = await (await openStage(publisher, server.url)).sit('alice');
    await alice.call('record');
    await alice.call('publishVideo', CAMERA);
    await alice.call('publishMicrophone');
    const stage = await openStage(browser, server.url);
    const joins = [];
    for (let number = 0; number < Number(values.joins) + WARM; number += 1) {
      await pause(REST_MS);
      const join = await joinOnce(stage, number);
      if (number >= WARM) joins.push(join);
    }
    for (const mark of ['connected', 'subscribed', 'picture']) {
      const times = joins.map((join) => join[mark]);
      const [p50, p95, max] = [0.5, 0.95, 1].map((share) => percentile(times, share).toFixed(0));
      console.log(`connect() to ${mark}: p50 ${p50} ms, p95 ${p95} ms, max ${max} ms`);
    }
    const sent = (await alice.timeline()).sent.filter((row) => row.kind === 'video');
    const last = new Map(sent.map((row) => [row.rid, row.keyFrames]));
    const keyFrames = [...last].map((pair) => pair.join(' ')).join(', ');
    console.log(`keyframes of the publisher by layer: ${keyFrames}; joins: ${joins.length + WARM}`);
  } finally {
    await browser.close();
    await publisher.close();
    await server.stop();
  }
}

await main();
