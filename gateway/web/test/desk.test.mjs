// What users want of the desk: a place, duty, marks, typing, pages, recalls; through lost sockets, too.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LIMITS } from '../client.js';
import { World, settle } from './harness.mjs';

const notice = (world, code, more = {}) => world.socket.tell('message', { code, message: code, ...more });

test('connect answers how it stands, and is asked again on the next socket until it is answered', async () => {
  const world = new World();
  world.desk.begun = false;
  const client = await world.live();
  const { customerConnect } = Object.getPrototypeOf(world.desk);
  world.desk.customerConnect = () => {};
  const answer = client.connect();
  world.socket.end();
  world.desk.customerConnect = customerConnect;
  await world.clock.advance(2000);
  assert.equal((await answer).code, 'connected');
  assert.equal(client.conversation.id, 'c');
  assert.equal(world.taken.filter(({ action }) => action === 'customerConnect').length, 2);
  world.socket.end();
  await world.clock.advance(5000);
  assert.equal(world.taken.filter(({ action }) => action === 'customerConnect').length, 2, 'not again');
});

test('who was connected meanwhile is told so by the snapshot', async () => {
  const world = new World();
  world.desk.begun = false;
  const client = await world.live();
  world.desk.customerConnect = () => {};
  const answer = client.connect();
  world.desk.begun = true;
  world.socket.end();
  await world.clock.advance(2000);
  assert.deepEqual(await answer, { code: 'resumed', conversation: 'c' });
});

test('a place in the queue is told as it moves', async () => {
  const world = new World();
  world.desk.begun = false;
  const client = await world.live();
  notice(world, 'queued', { conversation: 'q', queue: 3 });
  notice(world, 'queue_moved', { queue: 2 });
  notice(world, 'your_turn', { conversation: 'q' });
  notice(world, 'connected', { conversation: 'q', name: 'Sam', seq: 1, id: 'q1', time: 1 });
  assert.deepEqual(client.told('queue').map(({ place }) => place), [3, 2, null]);
  assert.deepEqual(client.told('notice').map(({ code }) => code), ['queued', 'queue_moved', 'your_turn', 'connected']);
  assert.deepEqual([client.conversation.state, client.conversation.name], ['open', 'Sam']);
});

test('who leaves has said everything before', async () => {
  const world = new World();
  const client = await world.live();
  world.desk.acks = false;
  client.send('bye');
  void client.leave();
  await settle();
  assert.deepEqual(world.taken.map(({ action }) => action), ['resume', 'message']);
  world.socket.tell('ack', { ref: 'm1', conversation: 'c', seq: 1, id: 'e1', time: 1 });
  assert.deepEqual(world.taken.map(({ action }) => action), ['resume', 'message', 'customerLeave']);
});

test('an end is told, by a push or by a snapshot that does not have it any more', async () => {
  const world = new World();
  const client = await world.live();
  world.socket.tell('chat_close', { code: 'closed', message: '', conversation: 'c', seq: 1, id: 'e1', time: 1 });
  assert.equal(client.conversation, null);
  const other = new World();
  const second = await other.live();
  other.desk.begun = false;
  other.socket.end();
  await other.clock.advance(2000);
  assert.equal(second.conversation, null);
  assert.equal(second.told('conversation').at(-1).state, 'ended');
});

test('staff go on duty, and are asked for nothing again that holds', async () => {
  const world = new World();
  world.desk.begun = false;
  world.desk.staffOnline = (socket, { name, max = 1 }) => notice(world, 'on_duty', { name, max });
  world.desk.staffOffline = () => notice(world, 'off_duty');
  const client = await world.live({ uid: 'sam', role: 'staff' });
  const answer = await client.goOnline({ name: 'Sam', max: 3 });
  assert.equal(answer.code, 'on_duty');
  assert.deepEqual(client.duty, { name: 'Sam', max: 3 });
  await client.goOffline();
  assert.equal(client.duty, null);
  assert.deepEqual(client.told('duty'), [{ name: 'Sam', max: 3 }, null]);
});

