// Frames that no server should send: whatever comes, nothing throws, and the next socket is as good as ever.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { World } from './harness.mjs';

const ACTIONS = ['welcome', 'refreshed', 'message', 'chat_close', 'queue_close', 'resync', 'error', 'ack', 'receipt', 'recalled', 'typing',
  'snapshot', 'history', 'conversations', 'unknown', '', '__proto__'];
const FIELDS = ['conversation', 'seq', 'id', 'prev', 'time', 'from', 'uid', 'message', 'code', 'ref', 'of', 'queue', 'name', 'max', 'duty',
  'conversations', 'entries', 'more', 'reset', 'unread', 'read', 'delivered', 'retry_after_ms', 'resume', 'on', 'customer', 'kind'];
const CODES = ['welcome', 'on_duty', 'off_duty', 'no_staff', 'queued', 'connected', 'new_customer', 'queue_moved', 'closed', 'busy',
  'rate_limited', 'bad_resume', 'no_conversation', 'bad_token', 'internal'];

/** Numbers from a seed (mulberry32). */
function dice(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

function value(chance, depth = 0) {
  const one = (list) => list[Math.floor(chance() * list.length)];
  const simple = [null, true, false, 0, 1, 2, 3, -1, 1.5, 1e308, '', 'c', 'd', 'e1', 'm1', 'alice', 'sam', 'customer', 'staff', 'open', 'waiting'];
  if (depth < 3 && chance() < 0.2) return Array.from({ length: Math.floor(chance() * 4) }, () => value(chance, depth + 1));
  if (depth < 3 && chance() < 0.3) return payload(chance, depth + 1);
  return chance() < 0.3 ? one(CODES) : one(simple);
}

function payload(chance, depth = 0) {
  const fields = {};
  for (const name of FIELDS) if (chance() < 0.35) fields[name] = value(chance, depth);
  return fields;
}

test('no frame harms the client', async (context) => {
  // What a listener of the page is given may be odd, too; nothing is to be reported all the same.
  const reported = context.mock.method(console, 'error', () => {});
  const seed = Number(process.env.FRONTDESK_SEED ?? Date.now() % 2 ** 31);
  const chance = dice(seed);
  for (let life = 0; life < 25; life += 1) {
    const world = new World();
    const client = await world.live();
    client.send('before');
    for (let i = 0; i < 120; i += 1) {
      const action = ACTIONS[Math.floor(chance() * ACTIONS.length)];
      const data = JSON.stringify({ action, payload: chance() < 0.05 ? value(chance) : payload(chance) });
      try {
        world.socket.onmessage?.({ data });
        if (i % 40 === 0) await world.clock.advance(3000);
      } catch (error) {
        assert.fail(`seed ${seed}: ${data}: ${error.stack}`);
      }
    }
    client.stop();
    assert.equal(reported.mock.callCount(), 0);
  }
});
