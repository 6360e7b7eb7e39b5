// What is shown: in order, without holes, each once; what is missing is asked for.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LIMITS } from '../client.js';
import { World, shown } from './harness.mjs';

test('pushes are shown in order, and known ones are ignored', async () => {
  const world = new World();
  const client = await world.live();
  const entries = ['a', 'b', 'c'].map((text) => world.desk.says(text));
  world.desk.push(entries[1]);
  assert.deepEqual(shown(client), ['a', 'b', 'c']);
  assert.deepEqual(client.told('entry').map(({ seq }) => seq), [1, 2, 3]);
});

test('a hole is waited for, then asked for on the same socket', async () => {
  const world = new World();
  const client = await world.live();
  world.desk.says('a');
  world.desk.says('lost', { lost: true });
  world.desk.says('b');
  assert.deepEqual(shown(client), ['a']);
  await world.clock.advance(LIMITS.patienceMs - 100);
  assert.equal(world.socket.got('resume').length, 1);
  await world.clock.advance(1000);
  const [, again] = world.socket.got('resume');
  assert.deepEqual(again.positions, [{ conversation: 'c', seq: 1, id: 'e1' }]);
  assert.equal(again.token, undefined, 'nothing is replaced on the same socket');
  assert.deepEqual(shown(client), ['a', 'lost', 'b']);
  assert.equal(world.sockets.length, 1);
});

test('an ack that comes after what follows it needs no resume', async () => {
  const world = new World();
  const client = await world.live();
  world.desk.says('a');
  world.desk.acks = false;
  client.send('mine');
  world.desk.says('b');
  assert.deepEqual(shown(client), ['a', 'mine'], 'b waits for its turn');
  world.socket.tell('ack', { ref: 'm1', conversation: 'c', seq: 2, id: 'e2', time: 1 });
  assert.deepEqual(shown(client), ['a', 'mine', 'b']);
  await world.clock.advance(5000);
  assert.equal(world.socket.got('resume').length, 1);
});

test('an ack does not move the position, a push that follows it does', async () => {
  const world = new World();
  const client = await world.live();
  world.desk.says('a');
  client.send('mine');
  await world.clock.advance(10);
  world.socket.tell('resync', { code: 'resync', message: '' });
  await world.clock.advance(2000);
  assert.deepEqual(world.socket.got('resume').at(-1).positions, [{ conversation: 'c', seq: 1, id: 'e1' }]);
  client.send('again');
  world.desk.says('b');
  world.socket.tell('resync', { code: 'resync', message: '' });
  await world.clock.advance(2000);
  assert.deepEqual(world.socket.got('resume').at(-1).positions, [{ conversation: 'c', seq: 4, id: 'e4' }]);
  assert.deepEqual(shown(client), ['a', 'mine', 'again', 'b']);
});

test('a push that contradicts is not taken: the log is asked', async () => {
  for (const wrong of [{ seq: 2, id: 'x2', prev: 'x1' }, { seq: 1, id: 'x1' }]) {
    const world = new World();
    const client = await world.live();
    world.desk.says('a');
    world.desk.push({ from: 'staff', message: 'from another world', time: 1, ...wrong });
    await world.clock.advance(2000);
    assert.equal(world.socket.got('resume').length, 2);
    assert.deepEqual(shown(client), ['a']);
  }
});

test('resync: resume with positions on the same socket, and what waits goes out after it', async () => {
  const world = new World();
  const client = await world.live();
  world.desk.says('a');
  world.desk.says('lost', { lost: true });
  world.socket.tell('resync', { code: 'resync', message: '' });
  await world.clock.advance(LIMITS.resumeMs);
  assert.deepEqual(shown(client), ['a', 'lost']);
  client.send('mine');
  await world.clock.advance(10);
  assert.deepEqual(shown(client), ['a', 'lost', 'mine']);
  assert.equal(world.sockets.length, 1);
});

