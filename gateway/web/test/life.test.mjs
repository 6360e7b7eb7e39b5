// Sockets that come and go: when the client comes back, when it does not, and what wakes it.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CLOSE_CODES, LIMITS, comesBack } from '../client.js';
import { World } from './harness.mjs';

test('each close code is obeyed', async () => {
  for (const code of [...Object.keys(CLOSE_CODES).map(Number), 1005, 1006, 1011, 1012]) {
    const world = new World();
    const client = await world.live();
    world.socket.end(code);
    assert.equal(client.state, comesBack(code) ? 'waiting' : 'refused', `${code}`);
    assert.equal(client.told('state').at(-1).code, code);
    await world.clock.advance(120_000);
    assert.equal(client.state, comesBack(code) ? 'live' : 'refused', `${code}`);
    if (!comesBack(code)) assert.equal(world.sockets.length, 1);
  }
});

test('200 clients that are cut off together do not return together', async () => {
  const world = new World();
  world.clock.dice = Math.random;
  const clients = Array.from({ length: 200 }, (_, i) => world.client({ uid: `u${i}`, storage: null, session: null, page: null }).start());
  await world.clock.advance(100);
  assert.ok(clients.every(({ state }) => state === 'live'));
  const cut = world.clock.time;
  for (const socket of [...world.sockets]) socket.end(1006);
  const before = world.sockets.length;
  const back = [];
  for (let ms = 0; ms < 1000; ms += 100) {
    const then = world.sockets.length;
    await world.clock.advance(100);
    back.push(world.sockets.length - then);
  }
  assert.equal(world.sockets.length - before, 200, 'all are back within the first bound');
  assert.equal(world.clock.time - cut, 1000);
  for (const count of back) assert.ok(count > 0 && count < 60, `${back}`);
});

