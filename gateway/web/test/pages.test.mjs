// What a page asks for of the past, and what follows where the log has lost its end.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { World } from './harness.mjs';

/** A log of so many, of which nothing was pushed. */
function written(count) {
  const world = new World();
  for (let i = 1; i <= count; i += 1) world.desk.says(`${i}`, { lost: true });
  return world;
}

/** An answer, with the time that it takes. */
async function answered(world, asked) {
  await world.clock.advance(10);
  return asked;
}

test('older pages of a long log come once each, and end', async () => {
  const world = written(2500);
  const client = await world.live();
  const seen = client.messages('c').map(({ seq }) => seq);
  for (let more = true, calls = 0; more; calls += 1) {
    assert.ok(calls < 60, 'it ends');
    const page = await answered(world, client.older('c'));
    seen.unshift(...page.messages.map(({ seq }) => seq));
    more = page.more;
  }
  assert.deepEqual(seen, [...Array(2500).keys()].map((n) => n + 1));
});

test('what the page has still is not older, though it is not kept any more', async () => {
  const world = new World();
  const client = await world.live();
  for (let i = 0; i < 1100; i += 1) world.desk.says(`${i}`);
  assert.ok(client.messages('c').length < 1100);
  assert.deepEqual(await answered(world, client.older('c')), { messages: [], more: false });
});

test('two who ask at once for what is older get one page', async () => {
  const world = written(200);
  const client = await world.live();
  const [one, other] = [client.older('c'), client.older('c')];
  assert.equal((await answered(world, one)).messages[0], (await other).messages[0]);
});

test('what the page looks at is neither unread nor marked, nor part of what is resumed', async () => {
  const world = written(30);
  world.desk.begun = false;
  const client = await world.live({ uid: 'sue', role: 'supervisor' });
  await answered(world, client.load('c'));
  await world.clock.advance(2000);
  assert.equal(client.messages('c').length, 30);
  assert.equal(client.unread, 0);
  assert.deepEqual(world.socket.got('delivered'), []);
  world.socket.end();
  await world.clock.advance(2000);
  assert.deepEqual(world.socket.got('resume')[0].positions, []);
  assert.equal(client.messages('c').length, 30);
});

test('a refusal is thrown to who asked', async () => {
  const world = written(30);
  world.desk.begun = false;
  const client = await world.live();
  for (const ask of ['load', 'older']) {
    world.desk.refusals.push(['history', { code: 'forbidden' }]);
    const refused = assert.rejects(client[ask]('c'), { code: 'forbidden' });
    await answered(world, refused);
  }
});

test('nobody has read what is written where the log has lost its end', async () => {
  const world = new World();
  const client = await world.live();
  for (let i = 0; i < 20; i += 1) world.desk.says(`${i}`);
  client.read();
  await world.clock.advance(2000);
  world.desk.log = world.desk.log.slice(0, 10);
  for (let i = 0; i < 11; i += 1) world.desk.says(`new ${i}`, { lost: true });
  world.desk.marks = { unread: 11, read: 10, delivered: 10, peer_read: 0, peer_delivered: 0 };
  world.socket.end(4000);
  await world.clock.advance(3000);
  assert.equal(client.told('reset').length, 1);
  assert.equal(client.unread, 11);
  assert.deepEqual(world.socket.got('read'), []);
  world.desk.says('one more');
  assert.equal(client.unread, 12);
});

test("one's own words outlive an answer of resume that never came", async () => {
  const world = new World();
  const client = await world.live();
  world.desk.says('a', { lost: true });
  const mine = client.send('mine');
  assert.equal(mine.state, 'stored');
  const { resume } = world.desk;
  world.desk.resume = (socket) => {
    socket.tell('snapshot', { time: world.clock.time, uid: 'alice', more: false,
      conversations: [{ conversation: 'c', state: 'open', name: 'Sam', seq: 2, unread: 0, ...world.desk.marks }] });
    socket.end();
    world.desk.resume = resume;
  };
  world.socket.end();
  await world.clock.advance(10_000);
  assert.deepEqual(client.messages('c').map(({ text }) => text), ['a', 'mine']);
  assert.equal(client.messages('c')[1], mine);
});
