// Two rooms whose people and tracks have the same names are two rooms.

import assert from 'node:assert/strict';

import { joinPage } from './lib/browser.mjs';
import { scene } from './lib/scene.mjs';
import { mint } from './lib/token.mjs';
import { until } from './lib/wait.mjs';

/** RTP packets of one kind that this page received in all, over all its peer connections. */
function received(guest, kind) {
  return guest.page.evaluate(async (wanted) => {
    const { publisher, subscriber } = window.antipode.room.engine.pcManager;
    let packets = 0;
    for (const transport of [publisher, subscriber]) {
      const report = await transport?.pc?.getStats();
      for (const stat of report?.values() ?? []) {
        if (stat.type === 'inbound-rtp' && stat.kind === wanted) packets += stat.packetsReceived;
      }
    }
    return packets;
  }, kind);
}

scene('two rooms with the same names never see each other', async ({ server, browser }) => {
  // Red has pictures and no sound, blue has sound and no pictures: a packet tells where it is from.
  const red = { room: 'red', camera: '1', microphone: '0' };
  const blue = { room: 'blue', camera: '0', microphone: '1' };
  const guests = { red: [], blue: [] };
  for (const name of ['alice', 'bob']) {
    guests.red.push(await joinPage(browser, server, { ...red, name }));
    guests.blue.push(await joinPage(browser, server, { ...blue, name }));
  }
  for (const guest of [...guests.red, ...guests.blue]) await guest.keepPackets();
  await guests.red[0].send(['from red'], { reliable: true, topic: 't' });
  await guests.blue[0].send(['from blue'], { reliable: true, topic: 't' });

  await until('red has 200 packets of video', async () => (await received(guests.red[1], 'video')) > 200);
  await until('blue has 200 packets of audio', async () => (await received(guests.blue[1], 'audio')) > 200);
  for (const [color, kind] of [['red', 'audio'], ['blue', 'video']]) {
    for (const guest of guests[color]) {
      assert.equal(await received(guest, kind), 0, `${color} ${guest.name} received ${kind}`);
      const others = await guest.page.evaluate(() => window.antipode.room.remoteParticipants.size);
      assert.equal(others, 1, `${color} ${guest.name} sees ${others} others`);
    }
    const texts = (await guests[color][1].packets()).map((packet) => packet.text);
    assert.deepEqual(texts, [`from ${color}`]);
  }
});

scene('the same identity that joins again takes the place of its first self', async (stage) => {
  const { server, browser } = stage;
  const alice = { room: 'r', name: 'alice', token: mint({ sub: 'alice', name: 'Alice' }) };
  const first = await joinPage(browser, server, alice);
  const bob = await joinPage(browser, server, { room: 'r', name: 'bob' });
  await bob.seesAndHears('alice');
  await joinPage(browser, server, alice);
  await first.until('was shown out', () => window.antipode.room.state === 'disconnected');
  await bob.until('sees one alice', () => window.antipode.room.remoteParticipants.size === 1);
  await bob.seesAndHears('alice');
  const [said] = await first.page.locator('#join-error').allTextContents();
  assert.match(said, /duplicate identity/);
});
