// Who comes in: tickets, visitors, tokens that run out or are refused, servers that have no time.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LIMITS } from '../client.js';
import { World } from './harness.mjs';

const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
const jwt = (claims) => `h.${part({ sub: 'alice', role: 'customer', ...claims })}.s`;

/** A cluster's two addresses: answers are given in order, then the last one again. */
function door(...answers) {
  const asked = [];
  const fetch = async (url, { headers, body }) => {
    asked.push({ path: new URL(url).pathname, bearer: headers.Authorization?.slice(7) ?? null, body: body && JSON.parse(body) });
    const answer = answers.length > 1 ? answers.shift() : answers[0];
    if (answer instanceof Error) throw answer;
    const { status = 200, body: said, retryAfter } = answer;
    return new Response(typeof said === 'string' ? said : JSON.stringify(said), {
      status, headers: retryAfter ? { 'retry-after': retryAfter } : {},
    });
  };
  return { fetch, asked };
}

const TICKET = { body: { ticket: 'T', expires_in_s: 30 } };
const visitor = (token, uid = 'visitor-1') => ({ body: { token, token_expires_in_s: 3600, uid, site: 'default', ticket: `T-${token}` } });
const options = (more) => ({ open: false, uid: undefined, role: undefined, ...more });

test('a signed-in user comes with a ticket for the token that the page gives', async () => {
  const world = new World();
  const { fetch, asked } = door(TICKET);
  const token = jwt({});
  await world.live(options({ fetch, token: async () => token, lang: 'en' }));
  assert.deepEqual(asked, [{ path: '/api/v1/tickets', bearer: token, body: undefined }]);
  assert.equal(world.socket.url, 'ws://chat.test/ws?lang=en&ticket=T');
  assert.ok(!world.socket.url.includes(token), 'a token never belongs into a URL');
});

test('each socket has a ticket of its own', async () => {
  const world = new World();
  const { fetch, asked } = door(TICKET);
  await world.live(options({ fetch, token: () => jwt({}) }));
  world.socket.end();
  await world.clock.advance(2000);
  assert.equal(asked.length, 2);
});

test('a refused token: the page is asked for another one, at once and once', async () => {
  const world = new World();
  const { fetch, asked } = door({ status: 401, body: 'no' }, TICKET);
  const why = [];
  const tokens = [jwt({ n: 1 }), jwt({ n: 2 })];
  const token = ({ refused }) => (why.push(refused), tokens[why.length - 1]);
  await world.live(options({ fetch, token }));
  assert.deepEqual(why, [false, true]);
  assert.deepEqual(asked.map(({ bearer }) => bearer), tokens);
});

test('who is refused again and again is told so and stops', async () => {
  const world = new World();
  const { fetch, asked } = door({ status: 401, body: 'no' });
  const client = world.client(options({ fetch, token: () => jwt({}) })).start();
  await world.clock.advance(600_000);
  assert.deepEqual([client.state, client.told('state').at(-1).code], ['refused', 'unauthorized']);
  assert.equal(asked.length, LIMITS.refusals);
  assert.equal(world.sockets.length, 0);
});

test('signed out: nothing more is tried', async () => {
  const world = new World();
  const client = world.client(options({ fetch: door(TICKET).fetch, token: async () => null })).start();
  await world.clock.advance(60_000);
  assert.deepEqual([client.state, client.told('state').at(-1).code], ['refused', 'signed_out']);
});

test('a page whose token() fails, or never answers, is asked again later', async () => {
  for (const broken of [() => { throw new Error('500'); }, async () => { throw new Error('500'); }, () => new Promise(() => {}), () => 7]) {
    const world = new World();
    let fails = true;
    const client = world.client(options({ fetch: door(TICKET).fetch, token: (why) => (fails ? broken(why) : jwt({})) })).start();
    await world.clock.advance(LIMITS.fetchMs + 100);
    fails = false;
    await world.clock.advance(60_000);
    assert.equal(client.state, 'live', String(broken));
    assert.ok(client.told('error').length > 0);
  }
});