test('while it fails the pauses grow up to 30 s, and once proven they begin anew', async () => {
  const world = new World();
  world.clock.dice = () => 1 - 1e-9;
  const client = await world.live();
  world.accepts = false;
  await world.clock.advance(LIMITS.provenMs);
  world.socket.end();
  const pauses = () => client.told('state').filter(({ state }) => state === 'waiting').map(({ retryInMs }) => retryInMs);
  for (let i = 0; i < 7; i += 1) {
    await world.clock.advance(pauses().at(-1));
    world.socket.end();
  }
  assert.deepEqual(pauses(), [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
  world.accepts = true;
  await world.clock.advance(30_000);
  assert.equal(client.state, 'live');
  world.socket.end();
  assert.equal(pauses().at(-1), 30_000, 'live for a moment proves nothing');
  await world.clock.advance(30_000 + LIMITS.provenMs + 1000);
  world.socket.end();
  assert.equal(pauses().at(-1), 1000);
});

test('a server that accepts and says nothing is left after a while', async () => {
  for (const mute of ['welcome', 'resume']) {
    const world = new World();
    world.desk[mute] = () => {};
    const client = world.client().start();
    await world.clock.advance(LIMITS.enterMs + 100);
    assert.equal(world.sockets[0].closedWith, 3001, 'not 1000, which would be leaving');
    delete world.desk[mute];
    await world.clock.advance(5000);
    assert.equal(client.state, 'live', mute);
  }
});

test('a half-open socket is found by PING and left', async () => {
  const world = new World();
  const client = await world.live();
  await world.clock.advance(60_000);
  assert.ok(world.socket.pings >= 2 && world.sockets.length === 1, 'as long as it answers it stays');
  world.pongs = false;
  await world.clock.advance(LIMITS.quietMs + LIMITS.pongMs + 2 * LIMITS.tickMs);
  assert.equal(world.sockets.length, 2);
  await world.clock.advance(2000);
  assert.equal(client.state, 'live');
});

test('who slept asks at once whether the socket still lives, and does not believe old deadlines', async () => {
  const world = new World();
  const client = await world.live();
  world.pongs = false;
  await world.clock.advance(LIMITS.quietMs + LIMITS.tickMs);
  const pings = world.socket.pings;
  assert.ok(pings > 0);
  world.clock.sleep(3_600_000);
  world.pongs = true;
  await world.clock.advance(1);
  assert.equal(world.socket.pings, pings + 1, 'asked again');
  await world.clock.advance(30_000);
  assert.deepEqual([client.state, world.sockets.length], ['live', 1]);
  world.clock.sleep(3_600_000);
  world.pongs = false;
  await world.clock.advance(LIMITS.pongMs + 2 * LIMITS.tickMs);
  assert.equal(world.sockets.length, 2, 'and if nobody answers it is left');
});

test('clocks that jump cut nobody off', async () => {
  for (const jump of [86_400_000, -86_400_000]) {
    const world = new World();
    const client = await world.live();
    world.clock.skew += jump;
    await world.clock.advance(60_000);
    assert.deepEqual([client.state, world.sockets.length], ['live', 1]);
    client.send('hi');
    assert.equal(client.messages('c').length, 1);
  }
});

test('online, visible and shown again: who waits tries soon, who is live asks', async () => {
  for (const name of ['online', 'visibilitychange', 'pageshow', 'resume']) {
    const world = new World();
    world.clock.dice = () => 0.999;
    const client = await world.live();
    world.page.dispatchEvent(new Event(name));
    assert.equal(world.socket.pings, 1, name);
    world.accepts = false;
    for (let i = 0; i < 6; i += 1) {
      world.socket.end();
      await world.clock.advance(31_000);
    }
    world.socket.end();
    world.accepts = true;
    world.page.dispatchEvent(new Event(name));
    await world.clock.advance(1000);
    assert.equal(client.state, 'live', name);
  }
  const world = new World();
  await world.live();
  world.page.dispatchEvent(new Event('offline'));
  assert.equal(world.socket.pings, 1);
});

test('stop leaves with 1000, or keeps the place; start comes again', async () => {
  const world = new World();
  const client = await world.live();
  client.stop();
  assert.deepEqual([world.socket.closedWith, client.state], [1000, 'stopped']);
  await world.clock.advance(120_000);
  assert.equal(world.sockets.length, 1);
  client.start();
  await world.clock.advance(10);
  assert.equal(client.state, 'live');
  client.stop({ keep: true });
  assert.equal(world.socket.closedWith, 3001);
});

test('the token of the last welcome takes the lost connection over; a bad one is left out', async () => {
  const world = new World();
  const client = await world.live();
  assert.equal(world.socket.got('resume')[0].token, undefined);
  world.socket.end();
  await world.clock.advance(2000);
  assert.equal(world.socket.got('resume')[0].token, 't1');
  world.socket.end();
  world.desk.refusals.push(['resume', { code: 'bad_resume' }]);
  await world.clock.advance(2000);
  const tokens = world.socket.got('resume').map(({ token }) => token);
  assert.deepEqual(tokens, ['t2', undefined]);
  assert.equal(client.state, 'live');
});

test('a resume that is answered busy is sent again later, with its token', async () => {
  const world = new World();
  const client = await world.live();
  world.socket.end();
  world.desk.refusals.push(['resume', { code: 'busy', retry_after_ms: 3000 }]);
  await world.clock.advance(2000);
  assert.equal(client.state, 'connecting');
  await world.clock.advance(4000);
  assert.deepEqual(world.socket.got('resume').map(({ token }) => token), ['t1', 't1']);
  assert.equal(client.state, 'live');
});

test('of several gateways another one is tried after a failure', async () => {
  const world = new World();
  world.clock.dice = () => 0;
  await world.live({ url: ['https://a.test', 'https://b.test'] });
  world.socket.end();
  await world.clock.advance(2000);
  assert.deepEqual(world.sockets.map(({ url }) => new URL(url).host), ['a.test', 'b.test']);
  assert.match(world.socket.url, /^wss:\/\/b\.test\/ws\?/);
});

test('what is not JSON, or unknown, or oddly made, harms nothing', async () => {
  const world = new World();
  const client = await world.live();
  const { socket } = world;
  for (const data of ['', '{', 'null', '[]', '1', '{"action":1}', '{"action":"dance"}', '{"action":"message","payload":null}',
    '{"action":"message","payload":{"conversation":7}}', '{"action":"ack","payload":{"ref":"nobody"}}', '{"action":"history"}',
    '{"action":"receipt","payload":{}}', '{"action":"error","payload":{"code":"internal"}}', '{"action":"snapshot"}',
    '{"action":"conversations","payload":{"ref":"nobody"}}', '{"action":"typing","payload":{}}', '{"action":"queue_close"}',
    new ArrayBuffer(4)]) socket.onmessage({ data });
  world.desk.says('still here');
  assert.equal(client.messages('c').length, 1);
  assert.equal(client.state, 'live');
});

test('in open mode without a uid the next socket is the same user\'s', async () => {
  const world = new World();
  world.desk.uid = 'random-7';
  await world.live({ uid: undefined });
  world.socket.end();
  await world.clock.advance(2000);
  assert.deepEqual(world.sockets.map(({ url }) => new URL(url).searchParams.get('uid')), [null, 'random-7']);
});

test('a listener that stops or forgets has the last word, whatever it was told', async () => {
  const failing = async () => new Response('', { status: 503 });
  for (const how of ['stop', 'forget']) {
    const world = new World();
    const client = world.client({ open: false, uid: undefined, role: undefined, fetch: failing });
    client.on('error', () => client[how]());
    client.start();
    await world.clock.advance(120_000);
    assert.deepEqual([client.state, world.sockets.length, client.told('error').length], ['stopped', 0, 1], how);
  }
  const stops = [['state', 'connecting'], ['state', 'live'], ['state', 'waiting'], ['conversation'], ['typing'], ['receipt']];
  for (const [name, state] of stops) {
    const world = new World();
    let fetches = 0;
    const fetch = async () => (fetches += 1, new Response(JSON.stringify({ uid: 'alice', token: 'A', token_expires_in_s: 3600, ticket: 'T' })));
    const client = world.client({ open: false, uid: undefined, role: undefined, fetch });
    client.on(name, (told) => (state === undefined || told.state === state) && client.stop());
    client.start();
    await world.clock.advance(100);
    if (state === 'connecting') assert.equal(fetches, 0);
    world.socket?.tell('typing', { conversation: 'c', uid: 'sam', on: true });
    world.socket?.tell('receipt', { conversation: 'c', uid: 'sam', delivered: 0, read: 0 });
    if (world.socket && !world.socket.ended) world.socket.end();
    client.send('for the next time', { conversation: 'c' });
    await world.clock.advance(120_000);
    assert.deepEqual([client.state, client.outbox.map((message) => message.state)], ['stopped', ['queued']], `${name} ${state}`);
    assert.ok(world.sockets.length <= 1 && world.messages.length === 0);
    if (name === 'state') assert.equal(client.told('state').at(-1).state, 'stopped');
  }
});

test('in a hidden tab, whose timers ring once a minute, a half-open socket is left, and a good one is kept', async () => {
  const world = new World();
  const { clock } = world.clock;
  let hidden = false;
  const throttled = {
    ...clock,
    setTimeout: (work, ms) => clock.setTimeout(work, hidden ? Math.ceil((clock.now() + ms) / 60_000) * 60_000 - clock.now() : ms),
  };
  const client = await world.live({ clock: throttled });
  hidden = true;
  await world.clock.advance(3_600_000);
  assert.deepEqual([client.state, world.sockets.length], ['live', 1]);
  world.pongs = false;
  await world.clock.advance(300_000);
  assert.ok(world.sockets.length >= 2);
  world.pongs = true;
  await world.clock.advance(300_000);
  assert.equal(client.state, 'live');
});
