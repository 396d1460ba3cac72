// Joining and leaving five hundred times leaves the server as it was.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Peer } from './lib/peer.mjs';
import { footprint, startServer } from './lib/server.mjs';
import { until } from './lib/wait.mjs';

/** Fills pools and caches, so that what grows afterwards is a leak. */
const WARM_UP = 100;
const VISITS = 500;
/** A leaked session is 39 KiB at least, so 500 of them are 19 MiB. */
const GROWTH_MIB_MAX = 8;

async function visit(server, count) {
  const tokens = [];
  for (let index = 0; index < count; index += 1) {
    tokens.push(await server.token(`room-${index % 10}`, `guest-${index}`));
  }
  const peer = new Peer('churn', server.url.replace('http', 'ws'), '120');
  peer.child.stdin.end(tokens.join('\n'));
  await peer.row('made all visits', (row) => row.event === 'done', 120_000);
  await peer.leave();
}

async function footprints(server) {
  const sessions = () => server.metric('antipode_sessions');
  await until('no session is left', async () => (await sessions()) === 0, 60_000);
  return { node: footprint(server.pidOf('node')), signal: footprint(server.pidOf('signal')) };
}

test('500 visits leave sessions, descriptors and memory where they were', async (context) => {
  const server = await startServer();
  try {
    await visit(server, WARM_UP);
    const before = await footprints(server);
    const opened = await server.metric('antipode_sessions_opened_total');
    await visit(server, VISITS);
    // Counters are a second old at most: none may be open at the moment that they are of.
    await until('all visits are counted', async () => {
      return await server.metric('antipode_sessions_opened_total') >= opened + VISITS;
    });
    const after = await footprints(server);
    for (const name of ['node', 'signal']) {
      const [then, now] = [before[name], after[name]];
      context.diagnostic(`${name}: ${then.rssMib.toFixed(1)} → ${now.rssMib.toFixed(1)} MiB, ` +
        `${then.descriptors} → ${now.descriptors} descriptors`);
      assert.ok(now.descriptors <= then.descriptors + 2, `${name} keeps descriptors`);
      assert.ok(now.rssMib - then.rssMib < GROWTH_MIB_MAX, `${name} keeps memory`);
    }
  } catch (error) {
    console.error(server.tail());
    throw error;
  } finally {
    await server.stop();
  }
});
