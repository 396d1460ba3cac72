// What most tests need: a server, a browser, and a log of both when something fails.

import { test } from 'node:test';

import { launch } from './browser.mjs';
import { startServer } from './server.mjs';

/** Longest time of one scene, in ms. */
const SCENE_MS = 180_000;

/** A test with a server and a browser of its own; both are gone when it ends. `skip` may say why not. */
export function scene(title, play, { serverArgs = [], browserArgs = [], ms = SCENE_MS, skip } = {}) {
  test(title, { timeout: ms, skip }, async (context) => {
    const server = await startServer(...serverArgs);
    const browsers = [];
    /** One more browser, with flags of its own: pages of one share its fake camera. */
    const another = async (...flags) => {
      browsers.push(await launch(...browserArgs, ...flags));
      return browsers.at(-1);
    };
    try {
      const browser = await another();
      await play({ server, browser, another, note: (text) => context.diagnostic(text) });
    } catch (error) {
      console.error(`--- the server's last lines (${title}) ---\n${server.tail()}\n---`);
      throw error;
    } finally {
      for (const browser of browsers) await browser.close();
      await server.stop();
    }
  });
}