test('a refusal that names no frame answers what was asked', async () => {
  const world = new World();
  const client = await world.live();
  world.desk.refusals.push(['staffOnline', { code: 'wrong_role', ref: undefined }]);
  assert.equal((await client.goOnline()).code, 'wrong_role');
  world.desk.begun = false;
  world.desk.refusals.push(['customerConnect', { code: 'busy', retry_after_ms: 2000, ref: undefined }]);
  const answer = client.connect();
  await world.clock.advance(5000);
  assert.equal((await answer).code, 'connected');
});

test('of several conversations one has to be named', async () => {
  const world = new World();
  world.desk.begun = false;
  const client = await world.live({ uid: 'sam', role: 'staff' });
  for (const id of ['k', 'l']) notice(world, 'new_customer', { conversation: id, customer: id, seq: 1, id: `${id}1`, time: 1 });
  const message = client.send('to whom?');
  assert.deepEqual([message.state, message.code], ['failed', 'which_conversation']);
  world.desk.acks = false;
  client.send('to l', { conversation: 'l' });
  assert.equal(world.taken.at(-1).payload.conversation, 'l');
  client.sendTo('carol', 'hi');
  world.socket.tell('ack', { ref: 'm2', conversation: 'l', seq: 2, id: 'l2', time: 1 });
  await settle();
  await world.clock.advance(1);
  assert.deepEqual(world.taken.at(-1).payload, { message: 'hi', id: 'm3', to: 'carol' });
  world.socket.tell('ack', { ref: 'm3', conversation: 'd', seq: 1, id: 'd1', time: 1 });
  const direct = client.conversations.find(({ id }) => id === 'd');
  assert.deepEqual([direct.state, direct.with], ['direct', 'carol']);
});

test('marks go out once, later, and again only if a snapshot does not have them', async () => {
  const world = new World();
  const client = await world.live();
  for (let i = 0; i < 5; i += 1) world.desk.says(`${i}`);
  assert.equal(client.unread, 5);
  client.read();
  await world.clock.advance(LIMITS.markMs);
  assert.deepEqual(world.socket.got('read'), [{ conversation: 'c', up_to: 5 }]);
  assert.deepEqual(world.socket.got('delivered'), [], 'who has read has been delivered');
  assert.equal(client.unread, 0);
  world.desk.marks = { unread: 5, read: 0, delivered: 0, peer_read: 0, peer_delivered: 0 };
  world.socket.end();
  await world.clock.advance(2000);
  assert.deepEqual(world.socket.got('read'), [{ conversation: 'c', up_to: 5 }], 'it was lost');
  assert.equal(client.unread, 0, 'the server did not know yet');
  world.desk.marks = { read: 5, delivered: 5, peer_read: 0, peer_delivered: 0 };
  world.socket.end();
  await world.clock.advance(2000);
  assert.deepEqual(world.socket.got('read'), []);
});

test('typing is told at once, every 3 s, and ends by itself; that of others fades', async () => {
  const world = new World();
  const client = await world.live();
  for (let i = 0; i < 70; i += 1) {
    client.typing();
    await world.clock.advance(100);
  }
  assert.deepEqual(world.socket.got('typing').map(({ on }) => on), [true, true, true]);
  await world.clock.advance(LIMITS.typingStopMs);
  assert.deepEqual(world.socket.got('typing').map(({ on }) => on), [true, true, true, false]);
  const told = () => client.told('typing').map(({ uid, on }) => [uid, on]);
  world.socket.tell('typing', { conversation: 'c', uid: 'sam', on: true });
  await world.clock.advance(4000);
  world.socket.tell('typing', { conversation: 'c', uid: 'sam', on: true });
  await world.clock.advance(4000);
  assert.deepEqual(told(), [['sam', true]]);
  await world.clock.advance(1000);
  assert.deepEqual(told(), [['sam', true], ['sam', false]]);
  world.socket.tell('typing', { conversation: 'c', uid: 'sam', on: true });
  world.desk.says('done');
  assert.deepEqual(told().at(-1), ['sam', false]);
});