test('a visitor keeps its token, comes as the same again, and forgets one that is refused', async () => {
  const world = new World();
  world.desk.uid = 'visitor-1';
  const first = door(visitor('A'));
  const client = await world.live(options({ fetch: first.fetch, site: 'shop' }));
  assert.deepEqual(first.asked, [{ path: '/api/v1/visitors', bearer: null, body: { site: 'shop' } }]);
  assert.equal(client.uid, 'visitor-1');
  client.stop({ keep: true });

  const second = door(visitor('B'));
  const again = await world.live(options({ fetch: second.fetch, site: 'shop' }));
  assert.equal(second.asked[0].bearer, 'A');
  again.stop({ keep: true });

  world.desk.uid = 'visitor-2';
  const third = door({ status: 401, body: 'revoked' }, visitor('C', 'visitor-2'));
  const other = await world.live(options({ fetch: third.fetch, site: 'shop' }));
  assert.deepEqual(third.asked.map(({ bearer }) => bearer), ['B', null]);
  assert.equal(other.uid, 'visitor-2');
});

test('what one visitor has not sent is not sent by the next', async () => {
  const world = new World();
  world.desk.uid = 'visitor-1';
  const client = await world.live(options({ fetch: door(visitor('A'), { status: 401, body: '' }, visitor('B', 'visitor-2')).fetch }));
  world.accepts = false;
  world.socket.end();
  const message = client.send('from the first');
  world.accepts = true;
  world.desk.uid = 'visitor-2';
  await world.clock.advance(5000);
  assert.equal(client.uid, 'visitor-2');
  assert.deepEqual([message.state, message.code], ['failed', 'identity_changed']);
  assert.deepEqual(world.messages, []);
});

test('what one visitor has asked for is not asked for by the next', async () => {
  const world = new World();
  Object.assign(world.desk, { uid: 'visitor-1', begun: false, customerConnect: () => {} });
  const client = await world.live(options({ fetch: door(visitor('A'), { status: 401, body: '' }, visitor('B', 'visitor-2')).fetch }));
  const wanted = client.connect();
  world.accepts = false;
  world.socket.end();
  const asked = assert.rejects(client.list(), { code: 'identity_changed' });
  world.accepts = true;
  world.desk.uid = 'visitor-2';
  await world.clock.advance(30_000);
  assert.deepEqual([client.uid, client.state], ['visitor-2', 'live']);
  assert.equal((await wanted).code, 'identity_changed');
  await asked;
  const second = world.taken.filter(({ socket }) => socket === world.socket).map(({ action }) => action);
  assert.deepEqual(second, ['resume']);
  void client.connect();
  assert.equal(world.socket.got('customerConnect').length, 1, 'the next one may ask');
});

test('revoked: the visitor is forgotten and does not come back by itself', async () => {
  const world = new World();
  world.desk.uid = 'visitor-1';
  const { fetch, asked } = door(visitor('A'));
  const client = await world.live(options({ fetch }));
  world.socket.end(4501);
  await world.clock.advance(60_000);
  assert.deepEqual([client.state, asked.length], ['refused', 1]);
  assert.equal(world.local.getItem('frontdesk:default:visitor'), null);
});

test('Retry-After is waited for, and chance after it', async () => {
  for (const status of [429, 503]) {
    const world = new World();
    const { fetch, asked } = door({ status, body: 'later', retryAfter: '20' }, TICKET);
    const client = world.client(options({ fetch, token: () => jwt({}) })).start();
    await world.clock.advance(20_000);
    assert.equal(asked.length, 1, `${status}`);
    assert.equal(client.told('state').at(-1).retryInMs, 20_500);
    await world.clock.advance(1000);
    assert.equal(client.state, 'live');
  }
});

test('what settings forbid is final; what is broken is not', async () => {
  for (const [answer, state, code] of [
    [{ status: 403, body: 'origin' }, 'refused', 'forbidden'],
    [{ status: 404, body: '' }, 'refused', 'http_404'],
    [{ status: 500, body: '' }, 'waiting', 'http_500'],
    [new TypeError('Failed to fetch'), 'waiting', 'unreachable'],
    [{ body: 'not JSON' }, 'waiting', 'unreachable'],
  ]) {
    const world = new World();
    const client = world.client(options({ fetch: door(answer).fetch, token: () => jwt({}) })).start();
    await world.clock.advance(10);
    assert.deepEqual([client.state, client.told('state').at(-1).code], [state, code]);
  }
});

test('a server that never answers is given up in time', async () => {
  const world = new World();
  let aborted = false;
  const fetch = (_, { signal }) => new Promise((_, reject) => signal.addEventListener('abort', () => {
    aborted = true;
    reject(new DOMException('aborted', 'AbortError'));
  }));
  const client = world.client(options({ fetch })).start();
  await world.clock.advance(LIMITS.fetchMs + 10);
  assert.deepEqual([client.state, aborted], ['waiting', true]);
});

