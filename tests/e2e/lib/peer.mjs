// People that are child processes: they tell what they see by lines of JSON, and leave when their
// standard input ends.

import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

import { until } from './wait.mjs';

export const PYTHON = process.env.PYTHON ?? '.cache/peer/bin/python';

/** A file of the folder above. */
export const beside = (name) => fileURLToPath(new URL(`../${name}`, import.meta.url));

export class Child {
  constructor(program, ...args) {
    this.rows = [];
    this.errors = [];
    this.child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'] });
    this.isOver = false;
    this.child.once('close', () => { this.isOver = true; });
    // A write to one that has ended is told by the row that does not come.
    this.child.stdin.on('error', () => {});
    createInterface({ input: this.child.stdout }).on('line', (line) => this.take(line));
    this.child.stderr.setEncoding('utf8').on('data', (text) => this.errors.push(text));
  }

  take(line) {
    this.rows.push(JSON.parse(line));
  }

  /** Waits for a row that fits. */
  row(what, fits, ms = 20_000) {
    return until(`the peer ${what}`, () => {
      const found = this.rows.findLast(fits);
      if (!found && this.child.exitCode !== null) throw new Error(`it ended with ${this.child.exitCode}`);
      return found;
    }, ms).catch((error) => {
      error.message += `\n${JSON.stringify(this.rows.slice(-3))}\n${this.errors.join('').slice(-4000)}`;
      throw error;
    });
  }

  /** Ends its standard input, upon which it leaves the room. */
  async leave() {
    this.child.stdin.end();
    await until('the peer left', () => this.isOver, 10_000).catch(async (error) => {
      this.child.kill('SIGKILL');
      await until('the killed peer ended', () => this.isOver);
      throw error;
    });
  }
}

/** The Python SDK; see peer.py for its jobs. */
export class Peer extends Child {
  constructor(...args) {
    super(PYTHON, beside('peer.py'), ...args);
  }

  /** All data packets that came so far. */
  packets() {
    return this.rows.flatMap((row) => row.packets ?? []);
  }

  send(packet) {
    this.child.stdin.write(`${JSON.stringify(packet)}\n`);
  }
}

/** Runs a Python script of the folder above until it ends. */
export async function runPython(script, ...args) {
  const child = new Child(PYTHON, beside(script), ...args);
  await until(`${script} ended`, () => child.isOver, 120_000);
  if (child.child.exitCode !== 0) throw new Error(`${script} ${args}: ${child.errors.join('')}`);
}

/** aiortc; see http_peer.py for its jobs. */
export class AioPeer extends Child {
  constructor(...args) {
    super(PYTHON, beside('http_peer.py'), ...args);
  }
}
