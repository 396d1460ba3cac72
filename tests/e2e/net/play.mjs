// What a scene on a network needs: a server that spots can reach, people in spots, and an end that
// takes all of it down. A failed scene leaves its records as JSON.

import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { tmpdir } from 'node:os';
import { test } from 'node:test';

import { startServerAt } from '../lib/server.mjs';
import { film } from './camera.mjs';
import { openStage } from './cast.mjs';
import { refusal } from './enter.mjs';
import { HUB, Spot, openHub } from './spot.mjs';

/** Longest time of one scene, in ms, with everything that starts and ends. */
const SCENE_MS = 120_000;

/** Bitrates of the usual camera, in kbit/s: the top layer alone is more than a link of 500 takes. */
export const CAMERA = {
  top: { width: 1280, height: 720, fps: 30, kbps: 800 },
  lower: [
    { width: 320, height: 180, fps: 30, kbps: 100 },
    { width: 640, height: 360, fps: 30, kbps: 300 },
  ],
};

export class Play {
  static async open() {
    openHub();
    const play = new Play();
    play.server = await startServerAt(HUB, '--advertise', HUB);
    // When this process is told to end in the middle of a scene; the spots end by themselves.
    play.onExit = () => play.server.process.kill('SIGTERM');
    process.once('exit', play.onExit);
    return play;
  }

  constructor() {
    this.spots = [];
    this.people = [];
  }

  /** A place with a browser; `camera` gives it the film for a camera. */
  async place({ camera = false, ...how } = {}) {
    const spot = await Spot.open(how);
    this.spots.push(spot);
    const flags = camera ? [`--use-file-for-fake-video-capture=${await film()}`] : [];
    spot.browser = await spot.launch(this.server.url, ...flags);
    return spot;
  }

  /** One person in a place of their own, in the room and on record. */
  async enter(name, { camera, wire, ...options } = {}) {
    return this.sitAt(name, await this.place({ camera, wire }), this.server.url, options);
  }

  /** The same in a place that is there, under the server's origin or a door's. */
  async sitAt(name, spot, origin, options) {
    const person = await this.sit(name, await openStage(spot.browser, origin), options);
    person.spot = spot;
    return person;
  }

  /** One more person on a stage that is there; a crowd's records would keep its page busy. */
  async sit(name, stage, { onRecord = true, ...options } = {}) {
    const person = await stage.sit(name, options);
    if (onRecord) await person.call('record');
    this.people.push(person);
    return person;
  }

  async timelines() {
    return Promise.all(this.people.map((person) => person.timeline().catch((error) => ({
      name: person.name, error: error.message, lines: person.stage.lines,
    }))));
  }

  async close() {
    for (const spot of this.spots.reverse()) await spot.close();
    await this.server.stop();
    process.off('exit', this.onExit);
  }
}

/** Plays a scene once and gives its figures when `judge` lets them pass. */
export async function perform(scene, judge = () => {}) {
  const play = await Play.open();
  try {
    const figures = await scene(play);
    judge(figures);
    return figures;
  } catch (error) {
    error.message += `\n--- records: ${await keep(play, scene.name)}`;
    error.message += `\n--- the server's last lines ---\n${play.server.tail()}\n---`;
    throw error;
  } finally {
    await play.close();
  }
}

/** Writes the records and the server's log to a folder and gives its path. */
async function keep(play, name) {
  const folder = join(process.env.RECORDS ?? join(tmpdir(), 'antipode-records'), name);
  await mkdir(folder, { recursive: true });
  for (const timeline of await play.timelines()) {
    await writeFile(join(folder, `${timeline.name}.json`), JSON.stringify(timeline));
  }
  await writeFile(join(folder, 'server.log'), play.server.log.join('\n'));
  return folder;
}

/** A test: a scene, and `judge`, which gets its figures and throws when they will not do. */
export function netTest(title, scene, judge) {
  test(title, { skip: refusal ?? false, timeout: SCENE_MS }, async (context) => {
    await perform(scene, (figures) => {
      context.diagnostic(inWords(figures));
      judge(figures);
    });
  });
}

/** One line of figures: numbers short, times in ms. */
export function inWords(figures) {
  return Object.entries(figures).map(([name, value]) => {
    return `${name} ${typeof value === 'number' ? Number(value.toFixed(value < 10 ? 2 : 0)) : value}`;
  }).join(', ');
}