test('a newer token goes out before the old one ends, by the server\'s clock', async () => {
  const world = new World();
  const made = [];
  const { clock } = world;
  // The page's clock is a day ahead: it must not matter.
  clock.skew += 86_400_000;
  const token = () => (made.push(clock.time), jwt({ exp: (clock.time + 100_000) / 1000 }));
  world.desk.refresh = (socket, { id }) => socket.tell('refreshed', { code: 'refreshed', message: '', expires_in_s: 100, ref: id });
  const client = await world.live(options({ fetch: door(TICKET).fetch, token }));
  await clock.advance(500_000);
  assert.ok(world.socket.got('refresh').length >= 4);
  const gaps = made.slice(1).map((at, i) => at - made[i]);
  for (const gap of gaps) assert.ok(gap > 50_000 && gap < 90_000, `${gaps}`);
  assert.deepEqual([client.state, world.sockets.length], ['live', 1]);
});

test('a refresh that is refused is tried again, and 4401 asks for a token', async () => {
  const world = new World();
  const { fetch, asked } = door(TICKET);
  const token = () => jwt({ exp: (world.clock.time + 20_000) / 1000 });
  world.desk.refusals.push(['refresh', { code: 'bad_token', field: 'token' }]);
  world.desk.refresh = (socket, { id }) => socket.tell('refreshed', { expires_in_s: 20, ref: id });
  const client = await world.live(options({ fetch, token }));
  await world.clock.advance(25_000);
  assert.ok(world.socket.got('refresh').length >= 2);
  assert.ok(client.told('error').some(({ code }) => code === 'refresh_failed'));
  world.socket.end(4401);
  await world.clock.advance(2000);
  assert.equal(client.state, 'live');
  assert.equal(asked.length, 2);
});

test('a visitor\'s token is renewed by the visitors\' address', async () => {
  const world = new World();
  world.desk.uid = 'visitor-1';
  world.desk.refresh = (socket, { id }) => socket.tell('refreshed', { expires_in_s: 3600, ref: id });
  const { fetch, asked } = door(visitor('A'), visitor('B'));
  await world.live(options({ fetch }));
  await world.clock.advance(3_600_000);
  assert.deepEqual(asked.map(({ bearer }) => bearer), [null, 'A']);
  assert.equal(world.socket.got('refresh')[0].token, 'B');
});

test('a problem of the API is told in its words, and its time is waited for', async () => {
  const world = new World();
  const problem = { type: '/api/v1/problems#busy', title: 'Busy', detail: 'Try again', status: 503, code: 'busy', retry_after_ms: 20_000 };
  const client = world.client(options({ fetch: door({ status: 503, body: problem }).fetch, token: () => jwt({}) })).start();
  await world.clock.advance(10);
  assert.deepEqual(client.told('error'), [{ code: 'http_503', message: 'Try again', field: null }]);
  assert.equal(client.told('state').at(-1).retryInMs, 20_500);
});

test('a visitor that was forgotten stays forgotten, whatever the server answers afterwards', async () => {
  const world = new World();
  let answer;
  const fetch = () => new Promise((resolve) => (answer = resolve));
  const client = world.client(options({ fetch })).start();
  await world.clock.advance(10);
  client.forget();
  answer(new Response(JSON.stringify(visitor('A').body)));
  await world.clock.advance(1000);
  assert.equal(world.local.getItem('frontdesk:default:visitor'), null);
  assert.deepEqual([client.state, world.sockets.length], ['stopped', 0]);
});

/** Live, with a token that ends soon; `then` gives the next ones. */
async function soonRenewed(world, then, more = {}) {
  let first = true;
  const token = (why) => (first ? ((first = false), jwt({ exp: (world.clock.time + 20_000) / 1000 })) : then(why));
  return world.live(options({ fetch: door(TICKET).fetch, token, ...more }));
}

test('a newer token of somebody else: the socket is given up, and nothing is said as the one before', async () => {
  const world = new World();
  const client = await soonRenewed(world, () => jwt({ sub: 'bob' }));
  world.desk.acks = false;
  const waiting = client.send('of alice');
  const leaving = client.leave(); // waits for the words
  world.desk.uid = 'bob';
  const [first] = world.sockets;
  for (let i = 0; i < 200 && !first.ended; i += 1) await world.clock.advance(100);
  assert.ok(first.ended, 'before the token ends');
  assert.equal(first.closedWith, 3001);
  assert.deepEqual(first.got('refresh'), []);
  assert.deepEqual([waiting.state, waiting.code], ['failed', 'identity_changed']);
  assert.equal((await leaving).code, 'identity_changed');
  world.desk.acks = true;
  const words = client.send('of bob');
  await world.clock.advance(5000);
  assert.deepEqual([client.uid, client.state, words.uid, words.state], ['bob', 'live', 'bob', 'stored']);
  assert.ok(first.got('message').every(({ message }) => message === 'of alice'));
});

