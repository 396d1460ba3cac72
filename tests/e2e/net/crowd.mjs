// A room of ten who publish, and one who watches over a thin link.

import { pause } from '../lib/wait.mjs';
import { openStage } from './cast.mjs';
import { fps, frozenMs, kbps, longestWait, picture, rowsOf } from './figures.mjs';

const LINK_KBPS = 3_000;
const PUBLISHERS = 10;
/** Low sizes, because one machine encodes all of them; what counts is the sum against the link. */
const CAMERA = {
  top: { width: 640, height: 360, fps: 10, kbps: 300 },
  lower: [{ width: 320, height: 180, fps: 10, kbps: 80 }],
};
const SCREEN = {
  source: 'screen_share', content: 'detail',
  top: { width: 1280, height: 720, fps: 5, kbps: 1_000 },
  lower: [{ width: 640, height: 360, fps: 5, kbps: 200 }],
};
const WATCH_MS = 10_000;

/** The first one speaks, the last one shares the screen; all have a camera. */
export async function crowd(play) {
  const hall = await play.place({ camera: true });
  const stage = await openStage(hall.browser, play.server.url);
  const names = Array.from({ length: PUBLISHERS }, (_, index) => `guest${index}`);
  const [speaker, presenter] = [names[0], names.at(-1)];
  for (const name of names) {
    const guest = await play.sit(name, stage, { onRecord: false, autoSubscribe: false });
    await guest.call('publishVideo', CAMERA);
    if (name === speaker) await guest.call('publishMicrophone');
    if (name === presenter) await guest.call('publishVideo', SCREEN);
  }
  const bob = await play.enter('bob');
  await bob.until('has all pictures', ({ pictures }) => {
    return pictures.length === PUBLISHERS + 1 && pictures.every(({ frames }) => frames.length > 5);
  }, 30_000);
  bob.spot.capDown(LINK_KBPS);
  // What is judged is the arrangement that the server settles on, not the way to it.
  await pause(6_000);
  const from = await bob.now();
  await pause(WATCH_MS);
  const to = await bob.now();
  const figures = arrangement(await bob.timeline(), { names, speaker, presenter, from, to });
  const sent = (await Promise.all(names.map((_, index) => play.people[index].call('read')))).flat()
    .filter((row) => row.local && row.source === 'camera' && row.active);
  return { ...figures, sentFpsMin: Math.min(...sent.map((row) => row.fps)) };
}

function arrangement(timeline, { names, speaker, presenter, from, to }) {
  const share = (identity, source, width) => {
    const seen = picture(timeline, identity, source).filter(([at]) => at >= from && at <= to);
    return seen.length > 0 ? (100 * seen.filter((frame) => frame[1] >= width).length) / seen.length : 0;
  };
  const rest = names.filter((name) => name !== speaker);
  const screen = picture(timeline, presenter, 'screen_share');
  const restFps = rest.map((name) => fps(picture(timeline, name), from, to));
  const restSharp = rest.filter((name) => share(name, 'camera', CAMERA.top.width) > 50);
  const all = timeline.rows.filter((row) => row.kind === 'video');
  const keys = new Set(all.map((row) => `${row.identity} ${row.source}`));
  return {
    screenSharpPercent: share(presenter, 'screen_share', SCREEN.top.width),
    screenFps: fps(screen, from, to),
    screenLongestWaitMs: longestWait(screen, from, to),
    speakerSharpPercent: share(speaker, 'camera', CAMERA.top.width),
    speakerFps: fps(picture(timeline, speaker), from, to),
    speakerFrozenMs: frozenMs(picture(timeline, speaker), from, to),
    restSharp: restSharp.length,
    restFpsMin: Math.min(...restFps),
    restFpsMedian: restFps.sort((a, b) => a - b)[Math.floor(restFps.length / 2)],
    kbps: [...keys].reduce((sum, key) => {
      const [identity, source] = key.split(' ');
      return sum + kbps(rowsOf(timeline, 'video', identity, source), from, to);
    }, 0),
  };
}
