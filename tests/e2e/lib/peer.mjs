// The Python SDK as a child process; see peer.py for its jobs.

import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

import { until } from './wait.mjs';

const SCRIPT = fileURLToPath(new URL('../peer.py', import.meta.url));
const PYTHON = process.env.PYTHON ?? '.cache/peer/bin/python';

export class Peer {
  constructor(...args) {
    this.rows = [];
    this.errors = [];
    this.child = spawn(PYTHON, [SCRIPT, ...args], { stdio: ['pipe', 'pipe', 'pipe'] });
    this.isOver = false;
    this.child.once('close', () => { this.isOver = true; });
    const lines = createInterface({ input: this.child.stdout });
    lines.on('line', (line) => this.rows.push(JSON.parse(line)));
    this.child.stderr.setEncoding('utf8').on('data', (text) => this.errors.push(text));
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

  /** All data packets that came so far. */
  packets() {
    return this.rows.flatMap((row) => row.packets ?? []);
  }

  send(packet) {
    this.child.stdin.write(`${JSON.stringify(packet)}\n`);
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
