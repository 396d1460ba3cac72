// ffmpeg's own WHIP muxer (since 8.0) publishes. The build is the one of the Python package imageio-ffmpeg.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';

import { patternFiles, seesTheSame } from './lib/pattern.mjs';
import { AioPeer, Child, PYTHON } from './lib/peer.mjs';
import { scene } from './lib/scene.mjs';
import { until } from './lib/wait.mjs';

/** The program, or why there is none. */
function find() {
  const run = (program, ...args) => execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  try {
    const program = run(PYTHON, '-c', 'import imageio_ffmpeg as i; print(i.get_ffmpeg_exe())').trim();
    if (/^ *E +whip /m.test(run(program, '-hide_banner', '-muxers'))) return { program };
    return { skip: `${program} has no WHIP muxer` };
  } catch (error) {
    return { skip: `no ffmpeg can be had here: ${error.message.split('\n')[0]}` };
  }
}

const { program, skip } = find();
const file = patternFiles();

scene('ffmpeg publishes by its WHIP muxer', async ({ server, note }) => {
  const [token, url] = [await server.token('ff', 'ffmpeg'), `${server.url}/whip/ff`];
  const ffmpeg = new Child(
    program, '-nostdin', '-hide_banner', '-loglevel', 'warning', '-re', '-i', file('h264.ts'), '-c', 'copy',
    '-f', 'whip', '-authorization', token, url,
  );
  let player;
  try {
    player = new AioPeer('play', `${server.url}/whep/ff`, await server.token('ff', 'player'));
    await seesTheSame(player, { note });
  } catch (error) {
    error.message += `\n${ffmpeg.errors.join('')}`;
    throw error;
  } finally {
    // It deletes its resource then.
    ffmpeg.child.kill('SIGINT');
    await ffmpeg.leave();
    await player?.leave();
  }
  assert.equal(player.rows.find((row) => row.event === 'deleted')?.status, 200);
  await until('nobody is left', async () => (await server.metric('antipode_sessions')) === 0);
}, { skip });