test('who is signed out when a newer token is due is refused and leaves', async () => {
  const world = new World();
  const client = await soonRenewed(world, () => null);
  await world.clock.advance(18_000);
  assert.deepEqual([client.state, client.told('state').at(-1).code], ['refused', 'signed_out']);
  assert.equal(world.socket.closedWith, 1000);
  await world.clock.advance(60_000);
  assert.equal(world.sockets.length, 1);
});

test('visitors\' newer tokens: a final refusal stops, a time that is asked for is waited for, and pauses grow', async () => {
  const start = { ...visitor('A') };
  start.body.token_expires_in_s = 20;
  const world = new World();
  world.desk.uid = 'visitor-1';
  const client = await world.live(options({ fetch: door(start, { status: 403, body: 'not from there' }).fetch }));
  await world.clock.advance(18_000);
  assert.deepEqual([client.state, client.told('state').at(-1).code], ['refused', 'forbidden']);

  for (const [answer, most] of [[{ status: 503, body: '', retryAfter: '120' }, 2], [{ status: 500, body: '' }, 20]]) {
    const other = new World();
    other.desk.uid = 'visitor-1';
    const { fetch, asked } = door(start, answer);
    await other.live(options({ fetch }));
    await other.clock.advance(15_000 + 119_000 + 10);
    assert.ok(asked.length >= 2 && asked.length <= most, `${asked.length}`);
    const many = asked.length;
    await other.clock.advance(30_000);
    assert.ok(asked.length > many && asked.length <= many + 3, 'it goes on, slowly');
  }
});

test('a page that is shown again does not cut short what the server asked for', async () => {
  const world = new World();
  const { fetch, asked } = door({ status: 503, body: '', retryAfter: '60' }, TICKET);
  const client = world.client(options({ fetch, token: () => jwt({}) })).start();
  for (let i = 0; i < 59; i += 1) {
    await world.clock.advance(1000);
    world.page.dispatchEvent(new Event('visibilitychange'));
  }
  assert.equal(asked.length, 1);
  await world.clock.advance(2500);
  assert.equal(client.state, 'live');
});

test('who comes after staff may be a customer: their early words wait for a conversation', async () => {
  const world = new World();
  world.desk.uid = 'sam';
  world.desk.begun = false;
  const soon = jwt({ sub: 'sam', role: 'staff', exp: (world.clock.time + 20_000) / 1000 });
  let token = soon;
  const client = await world.live(options({ fetch: door(TICKET).fetch, token: () => token }));
  assert.equal(client.send('to whom?').code, 'no_conversation');
  token = jwt({ sub: 'bob', role: 'customer' });
  world.desk.uid = 'bob';
  const [first] = world.sockets;
  for (let i = 0; i < 200 && !first.ended; i += 1) await world.clock.advance(100);
  assert.deepEqual([client.uid, client.send('early').state], ['bob', 'queued']);
  client.forget();
  token = soon;
  world.desk.uid = 'sam';
  client.start();
  await world.clock.advance(10);
  assert.deepEqual([client.uid, client.send('to whom?').code], ['sam', 'no_conversation']);
});

test('what is said before the cluster was ever reached outlives the page', async () => {
  const world = new World();
  const token = async () => jwt({});
  const one = world.client(options({ fetch: door(new TypeError('no network')).fetch, token })).start();
  await world.clock.advance(100);
  one.send('said in vain');
  one.stop({ keep: true });
  await world.live(options({ fetch: door(TICKET).fetch, token }));
  await world.clock.advance(2000);
  assert.deepEqual(world.desk.log.map(({ message }) => message), ['said in vain']);
});

test('what answers but is no gateway does not make a visitor', async () => {
  const world = new World();
  await world.live(options({ fetch: door(visitor('v1')).fetch }));
  const { fetch, asked } = door({ body: { status: 'maintenance' } }, visitor('v2'));
  const again = world.client(options({ fetch })).start();
  await world.clock.advance(10);
  assert.deepEqual(again.told('error').map(({ code }) => code), ['unreachable']);
  await world.clock.advance(5000);
  assert.equal(again.state, 'live');
  assert.deepEqual(asked.map(({ bearer }) => bearer), ['v1', 'v1'], 'the same visitor');
});
