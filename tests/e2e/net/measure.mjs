// Prints the figures of the scenes: node tests/e2e/net/measure.mjs [--rounds N] [SCENE…]
//
// Run it from the repository's root, as root. Records stay in RECORDS when a scene throws.

import './enter.mjs';
import { parseArgs } from 'node:util';

import { inWords, perform } from './play.mjs';
import * as scenes from './scenes.mjs';
import * as crowd from './crowd.mjs';

const ALL = {
  cap: scenes.cap, loss: scenes.loss, lossUpstream: scenes.lossUpstream, unequal: scenes.unequal, crowd: crowd.crowd, move: scenes.move,
  readdress: scenes.readdress, socketDrops: scenes.socketDrops, fullReconnect: scenes.fullReconnect,
};

const { values, positionals } = parseArgs({
  allowPositionals: true, options: { rounds: { type: 'string', default: '1' } },
});
for (const name of positionals.length > 0 ? positionals : Object.keys(ALL)) {
  if (!ALL[name]) throw new Error(`no scene ${name}; there are ${Object.keys(ALL).join(' ')}`);
  for (let round = 0; round < Number(values.rounds); round += 1) {
    console.log(`${name}: ${await perform(ALL[name]).then(inWords, (error) => error.message)}`);
  }
}
