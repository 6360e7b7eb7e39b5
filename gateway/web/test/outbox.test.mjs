// Messages on their way out: stored once, in order, whatever happens to sockets and pages.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LIMITS } from '../client.js';
import { World, settle, shown } from './harness.mjs';

/** What a tab has kept. */
const kept = (world) => [...world.local.map].flatMap(([name, value]) => (name.includes(':tab:') ? JSON.parse(value).items : []));

test('a message goes from queued to read', async () => {
  const world = new World();
  const client = await world.live();
  world.desk.acks = false;
  const message = client.send('hi');
  assert.equal(message.state, 'sent');
  assert.deepEqual(kept(world).map(({ ref, text, sent }) => [ref, text, sent]), [['m1', 'hi', true]]);
  world.socket.tell('ack', { ref: 'm1', conversation: 'c', seq: 1, id: 'e1', time: 1 });
  assert.deepEqual(kept(world), []);
  assert.deepEqual([message.state, message.seq, message.id], ['stored', 1, 'e1']);
  world.socket.tell('receipt', { conversation: 'c', uid: 'sam', delivered: 1, read: 0 });
  assert.equal(message.state, 'delivered');
  world.socket.tell('receipt', { conversation: 'c', uid: 'sam', delivered: 1, read: 1 });
  assert.equal(message.state, 'read');
  assert.deepEqual(client.told('update').map(({ state }) => state), ['sent', 'stored', 'delivered', 'read']);
  assert.deepEqual(shown(client), ['hi']);
});

test('without an ack it is sent again after 10 s with the same id, and shown once', async () => {
  const world = new World();
  const client = await world.live();
  world.desk.acks = false;
  const message = client.send('hi');
  await world.clock.advance(LIMITS.resendMs - 100);
  assert.deepEqual(world.messages, ['m1']);
  world.desk.acks = true;
  await world.clock.advance(200);
  assert.deepEqual(world.messages, ['m1', 'm1']);
  assert.equal(message.state, 'stored');
  assert.equal(world.desk.log.length, 1);
  await world.clock.advance(60_000);
  assert.equal(world.messages.length, 2);
});

test('what is not acknowledged goes out again on the next socket, after the answer of resume', async () => {
  const world = new World();
  const client = await world.live();
  world.desk.acks = false;
  client.send('one');
  client.send('two');
  world.socket.end(4002);
  world.desk.acks = true;
  client.send('three');
  await world.clock.advance(2000);
  assert.equal(client.state, 'live');
  assert.deepEqual(world.socket.sent.map(({ action }) => action), ['resume', 'message', 'message', 'message']);
  assert.deepEqual(world.desk.log.map(({ message }) => message), ['one', 'two', 'three']);
  assert.deepEqual(shown(client), ['one', 'two', 'three'], 'none twice, though the history shows the first');
  assert.deepEqual(client.messages('c').map(({ text, seq }) => [text, seq]), [['one', 1], ['two', 2], ['three', 3]]);
});

test('never more than the window is on its way', async () => {
  for (const [window, most] of [[undefined, 1], [4, 4], [100_000, 256]]) {
    const world = new World();
    world.desk.acks = false;
    const client = await world.live({ window });
    for (let i = 0; i < 150; i += 1) client.send(`${i}`);
    await settle();
    assert.equal(world.messages.length, Math.min(most, 150));
  }
});

test('order stays when something is refused for a while', async () => {
  for (const code of ['busy', 'rate_limited']) {
    const world = new World();
    const client = await world.live();
    world.desk.refusals.push(['message', { code, retry_after_ms: 3000 }], ['message', { code, retry_after_ms: 700 }]);
    const all = ['a', 'b', 'c', 'd'].map((text) => client.send(text));
    await world.clock.advance(2900);
    assert.deepEqual(world.messages, ['m1'], 'all of them wait');
    assert.deepEqual(all.map(({ state }) => state), ['sent', 'queued', 'queued', 'queued']);
    await world.clock.advance(10_000);
    assert.deepEqual(world.desk.log.map(({ message }) => message), ['a', 'b', 'c', 'd']);
    assert.deepEqual(world.messages, ['m1', 'm1', 'm1', 'm2', 'm3', 'm4']);
  }
});