test('questions: three at a time, again when busy, again on the next socket, and never without an end', async () => {
  const world = new World();
  const client = await world.live();
  const answer = world.desk.history.bind(world.desk);
  world.desk.transcript = () => {};
  const asked = Array.from({ length: 5 }, (_, i) => client.transcript(`c${i}`).catch(({ code }) => code));
  await settle();
  assert.equal(world.socket.got('transcript').length, LIMITS.questions);
  world.socket.end();
  world.desk.transcript = (socket, { id, conversation }) => {
    socket.tell('history', { conversation, entries: [{ seq: 1, id: 'a', time: 1, kind: 'message', from: 'staff', uid: 'sam', message: 'x' }], more: true, ref: id });
    socket.tell('history', { conversation, entries: [{ seq: 2, id: 'b', time: 1, kind: 'ended', from: 'system', uid: '', reason: 'closed' }], more: false, ref: id });
  };
  world.desk.refusals.push(['transcript', { code: 'busy', retry_after_ms: 2000 }]);
  await world.clock.advance(10_000);
  for (const entries of await Promise.all(asked)) assert.deepEqual(entries.map(({ seq, kind, text }) => [seq, kind, text]), [[1, 'message', 'x'], [2, 'ended', 'closed']]);
  world.desk.transcript = () => {};
  const never = client.transcript('c').catch(({ code }) => code);
  const refused = client.recall({ conversation: null, seq: null }).catch(({ code }) => code);
  await world.clock.advance(LIMITS.questionMs + 1000);
  assert.deepEqual([await never, await refused], ['timeout', 'no_message']);
  world.accepts = false;
  world.socket.end();
  const many = Array.from({ length: LIMITS.questionsWaiting + 1 }, () => client.transcript('c').catch(({ code }) => code));
  assert.equal(await many.at(-1), 'too_many_questions');
  client.stop();
  assert.equal(await many[0], 'stopped');
  void answer;
});

test('a recall is asked for until it is answered, and takes the words away', async () => {
  const world = new World();
  const client = await world.live();
  const message = client.send('oops');
  const done = client.recall(message);
  await settle();
  world.socket.end();
  world.desk.recall = (socket, { id, seq }) => socket.tell('recalled', { conversation: 'c', of: seq, of_id: 'e1', uid: 'alice', ...world.desk.append({ kind: 'recalled', uid: 'alice', of: seq }), ref: id });
  await world.clock.advance(2000);
  await done;
  assert.deepEqual([message.recalled, message.text], [true, null]);
});

test('marks of many conversations go out bit by bit, and all arrive where few frames are allowed', async () => {
  for (const [burst, perSecond] of [[5, 50], [2, 2]]) {
    const world = new World();
    const client = await world.live({ uid: 'sam', role: 'staff' });
    const known = new Map();
    let tokens = burst;
    let then = world.clock.time;
    const take = (mark) => (socket, { conversation, up_to: upTo }) => {
      const now = world.clock.time;
      tokens = Math.min(burst, tokens + ((now - then) * perSecond) / 1000);
      then = now;
      if (tokens < 1) return socket.tell('error', { code: 'rate_limited', message: '', retry_after_ms: 20 });
      tokens -= 1;
      known.set(`${conversation} ${mark}`, upTo);
    };
    world.desk.read = take('read');
    world.desk.delivered = take('delivered');
    for (let i = 0; i < 20; i += 1) {
      world.socket.tell('message', { code: 'new_customer', message: '', conversation: `k${i}`, customer: `u${i}`, seq: 1, id: `k${i}-1` });
      world.socket.tell('message', { conversation: `k${i}`, seq: 2, id: `k${i}-2`, prev: `k${i}-1`, time: 1, from: 'customer', message: 'hi' });
      client.read(`k${i}`);
    }
    const sent = () => world.taken.filter(({ action }) => action === 'read' || action === 'delivered').length;
    await world.clock.advance(180_000);
    assert.deepEqual([...known.values()], Array(20).fill(2), `${burst}`);
    assert.ok(sent() <= 60, `${sent()} frames`);
    const before = sent();
    await world.clock.advance(60_000);
    assert.equal(sent(), before, 'it ends');
  }
});

test('a refusal that is about something else does not send old marks again', async () => {
  const world = new World();
  const client = await world.live();
  world.desk.says('a');
  client.read();
  await world.clock.advance(10_000);
  assert.equal(world.socket.got('read').length, 1);
  world.socket.tell('error', { code: 'rate_limited', message: '', retry_after_ms: 20 });
  await world.clock.advance(60_000);
  assert.equal(world.socket.got('read').length, 1);
});
