// Several tabs and pages on one storage: what one has left another one sends, and never two the same.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LIMITS } from '../client.js';
import { FakeStore, World } from './harness.mjs';

/** A tab: the storage is everybody's, the session its own. */
const tab = (session = new FakeStore()) => ({ session, page: new EventTarget() });

/** A page goes away without a word: its timers stop, its socket breaks. */
function crash(world, client, socket) {
  for (const [id, timer] of world.clock.timers) if (timer.of === client) world.clock.timers.delete(id);
  socket.ended = true;
  socket.onmessage = socket.onclose = null;
}

/** Remembers whose timers are whose, so that a tab can be frozen. */
function owned(world, start) {
  const before = new Set(world.clock.timers.keys());
  const { clock } = world.clock;
  const box = { frozen: false, held: [] };
  const own = {
    ...clock,
    setTimeout: (work, ms) => clock.setTimeout(() => (box.frozen ? box.held.push(work) : work()), ms),
  };
  const client = start(own);
  return { client, box, before };
}

test('two tabs of one user each send their own, and nothing twice', async () => {
  const world = new World();
  const one = await world.live(tab());
  const two = await world.live(tab());
  world.accepts = false;
  for (const socket of world.sockets) socket.end();
  one.send('from one');
  two.send('from two');
  world.accepts = true;
  await world.clock.advance(200_000);
  assert.deepEqual(world.messages.sort(), ['m1', 'm2']);
  assert.deepEqual([one.outbox, two.outbox], [[], []]);
});

test('what a closed tab has left is sent by another one', async () => {
  const world = new World();
  const closing = tab();
  const one = await world.live(closing);
  const socket = world.socket;
  const two = await world.live(tab());
  world.desk.acks = false;
  one.send('left behind');
  closing.page.dispatchEvent(new Event('pagehide'));
  crash(world, one, socket);
  one.stop({ keep: true });
  world.desk.acks = true;
  await world.clock.advance(LIMITS.leaseTickMs + 2000);
  assert.deepEqual(world.desk.log.map(({ message }) => message), ['left behind']);
  assert.equal(two.messages('c').filter(({ text }) => text === 'left behind').length, 1);
  assert.deepEqual(two.outbox, []);
});

test('a crashed tab keeps its lease for a while; then its messages are taken over, in order', async () => {
  const world = new World();
  const { client: one, box } = owned(world, (clock) => world.client({ ...tab(), clock }).start());
  await world.clock.advance(10);
  const socket = world.socket;
  world.desk.acks = false;
  one.send('a');
  one.send('b');
  box.frozen = true;
  crash(world, one, socket);
  world.desk.acks = true;
  const two = await world.live(tab());
  await world.clock.advance(LIMITS.leaseMs - 20_000);
  assert.deepEqual(world.messages, ['m1'], 'it may still be there');
  await world.clock.advance(60_000);
  assert.deepEqual(world.messages, ['m1', 'm1', 'm2']);
  assert.deepEqual(world.desk.log.map(({ message }) => message), ['a', 'b']);
  assert.equal(two.messages('c').length, 2);
});

test('a tab that wakes and finds its messages taken does not send them', async () => {
  const world = new World();
  const { client: one, box } = owned(world, (clock) => world.client({ ...tab(), clock }).start());
  await world.clock.advance(10);
  const frozen = world.socket;
  world.accepts = false;
  world.desk.acks = false;
  const message = one.send('taken over');
  assert.deepEqual(world.messages, ['m1']);
  box.frozen = true;
  frozen.onclose({ code: 1006, reason: '' });
  world.accepts = true;
  world.desk.acks = true;
  await world.live(tab());
  await world.clock.advance(LIMITS.leaseMs + 60_000);
  assert.deepEqual(world.messages, ['m1', 'm1']);
  box.frozen = false;
  for (const work of box.held.splice(0)) work();
  await world.clock.advance(60_000);
  assert.deepEqual(world.messages, ['m1', 'm1'], 'nobody sends it again');
  assert.deepEqual([message.state, message.code], ['failed', 'moved']);
  assert.equal(one.state, 'live');
});