test('what is refused for good fails with its code, and the next one goes', async () => {
  const world = new World();
  const client = await world.live();
  world.desk.refusals.push(['message', { code: 'no_conversation' }]);
  const [first, second] = [client.send('a'), client.send('b')];
  await world.clock.advance(100);
  assert.deepEqual([first.state, first.code, second.state], ['failed', 'no_conversation', 'stored']);
  assert.deepEqual(kept(world), []);
});

test('what cannot be sent fails at once', async () => {
  const world = new World();
  const client = await world.live();
  const code = (text) => client.send(text).code;
  assert.equal(code(''), 'bad_field');
  assert.equal(code('x'.repeat(LIMITS.text + 1)), 'too_large');
  assert.equal(code('长'.repeat(LIMITS.text / 3 + 1)), 'too_large');
  assert.equal(code('\u0001'.repeat(LIMITS.text)), 'too_large', 'six bytes each in JSON: the frame would close the socket');
  assert.equal(code('x'.repeat(LIMITS.text)), null);
  assert.equal(world.messages.length, 1);
});

test('offline messages wait in order, within bounds', async () => {
  const world = new World();
  const client = await world.live();
  world.accepts = false;
  world.socket.end(1006);
  const all = Array.from({ length: LIMITS.outbox + 5 }, (_, i) => client.send(`${i}`));
  assert.equal(all.filter(({ state }) => state === 'queued').length, LIMITS.outbox);
  assert.deepEqual(all.slice(LIMITS.outbox).map(({ code }) => code), Array(5).fill('outbox_full'));
  world.accepts = true;
  await world.clock.advance(120_000);
  assert.deepEqual(world.desk.log.map(({ message }) => message), all.slice(0, LIMITS.outbox).map(({ text }) => text));
  const bytes = new World();
  const other = bytes.client();
  const large = Array.from({ length: 40 }, () => other.send('x'.repeat(16_000)));
  assert.equal(large.filter(({ state }) => state === 'queued').length, Math.floor(LIMITS.outboxBytes / 16_000));
});

test('a reload loses nothing and doubles nothing', async () => {
  const world = new World();
  const client = await world.live();
  world.desk.acks = false;
  client.send('sent');
  client.send('queued');
  world.page.dispatchEvent(new Event('pagehide'));
  world.socket.ended = true;
  client.stop = () => {};
  world.clock.timers.clear();
  world.desk.acks = true;

  const again = await world.live();
  await world.clock.advance(1000);
  assert.deepEqual(world.desk.log.map(({ message }) => message), ['sent', 'queued']);
  assert.deepEqual(world.messages, ['m1', 'm1', 'm2']);
  assert.deepEqual(shown(again), ['sent', 'queued'], 'the page shows each once, though the log has the first already');
  assert.deepEqual(again.outbox, []);
  const resume = world.socket.got('resume')[0];
  assert.equal(resume.token, 't1', 'the place of the lost connection is taken over');
});

test('words for nowhere wait while it is open where to, and fail when there is nowhere', async () => {
  const world = new World();
  world.desk.begun = false;
  const client = world.client().start();
  const early = client.send('early');
  assert.equal(early.state, 'queued');
  await world.clock.advance(10);
  assert.deepEqual([early.state, early.code], ['failed', 'no_conversation']);
  world.accepts = false;
  world.socket.end();
  void client.connect();
  const words = client.send('hello');
  world.accepts = true;
  await world.clock.advance(3000);
  assert.deepEqual([words.state, words.conversation, words.seq], ['stored', 'c', 2]);
});

test('words are bound to the conversation in which they were said', async () => {
  const world = new World();
  const client = await world.live();
  world.desk.acks = false;
  client.send('first');
  const words = client.send('for c');
  assert.equal(words.conversation, 'c');
  assert.equal(world.taken.at(-1).payload.conversation, 'c');
});

test('what is older than the server remembers ids is not sent again', async () => {
  const world = new World();
  const client = await world.live();
  world.accepts = false;
  world.socket.end();
  const message = client.send('old');
  world.clock.skew += LIMITS.outboxMs + 1000;
  world.accepts = true;
  await world.clock.advance(60_000);
  assert.deepEqual([message.state, message.code], ['failed', 'expired']);
  assert.deepEqual(world.messages, []);
});