test('reset: what the log has lost is dropped, told, and never sent again by itself', async () => {
  const world = new World();
  const client = await world.live();
  world.desk.says('a');
  const mine = client.send('acknowledged and lost');
  world.desk.says('b');
  assert.equal(mine.state, 'stored');
  world.desk.log = world.desk.log.slice(0, 1);
  world.desk.says('other', { lost: true });
  world.socket.end(4000);
  await world.clock.advance(2000);
  assert.equal(client.told('reset').length, 1);
  const [{ conversation, messages }] = client.told('reset');
  const after = client.events.slice(client.events.findIndex(([name]) => name === 'reset'));
  assert.ok(after.some(([name, { code }]) => name === 'update' && code === 'lost'), 'a page that drew all anew shows them');
  assert.deepEqual([conversation, messages.map(({ text }) => text)], ['c', ['a', 'other']]);
  assert.deepEqual([mine.state, mine.code], ['failed', 'lost']);
  assert.deepEqual(client.messages('c').map(({ text }) => text), ['a', 'other']);
  world.desk.says('next');
  assert.equal(shown(client).at(-1), 'next');
});

test('what was only acknowledged and is gone is told, too', async () => {
  const world = new World();
  const client = await world.live();
  world.desk.says('a');
  const mine = client.send('lost');
  world.desk.log.pop();
  world.desk.says('instead', { lost: true });
  world.socket.end(4000);
  await world.clock.advance(2000);
  assert.deepEqual([mine.state, mine.code], ['failed', 'lost']);
  assert.deepEqual(client.messages('c').map(({ text }) => text), ['a', 'instead']);
  assert.equal(client.told('reset').length, 1);
});

test('what was missed while away is shown once and in order', async () => {
  const world = new World();
  const client = await world.live();
  world.desk.says('a');
  world.socket.end();
  for (let i = 0; i < 250; i += 1) world.desk.says(`${i}`, { lost: true });
  await world.clock.advance(5000);
  assert.deepEqual(shown(client), ['a', ...Array.from({ length: 250 }, (_, i) => `${i}`)]);
  assert.equal(world.socket.got('history').length, 2, 'the rest by pages');
});

test('who missed too much begins anew with the newest', async () => {
  const world = new World();
  const client = await world.live();
  world.desk.says('a');
  world.socket.end();
  for (let i = 0; i < LIMITS.catchUp + 150; i += 1) world.desk.says(`${i}`, { lost: true });
  await world.clock.advance(5000);
  const last = client.messages('c').map(({ text }) => text);
  assert.equal(last.length, LIMITS.page);
  assert.equal(last.at(-1), `${LIMITS.catchUp + 149}`);
  assert.equal(client.told('reset').length, 1);
  world.desk.says('next');
  assert.equal(shown(client).at(-1), 'next');
});

test('a page that is new shows the newest page, and older ones when asked', async () => {
  const world = new World();
  for (let i = 1; i <= 120; i += 1) world.desk.says(`${i}`, { lost: true });
  const client = await world.live();
  assert.deepEqual(shown(client), Array.from({ length: 50 }, (_, i) => `${i + 71}`));
  const page = await client.older('c');
  assert.deepEqual([page.messages[0].text, page.messages.length, page.more], ['21', 50, true]);
  const last = await client.older('c');
  assert.deepEqual([last.messages.length, last.more], [20, false]);
  assert.deepEqual(client.messages('c').map(({ seq }) => seq), Array.from({ length: 120 }, (_, i) => i + 1));
  assert.deepEqual(await client.older('c'), { messages: [], more: false });
});

test('pushes while the first page is read are neither lost nor doubled', async () => {
  const world = new World();
  for (let i = 1; i <= 3; i += 1) world.desk.says(`${i}`, { lost: true });
  const answer = world.desk.history.bind(world.desk);
  world.desk.history = (socket, payload) => {
    world.desk.says('4');
    answer(socket, payload);
    world.desk.says('5');
  };
  const client = await world.live();
  assert.deepEqual(shown(client), ['1', '2', '3', '4', '5']);
});

test('kept words that follow the new customer are shown before it', async () => {
  const world = new World();
  world.desk.begun = false;
  const client = await world.live({ uid: 'sam', role: 'staff' });
  const tell = (payload) => world.socket.tell('message', { conversation: 'k', time: 1, ...payload });
  tell({ code: 'new_customer', message: '', customer: 'bob', seq: 3, id: 'k3', prev: 'k2' });
  tell({ from: 'customer', message: 'one', seq: 1, id: 'k1' });
  tell({ from: 'customer', message: 'two', seq: 2, id: 'k2', prev: 'k1' });
  assert.deepEqual(client.told('entry').map(({ seq }) => seq), [1, 2, 3]);
  assert.equal(client.unread, 2);
  await world.clock.advance(3000);
  assert.deepEqual(world.socket.got('read'), []);
  assert.deepEqual(world.socket.got('delivered'), [{ conversation: 'k', up_to: 2 }]);
  client.read();
  await world.clock.advance(1000);
  assert.deepEqual(world.socket.got('read'), [{ conversation: 'k', up_to: 3 }]);
  assert.equal(client.unread, 0);
});

