// Prints the figures of the scenes: node tests/e2e/net/measure.mjs [--rounds N] [SCENE…]
//
// Run it from the repository's root, as root. Records stay in RECORDS when a scene throws.

import { refusal } from './enter.mjs';
import { parseArgs } from 'node:util';

import { inWords, perform } from './play.mjs';
import { SCENES } from './scenes.mjs';
import { crowd } from './crowd.mjs';

const ALL = { ...SCENES, crowd };

if (refusal) throw new Error(refusal);
const { values, positionals } = parseArgs({
  allowPositionals: true, options: { rounds: { type: 'string', default: '1' } },
});
for (const name of positionals.length > 0 ? positionals : Object.keys(ALL)) {
  if (!ALL[name]) throw new Error(`no scene ${name}; there are ${Object.keys(ALL).join(' ')}`);
  for (let round = 0; round < Number(values.rounds); round += 1) {
    console.log(`${name}: ${await perform(ALL[name]).then(inWords, (error) => error.message)}`);
  }
}