test('a copied tab ("duplicate tab") is another tab: it throws nobody out and sends nothing twice', async () => {
  const world = new World();
  const original = tab();
  const one = await world.live(original);
  world.desk.acks = false;
  one.send('once');
  const copy = new FakeStore();
  for (const [name, value] of original.session.map) copy.setItem(name, value);
  const two = await world.live(tab(copy));
  assert.equal(world.socket.got('resume')[0].token, undefined, 'not the token of the other one');
  assert.deepEqual(two.outbox, []);
  await world.clock.advance(5000);
  assert.deepEqual(world.messages, ['m1']);
});

test('two tabs that take over at once: one of them does', async () => {
  const world = new World();
  const leaving = tab();
  const one = await world.live(leaving);
  world.desk.acks = false;
  one.send('x');
  leaving.page.dispatchEvent(new Event('pagehide'));
  crash(world, one, world.sockets[0]);
  one.stop({ keep: true });
  world.desk.acks = true;
  let dice = 0;
  world.clock.dice = () => (dice = (dice + 0.37) % 1);
  await world.live(tab());
  await world.live(tab());
  await world.live(tab());
  await world.clock.advance(120_000);
  assert.deepEqual(world.messages, ['m1', 'm1']);
});

test('what another user has left on this machine is not sent, and goes away', async () => {
  const world = new World();
  const one = await world.live(tab());
  world.desk.acks = false;
  one.send('alice\'s');
  one.stop({ keep: true });
  world.desk.acks = true;
  world.desk.uid = 'bob';
  await world.live({ ...tab(), uid: 'bob' });
  await world.clock.advance(200_000);
  assert.deepEqual(world.messages, ['m1']);
  one.forget();
  assert.ok([...world.local.map.values()].every((value) => !value.includes('alice\'s')));
});

test('nonsense in the storage is ignored', async () => {
  for (const nonsense of ['', '{', 'null', '7', '{"items":7}', '{"owner":1,"until":"x","items":[null,{"ref":1},{"ref":"a"}]}']) {
    const world = new World();
    const session = new FakeStore();
    session.setItem('frontdesk:default:alice:tab', '"t"');
    world.local.setItem('frontdesk:default:alice:tab:t', nonsense);
    world.local.setItem('frontdesk:default:alice:tab:u', nonsense);
    world.local.setItem('frontdesk:default:visitor', nonsense);
    const client = await world.live(tab(session));
    await world.clock.advance(120_000);
    client.send('fine');
    assert.deepEqual(world.desk.log.map(({ message }) => message), ['fine'], nonsense);
  }
});

test('what a tab has left and another one has seen stored is shown there once', async () => {
  for (const same of [true, false]) {
    const world = new World();
    const { client: one, box } = owned(world, (clock) => world.client({ ...tab(), clock }).start());
    await world.clock.advance(10);
    const [socket] = world.sockets;
    const two = await world.live(tab());
    world.desk.acks = false;
    if (!same) {
      // Another device has said the same before.
      const entry = world.desk.append({ from: 'customer', uid: 'alice', message: 'hello' });
      for (const each of world.sockets) world.desk.push(entry, each);
    }
    one.send('hello');
    world.desk.push(world.desk.log.at(-1));
    box.frozen = true;
    crash(world, one, socket);
    world.desk.acks = true;
    await world.clock.advance(LIMITS.leaseMs + 60_000);
    const places = two.messages('c').map(({ seq, text, state }) => [seq, text, state]);
    assert.deepEqual(places, same ? [[1, 'hello', 'stored']] : [[1, 'hello', 'stored'], [2, 'hello', 'stored']]);
    assert.equal(two.told('message').length, places.length, `shown ${two.told('message').length} times`);
    assert.deepEqual(two.outbox, []);
    assert.equal(world.messages.length, 2, 'sent again, with the same id');
  }
});

test('what was claimed for one user is not sent as another, and stays theirs', async () => {
  const world = new World();
  const name = 'frontdesk:default:alice:tab:dead';
  world.local.setItem(name, JSON.stringify({
    owner: 'nobody', until: 0,
    items: [{ ref: 'r1', text: 'of alice', conversation: 'c', to: null, at: world.clock.clock.wall(), sent: false }],
  }));
  world.desk.uid = 'bob';
  const fetch = async () => new Response(JSON.stringify({ ticket: 'T' }));
  const token = () => `h.${Buffer.from(JSON.stringify({ sub: 'bob', role: 'customer' })).toString('base64url')}.s`;
  const client = await world.live({ ...tab(), open: false, role: undefined, uid: 'alice', token, fetch });
  await world.clock.advance(5000);
  assert.deepEqual([client.uid, client.outbox, world.messages], ['bob', [], []]);
  const record = JSON.parse(world.local.getItem(name));
  assert.deepEqual(record.items.map(({ text }) => text), ['of alice']);
});