test('a message that was taken back loses its words', async () => {
  const world = new World();
  const client = await world.live();
  const mine = client.send('oops');
  world.socket.tell('recalled', { conversation: 'c', of: 1, of_id: 'e1', uid: 'alice', seq: 2, id: 'e2', prev: 'e1', time: 2 });
  assert.deepEqual([mine.text, mine.recalled], [null, true]);
});

test('memory is bounded', async () => {
  const world = new World();
  const client = await world.live();
  for (let i = 0; i < LIMITS.entries + 500; i += 1) world.desk.says(`${i}`);
  assert.ok(client.messages('c').length <= LIMITS.entries);
  for (let i = 0; i < LIMITS.conversations + 50; i += 1) {
    world.socket.tell('receipt', { conversation: `d${i}`, uid: 'x', delivered: 1, read: 1 });
  }
  assert.ok(client.conversations.length <= LIMITS.conversations);
});

test('a conversation of which only the middle was told is loaded', async () => {
  const world = new World();
  world.desk.begun = false;
  for (let i = 1; i <= 5; i += 1) world.desk.says(`${i}`, { lost: true });
  const client = await world.live();
  world.desk.says('6');
  await world.clock.advance(1000);
  assert.deepEqual(shown(client), ['1', '2', '3', '4', '5', '6']);
  assert.equal(world.socket.got('history').length, 1);
});

test('reset: own words beyond the position are told lost, or stay the same message', async () => {
  const world = new World();
  const client = await world.live();
  world.desk.says('a');
  const kept = client.send('kept');
  await world.clock.advance(10);
  const lost = client.send('lost');
  await world.clock.advance(10);
  assert.deepEqual([kept.seq, lost.seq, lost.state], [2, 3, 'stored']);
  const [first, second] = world.desk.log;
  world.desk.log = [{ ...first, id: 'z1' }, { ...second, prev: 'z1' }];
  world.desk.says('instead', { lost: true });
  // What comes while the answer is on its way is kept for after it.
  const { resume } = world.desk;
  world.desk.resume = (socket, payload) => {
    const tell = socket.tell.bind(socket);
    socket.tell = (action, said) => {
      if (action === 'history') world.desk.says('meanwhile');
      tell(action, said);
    };
    const log = [...world.desk.log];
    const now = { ...world.desk, log, world, says: undefined };
    resume.call(now, socket, payload);
    socket.tell = tell;
  };
  world.socket.end(4000);
  await world.clock.advance(2000);
  assert.deepEqual([lost.state, lost.code], ['failed', 'lost']);
  assert.deepEqual(client.told('reset').map(({ messages }) => messages.map(({ text }) => text)), [['a', 'kept', 'instead']]);
  assert.deepEqual(client.messages('c').map(({ text }) => text), ['a', 'kept', 'instead', 'meanwhile']);
  assert.equal(client.messages('c')[1], kept);
  assert.equal(kept.state, 'stored');
  assert.equal(shown(client).filter((text) => text === 'meanwhile').length, 1);
  assert.equal(client.told('entry').at(-1).text, 'meanwhile');
});

test('one who has said more than is kept, and heard nothing, comes back', async () => {
  const world = new World();
  const client = await world.live();
  world.desk.says('a');
  for (let i = 0; i < LIMITS.entries + LIMITS.page; i += 1) {
    client.send(`${i}`);
    await world.clock.advance(1);
  }
  assert.equal(client.outbox.length, 0);
  world.desk.state = 'ended';
  world.socket.tell('chat_close', { conversation: 'c', code: 'closed', message: '' });
  world.socket.end();
  await world.clock.advance(60_000);
  assert.deepEqual([client.state, world.sockets.length], ['live', 2]);
  assert.ok(world.taken.filter(({ action }) => action === 'resume').length <= 3);
  assert.equal(client.messages('c').at(-1).seq, LIMITS.entries + LIMITS.page + 1);
  assert.equal(client.told('message').length, LIMITS.entries + LIMITS.page + 1, 'nothing is shown twice');
});
