// A network of this process's own. Import it before anything else:
//
//   import { refusal } from './net/enter.mjs';
//
// The first import runs the same file again in a new network namespace and ends with that run's
// exit code, so everything after the import happens inside, where interfaces, addresses and queues
// disturb nobody. The kernel takes them away with the last process in there, however it ended.
// `refusal` says why there is no such network on this host, for a test to be skipped with.

import { execFileSync, spawn } from 'node:child_process';

const INSIDE = 'E2E_INSIDE_NETWORK';

/** Everything that spot.mjs will need, tried once. */
const TRIAL = `set -e
ip link add near type veth peer name far
tc qdisc add dev near root tbf rate 1mbit burst 1600 latency 50ms
nsenter --net=/proc/self/ns/net true
setpriv --pdeathsig SIGTERM true
python3 -c 'open("/dev/net/tun")'`;

/** Why there can be no such network here, or undefined. */
function findRefusal() {
  try {
    execFileSync('unshare', ['--net', 'sh', '-c', TRIAL], { stdio: 'pipe' });
    return undefined;
  } catch (error) {
    const text = String(error.stderr ?? '').trim() || error.message;
    return `no network of its own (that takes root, iproute2 and a kernel with veth, tun and tbf): ${text}`;
  }
}

async function runInside() {
  // The inner process dies with this one even when nothing is left to tell it.
  const words = ['--net', 'setpriv', '--pdeathsig', 'SIGTERM', process.execPath];
  const child = spawn('unshare', [...words, ...process.execArgv, ...process.argv.slice(1)], {
    stdio: 'inherit', env: { ...process.env, [INSIDE]: '1' },
  });
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => child.kill(signal));
  const code = await new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (status, signal) => resolve(status ?? (signal ? 1 : 0)));
  });
  process.exit(code);
}

const isInside = process.env[INSIDE] === '1';

export const refusal = isInside ? undefined : findRefusal();

if (isInside) {
  execFileSync('ip', ['link', 'set', 'lo', 'up']);
  // So that what hangs on 'exit' takes place.
  process.on('SIGTERM', () => process.exit(1));
} else if (refusal === undefined) {
  await runInside();
}