test('a storage that is full or forbidden is told once, and everything goes on', async () => {
  for (const storage of ['full', 'forbidden']) {
    const world = new World();
    world.local.full = storage === 'full';
    const options = storage === 'forbidden' ? { storage: { get length() { throw new Error('forbidden'); }, key() { throw new Error('forbidden'); },
      getItem() { throw new Error('forbidden'); }, setItem() { throw new Error('forbidden'); }, removeItem() { throw new Error('forbidden'); } } } : {};
    const client = await world.live(options);
    world.socket.end();
    const message = client.send('hi');
    await world.clock.advance(60_000);
    assert.equal(message.state, 'stored', storage);
    const failures = client.told('error').filter(({ code }) => code === 'storage_failed');
    assert.equal(failures.length, 1, storage);
  }
});

test('a listener that throws changes nothing', async (context) => {
  context.mock.method(console, 'error', () => {});
  const world = new World();
  const client = await world.live();
  client.on('message', () => { throw new Error('the page is broken'); });
  client.on('update', () => { throw new Error('the page is broken'); });
  const message = client.send('hi');
  await world.clock.advance(10);
  assert.equal(message.state, 'stored');
});

test('staff who do not say which conversation are told so at once, and nobody gets the words later', async () => {
  const world = new World();
  const client = await world.live({ uid: 'sam', role: 'staff' });
  const come = (conversation) => world.socket.tell('message', { code: 'new_customer', message: '', conversation, customer: 'someone' });
  world.socket.tell('chat_close', { conversation: 'c', code: 'closed', message: '' });
  const none = client.send('to nobody');
  assert.deepEqual([none.state, none.code], ['failed', 'no_conversation']);
  come('d');
  come('e');
  world.desk.acks = false;
  client.send('for d', { conversation: 'd' });
  const words = client.send('for which?');
  assert.deepEqual([words.state, words.code], ['failed', 'which_conversation']);
  world.socket.tell('chat_close', { conversation: 'd', code: 'closed', message: '' });
  world.desk.acks = true;
  await world.clock.advance(30_000);
  assert.ok(world.taken.every(({ payload }) => payload?.message !== 'for which?'));
  world.socket.end();
  assert.equal(client.send('while away', { conversation: 'e' }).state, 'queued');
});

test('what a customer said before there was a conversation waits over a reload, and holds nothing else up', async () => {
  const world = new World();
  world.desk.begun = false;
  world.accepts = false;
  const first = world.client().start();
  void first.connect();
  const early = first.send('first words');
  assert.equal(early.state, 'queued');
  first.stop({ keep: true });
  world.accepts = true;
  const client = await world.live();
  await world.clock.advance(20_000);
  assert.deepEqual(client.outbox.map(({ text, state }) => [text, state]), [['first words', 'queued']]);
  world.desk.direct = (socket, { id }) => socket.tell('ack', { ref: id, conversation: 'dm', seq: 1, id: 'd1', time: 5000 });
  assert.equal(client.sendTo('bob', 'aside').state, 'stored');
  assert.equal(client.send('nobody is there').code, 'no_conversation');
  void client.connect();
  await world.clock.advance(1000);
  assert.deepEqual(world.desk.log.map(({ message }) => message).filter(Boolean), ['first words']);
  assert.deepEqual(client.outbox, []);
});

test('a page may ask for staff once it is live, for what an earlier one has left', async () => {
  const world = new World();
  world.desk.begun = false;
  world.accepts = false;
  const first = world.client().start();
  void first.connect();
  first.send('first words');
  first.stop({ keep: true });
  world.accepts = true;
  const client = world.client();
  // As the first page of docs/CLIENT.md does.
  client.on('state', ({ state }) => {
    if (state === 'live' && client.outbox.length > 0 && !client.conversation) void client.connect();
  });
  client.start();
  await world.clock.advance(1000);
  assert.deepEqual(world.desk.log.map(({ message }) => message).filter(Boolean), ['first words']);
  world.socket.end();
  await world.clock.advance(2000);
  assert.equal(client.state, 'live');
  assert.equal(world.taken.filter(({ action }) => action === 'customerConnect').length, 1, 'asked for once');
});
