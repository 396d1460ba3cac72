// What most tests need: a server, a browser, and a log of both when something fails.

import { test } from 'node:test';

import { launch } from './browser.mjs';
import { startServer } from './server.mjs';

/** Longest time of one scene, in ms. */
const SCENE_MS = 180_000;

/** A test with a server and a browser of its own; both are gone when it ends. */
export function scene(title, play, { serverArgs = [], browserArgs = [], ms = SCENE_MS } = {}) {
  test(title, { timeout: ms }, async (context) => {
    const server = await startServer(...serverArgs);
    let browser;
    try {
      browser = await launch(...browserArgs);
      await play({ server, browser, note: (text) => context.diagnostic(text) });
    } catch (error) {
      console.error(`--- the server's last lines (${title}) ---\n${server.tail()}\n---`);
      throw error;
    } finally {
      await browser?.close();
      await server.stop();
    }
  });
}
