// Many clients in one process of Node: node herd.mjs CLIENT SETUP. Each change of a state is a line of JSON, and so is each new
// longest time for which the event loop stood still: timers may fire that much early, as they count from its last round.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const TICK_MS = 10;

const [script, setup] = process.argv.slice(2);
// By NODE_PATH, which only `require` heeds.
const WebSocket = createRequire(import.meta.url)('ws');
const { Frontdesk } = await import(script);
const { url, tokens } = JSON.parse(readFileSync(setup, 'utf8'));
const say = (line) => console.log(JSON.stringify(line));

let last = performance.now();
let longest = 0;
setInterval(() => {
  const now = performance.now();
  const stood = now - last;
  last = now;
  if (stood <= longest) return;
  longest = stood;
  say({ stood });
}, TICK_MS);

tokens.forEach((token, client) => {
  const desk = new Frontdesk({ url, token: () => token, WebSocket });
  desk.on('state', ({ state, code, retryInMs }) => say({ client, at: performance.now(), state, code, retryInMs }));
  desk.start();
});
