// Data packets between pages: reliable and lossy, to all and to those that are named.

import assert from 'node:assert/strict';

import { joinPage } from './lib/browser.mjs';
import { scene } from './lib/scene.mjs';
import { until } from './lib/wait.mjs';

const SILENT = { camera: '0', microphone: '0' };
/** As the SDK numbers them. */
const [RELIABLE, LOSSY] = [0, 1];
const COUNT = 100;

const numbered = (word) => Array.from({ length: COUNT }, (_, index) => `${word} ${index}`);
const texts = (packets, topic) => packets
  .filter((packet) => packet.topic === topic)
  .map((packet) => packet.text);

async function threeGuests({ server, browser }, params) {
  const guests = [];
  for (const name of ['alice', 'bob', 'carol']) {
    const guest = await joinPage(browser, server, { room: 'd', name, ...SILENT, ...params });
    await guest.keepPackets();
    guests.push(guest);
  }
  for (const guest of guests) {
    await guest.until('sees the other two', () => window.antipode.room.remoteParticipants.size === 2);
  }
  return guests;
}

for (const [path, params] of [['/rtc/v1', {}], ['/rtc', { v0: '1' }]]) {
  scene(`data packets go to all, or to those that are named, on ${path}`, async (stage) => {
    const [alice, bob, carol] = await threeGuests(stage, params);
    const aliceIs = await alice.identity();

    await alice.send(numbered('reliable'), { reliable: true, topic: 'all' });
    for (const guest of [bob, carol]) {
      await until(`${guest.name} has all`, async () => texts(await guest.packets(), 'all').length >= COUNT);
      const packets = (await guest.packets()).filter((packet) => packet.topic === 'all');
      assert.deepEqual(packets.map((packet) => packet.text), numbered('reliable'), 'in order, each once');
      assert.ok(packets.every((packet) => packet.from === aliceIs && packet.kind === RELIABLE));
    }

    await alice.send(numbered('lossy'), { reliable: false, topic: 'lossy' });
    await until('nearly all of the lossy ones came', async () => {
      return texts(await bob.packets(), 'lossy').length >= COUNT * 0.9;
    });
    const lossy = (await bob.packets()).filter((packet) => packet.topic === 'lossy');
    assert.ok(lossy.every((packet) => packet.kind === LOSSY && packet.from === aliceIs));
    assert.equal(new Set(lossy.map((packet) => packet.text)).size, lossy.length, 'none twice');

    const toBob = { reliable: true, topic: 'bob', destinationIdentities: [await bob.identity()] };
    await alice.send(['for bob'], toBob);
    // Carol's turn comes on the same channel after bob's: when she has it, she would have had his.
    const toCarol = { reliable: true, topic: 'carol', destinationIdentities: [await carol.identity()] };
    await alice.send(['for carol'], toCarol);
    await until('carol has hers', async () => texts(await carol.packets(), 'carol').length === 1);
    await until('bob has his', async () => texts(await bob.packets(), 'bob').length === 1);
    assert.deepEqual(texts(await carol.packets(), 'bob'), [], 'carol has what was meant for bob');
    assert.deepEqual(texts(await bob.packets(), 'carol'), [], 'bob has what was meant for carol');
    assert.deepEqual(await alice.packets(), [], 'nobody gets his own packets');
  });
}

scene('a big packet arrives whole, and the chat of the page shows what was said', async (stage) => {
  const [alice, bob] = await threeGuests(stage, {});
  const big = 'x'.repeat(14_000);
  await alice.send([big], { reliable: true, topic: 'big' });
  await until('bob has the big one', async () => texts(await bob.packets(), 'big').length === 1);
  assert.equal(texts(await bob.packets(), 'big')[0], big);

  await bob.page.click('#toggle-chat');
  await alice.page.click('#toggle-chat');
  await alice.page.fill('#chat-text', 'hello <b>bob</b>');
  await alice.page.keyboard.press('Enter');
  const shown = bob.page.locator('#chat-log li');
  await until('bob reads it', async () => (await shown.count()) === 1);
  assert.equal(await shown.first().textContent(), 'alicehello <b>bob</b>');
});