test('forget removes what dead tabs have left, and who comes again is kept again', async () => {
  const world = new World();
  const item = { ref: 'r1', text: 'left', conversation: 'c', to: null, at: world.clock.clock.wall(), sent: false };
  const record = JSON.stringify({ owner: 'nobody', until: world.clock.clock.wall() + 60_000, items: [item] });
  world.local.setItem('frontdesk:default:alice:tab:dead', record);
  const { session, page } = tab();
  const client = await world.live({ session, page });
  client.forget();
  assert.deepEqual([[...world.local.map.keys()], [...session.map.keys()], client.uid], [[], [], null]);
  assert.deepEqual(client.conversations, []);
  client.start();
  await world.clock.advance(10);
  assert.equal(client.state, 'live');
  world.desk.acks = false;
  client.send('kept again');
  assert.ok([...world.local.map.values()].some((value) => value.includes('kept again')));
  assert.ok([...session.map.keys()].includes('frontdesk:default:alice:resume'));
});

test('what was said after another tab took the rest is sent by the tab in which it was said', async () => {
  const world = new World();
  const one = await world.live(tab());
  world.desk.acks = false;
  const taken = one.send('taken');
  one.stop({ keep: true });
  world.desk.acks = true;
  await world.live(tab());
  await world.clock.advance(LIMITS.leaseTickMs + 2000);
  assert.deepEqual(world.messages, ['m1', 'm1']);
  const since = one.send('said since');
  one.start();
  await world.clock.advance(30_000);
  assert.deepEqual([taken.state, taken.code, since.state], ['failed', 'moved', 'stored']);
  assert.deepEqual(world.messages, [taken.ref, taken.ref, since.ref]);
  assert.deepEqual(one.outbox, []);
});

test('a tab that is refused leaves its words to others, and takes nobody\'s', async () => {
  for (const code of [4500, 4502]) {
    const world = new World();
    const [one, two] = [await world.live(tab()), await world.live(tab())];
    const [first, second] = world.sockets;
    world.desk.acks = false;
    const mine = one.send('of the refused');
    first.end(code);
    assert.equal(one.state, 'refused');
    world.desk.acks = true;
    await world.clock.advance(LIMITS.leaseTickMs + 2000);
    assert.deepEqual(world.desk.log.map(({ message }) => message), ['of the refused']);
    assert.deepEqual(second.got('message').map(({ id }) => id), [mine.ref]);

    world.desk.acks = false;
    two.send('of the closed');
    two.stop({ keep: true });
    await world.clock.advance(2 * LIMITS.leaseMs);
    assert.deepEqual(one.outbox.map(({ text }) => text).filter((text) => text === 'of the closed'), []);
    world.desk.acks = true;
    const three = await world.live(tab());
    await world.clock.advance(2 * LIMITS.leaseTickMs);
    assert.deepEqual(three.messages('c').map(({ text }) => text), ['of the refused', 'of the closed']);
    assert.equal(new Set(world.messages).size, 2);
  }
});

test('two clients on one page throw each other out never: each has its own connection back', async () => {
  const world = new World();
  const page = tab();
  await world.live(page);
  await world.live(page);
  const before = world.sockets.length;
  for (const socket of [...world.sockets]) socket.end();
  await world.clock.advance(5000);
  const tokens = world.sockets.slice(before).flatMap((socket) => socket.got('resume').slice(0, 1)).map(({ token }) => token);
  assert.deepEqual(tokens.sort(), ['t1', 't2']);
});

test('where nothing is stored, a copied tab has not the token of the other one', async () => {
  const world = new World();
  const original = { ...tab(), storage: null };
  await world.live(original);
  const copy = new FakeStore();
  for (const [name, value] of original.session.map) copy.setItem(name, value);
  await world.live({ ...tab(copy), storage: null });
  assert.equal(world.socket.got('resume')[0].token, undefined);
});
