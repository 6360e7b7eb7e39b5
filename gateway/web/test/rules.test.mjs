// The tables and the pure rules.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { Backoff } from '../client/backoff.js';
import { retryAfter, claims } from '../client/identity.js';
import { baseOf } from '../client/session.js';
import { wellFormed } from '../client/words.js';
import { CLOSE_CODES, LIMITS, comesBack } from '../client.js';

const protocol = readFileSync(new URL('../../../docs/PROTOCOL.md', import.meta.url), 'utf8');

test('the close codes are those of docs/PROTOCOL.md', () => {
  const section = protocol.slice(protocol.indexOf('## Close codes'));
  const rows = [...section.matchAll(/^\| (\d{4}) \| `(\w+)` \|/gm)].map(([, code, name]) => [Number(code), name]);
  assert.ok(rows.length > 10);
  const ours = Object.entries(CLOSE_CODES).map(([code, { name }]) => [Number(code), name]);
  assert.deepEqual(ours, rows);
});

test('who comes back is as docs/PROTOCOL.md says', () => {
  const rule = protocol.slice(protocol.indexOf('## Close codes')).split('\n\n')[1].replace(/\n/g, ' ');
  const [back, never] = rule.split(/connect again.*?same ids\./);
  const numbers = (text) => [...text.matchAll(/(\d{4})(?:-(\d{4}))?/g)].flatMap(([, from, to = from]) =>
    Array.from({ length: to - from + 1 }, (_, i) => Number(from) + i));
  assert.ok(numbers(back).length > 400 && numbers(never).length > 400);
  for (const code of numbers(back)) assert.equal(comesBack(code), true, `${code}`);
  for (const code of numbers(never)) assert.equal(comesBack(code), false, `${code}`);
  for (const [code, row] of Object.entries(CLOSE_CODES)) assert.equal(comesBack(Number(code)), row.back, code);
  assert.equal(comesBack(1005), true, 'what a proxy may make of a broken connection');
});

test('the limits are those of docs/PROTOCOL.md', () => {
  const text = protocol.replace(/\s+/g, ' ');
  const says = (sentence) => assert.ok(text.includes(sentence), sentence);
  says('a frame or message has at most 64 KiB, the text of a chat message 16 KiB of UTF-8');
  assert.deepEqual([LIMITS.frame, LIMITS.text], [64 * 1024, 16 * 1024]);
  says('without an ack after 10 s sends the message again with the same id, and has at most 256 messages without an ack');
  assert.deepEqual([LIMITS.resendMs, LIMITS.window], [10_000, 256]);
  says('At most 3 questions of a socket wait');
  assert.equal(LIMITS.questions, 3);
  says('at most 50, each conversation once');
  assert.equal(LIMITS.positions, 50);
  says('every 3 s while they go on');
  says('Let it fade after 5 s');
  assert.deepEqual([LIMITS.typingAgainMs, LIMITS.typingFadesMs], [3000, 5000]);
});

test('pauses are anything up to a bound that doubles', () => {
  const least = new Backoff(() => 0);
  const most = new Backoff(() => 1 - 1e-9);
  const bounds = Array.from({ length: 8 }, () => Math.round(most.next()));
  assert.deepEqual(bounds, [1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000]);
  for (let i = 0; i < 8; i += 1) assert.equal(least.next(), 0);
  most.reset();
  assert.equal(Math.round(most.next()), 1000);
  assert.equal(Math.round(most.next(5000)), 7000, 'what the server asks for, and chance after it');
  assert.ok(most.next(1e12) <= LIMITS.retryAfterMs + LIMITS.backoffMaxMs);
});

test('200 clients do not return in the same 100 ms', () => {
  const pauses = Array.from({ length: 200 }, () => new Backoff(Math.random).next());
  const windows = Array.from({ length: 10 }, (_, i) => pauses.filter((ms) => ms >= i * 100 && ms < (i + 1) * 100).length);
  assert.equal(windows.reduce((a, b) => a + b), 200);
  // 20 are expected in each; 60 or none in one is a chance of less than 1 in 10^8.
  for (const count of windows) assert.ok(count > 0 && count < 60, `${windows}`);
});

test('Retry-After is read as seconds or a date, and bounded', () => {
  const now = Date.parse('2026-01-01T00:00:00Z');
  assert.equal(retryAfter('2', now), 2000);
  assert.equal(retryAfter('Thu, 01 Jan 2026 00:00:07 GMT', now), 7000);
  assert.equal(retryAfter('Thu, 01 Jan 2020 00:00:00 GMT', now), 0);
  assert.equal(retryAfter('99999999999', now), LIMITS.retryAfterMs);
  for (const nothing of [null, '', 'soon', '-1']) assert.equal(retryAfter(nothing, now), 0);
});

test('a token says who and until when, and nonsense says nothing', () => {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  assert.deepEqual(claims(`x.${part({ sub: 'ä', exp: 5, role: 'staff' })}.y`), { sub: 'ä', exp: 5, role: 'staff' });
  for (const nonsense of ['', 'a.b', 'a.%%.c', `a.${part({ sub: 1 })}.c`]) assert.deepEqual(claims(nonsense), {});
});

test('addresses are taken however they are written', () => {
  for (const [given, base] of [
    ['https://chat.test', 'https://chat.test'],
    ['wss://chat.test/ws', 'https://chat.test'],
    ['ws://127.0.0.1:9502/', 'http://127.0.0.1:9502'],
    ['https://www.test/chat/', 'https://www.test/chat'],
  ]) assert.equal(baseOf(given), base);
  assert.throws(() => baseOf('ftp://chat.test'), TypeError);
});

test('halves of characters are replaced, whole ones stay', () => {
  assert.equal(wellFormed('a\uD83D\uDE00b\uD83Dc\uDE00'), 'a😀b\uFFFDc\uFFFD');
});
