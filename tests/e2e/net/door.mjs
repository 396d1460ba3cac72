// A door for TCP: listens on loopback of the namespace that it runs in and forwards to a server.
//
//   node door.mjs LISTEN_PORT HOST PORT
//
// It runs until standard input ends. Killing it cuts every connection that goes through it and
// nothing else, which is how a test takes the signaling from a client and leaves the media alone.

import { connect, createServer } from 'node:net';

const [listenPort, host, port] = process.argv.slice(2);

const server = createServer((near) => {
  const far = connect(Number(port), host);
  for (const [from, to] of [[near, far], [far, near]]) {
    from.setNoDelay(true);
    from.pipe(to);
    from.once('error', () => to.destroy());
    from.once('close', () => to.destroy());
  }
});
server.listen(Number(listenPort), '127.0.0.1', () => console.log('open'));
process.stdin.resume().once('end', () => process.exit(0));
