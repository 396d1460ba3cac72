// The people of a scene: the server's page with our stage in place of its script, so that a
// test chooses layers, bitrates and keys, and reads everything that was recorded.

import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

import { mint } from '../lib/token.mjs';
import { until } from '../lib/wait.mjs';

const STAGE = new URL('./stage.js', import.meta.url);
/** What of a record a waiting condition gets to see. */
const RECENT_MS = 5_000;
/** Characters of a line of the page's console that are kept. */
const LINE_MAX = 300;

/**
 * Opens a stage under `origin`, which is the server's, or a door's to it. The page itself comes from
 * the server: one that is handed in from outside has no address, and Chromium lets it reach neither
 * loopback nor a private network. Its policy holds too. `files` are more scripts by their names.
 */
export async function openStage(browser, origin, files = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
  const page = await context.newPage();
  const lines = [];
  // The SDK writes its whole join request, with the offer, into one line.
  page.on('console', (message) => lines.push(`${message.type()}: ${message.text()}`.slice(0, LINE_MAX)));
  page.on('pageerror', (error) => lines.push(`uncaught: ${error.message}`));
  const serve = (name, body) => page.route(`${origin}/${name}`, (route) => {
    return route.fulfill({ contentType: 'text/javascript', body });
  });
  for (const [name, path] of Object.entries({ 'app.js': fileURLToPath(STAGE), ...files })) {
    await serve(name, await readFile(path, 'utf8'));
  }
  await page.goto(origin);
  await until('the stage is set', () => page.evaluate(() => Boolean(window.stage)));
  return new Stage(page, origin, lines);
}

/** One page; `sit` puts a person into it. */
class Stage {
  constructor(page, origin, lines) {
    this.page = page;
    this.origin = origin;
    this.lines = lines;
  }

  /**
   * Joins `room` as `name`; `options` are those of the SDK's Room, `autoSubscribe`, and `secret` for
   * end-to-end encryption.
   */
  async sit(name, { room = 'stage', ...options } = {}) {
    const token = mint({ sub: name, name, video: { room, roomJoin: true } });
    await this.page.evaluate(async ([who, how, url, ticket]) => {
      window.stage.sit(who, how);
      await window.stage.seats.get(who).join(url, ticket);
    }, [name, options, this.origin.replace(/^http/, 'ws'), token]);
    return new Person(this, name);
  }
}

/** One person in one room. */
export class Person {
  constructor(stage, name) {
    this.stage = stage;
    this.page = stage.page;
    this.name = name;
  }

  /** Calls a method of the seat in the page. */
  call(method, ...words) {
    return this.page.evaluate(([name, what, list]) => {
      return window.stage.seats.get(name)[what](...list);
    }, [this.name, method, words]);
  }

  /** Calls a method of the SDK's room. */
  room(method, ...words) {
    return this.page.evaluate(([name, what, list]) => {
      window.stage.seats.get(name).room[what](...list);
    }, [this.name, method, words]);
  }

  /** The page's clock, in which its record is kept. */
  now() {
    return this.page.evaluate(() => window.stage.now());
  }

  /** All that was recorded, as stage.js says. */
  timeline() {
    return this.call('timeline');
  }

  /**
   * Waits until the record's last RECENT_MS fulfil `condition`, which runs here, and gives those. The
   * whole record is too much to be carried out of the page at every look.
   */
  async until(what, condition, ms = 20_000) {
    try {
      return await until(`${this.name} ${what}`, async () => {
        const timeline = await this.call('timeline', RECENT_MS);
        return (await condition(timeline)) && timeline;
      }, ms);
    } catch (error) {
      const rows = (await this.call('read')).map((row) => JSON.stringify(row)).join('\n');
      error.message += `\n${rows}\n${this.stage.lines.slice(-30).join('\n')}`;
      throw error;
    }
  }
}
