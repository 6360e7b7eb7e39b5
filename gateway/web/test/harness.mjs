// A world for one client or many: time that a test moves, sockets that it answers, storage that it breaks, and a desk
// that keeps logs as docs/PROTOCOL.md says.

import { Frontdesk } from '../client.js';

/** Lets promises go on. */
export async function settle() {
  for (let i = 0; i < 20; i += 1) await Promise.resolve();
  await new Promise((resolve) => setImmediate(resolve));
}

export class FakeClock {
  time = 1000;
  skew = 1_763_832_985_000;
  timers = new Map();
  next = 1;
  /** Chance, unless a test sets it. */
  dice = () => 0.5;

  get clock() {
    return {
      now: () => this.time,
      wall: () => this.time + this.skew,
      random: () => this.dice(),
      setTimeout: (work, ms) => {
        this.timers.set(this.next, { at: this.time + ms, work });
        return this.next++;
      },
      clearTimeout: (id) => void this.timers.delete(id),
    };
  }

  /** Goes on, timer by timer. */
  async advance(ms) {
    const until = this.time + ms;
    await settle();
    for (;;) {
      const due = [...this.timers].filter(([, { at }]) => at <= until).sort(([a, x], [b, y]) => x.at - y.at || a - b)[0];
      if (!due) break;
      this.timers.delete(due[0]);
      this.time = Math.max(this.time, due[1].at);
      due[1].work();
      await settle();
    }
    this.time = until;
    await settle();
  }

  /** Time passes and no timer rings: the machine sleeps. */
  sleep(ms) {
    this.time += ms;
  }
}

export class FakeStore {
  map = new Map();
  full = false;
  get length() {
    return this.map.size;
  }
  key(index) {
    return [...this.map.keys()][index] ?? null;
  }
  getItem(name) {
    return this.map.get(name) ?? null;
  }
  setItem(name, value) {
    if (this.full) throw new DOMException('full', 'QuotaExceededError');
    this.map.set(name, String(value));
  }
  removeItem(name) {
    this.map.delete(name);
  }
}

/** A browser's socket, as the page sees it; `world` is the other end. */
function socketOf(world) {
  return class FakeSocket {
    sent = [];
    closedWith = null;
    ended = false;

    constructor(url) {
      this.url = url;
      world.sockets.push(this);
      queueMicrotask(() => world.accepts && !this.ended && world.accept(this));
    }

    send(text) {
      if (this.ended || !this.opened) throw new Error('not open');
      if (text === 'PING') {
        this.pings = (this.pings ?? 0) + 1;
        return void (world.pongs && queueMicrotask(() => this.onmessage?.({ data: 'PONG' })));
      }
      const frame = JSON.parse(text);
      this.sent.push(frame);
      world.taken.push({ at: world.clock.time, socket: this, ...frame });
      world.desk?.take(this, frame.action, frame.payload ?? {});
    }

    close(code) {
      this.closedWith ??= code;
      this.ended = true;
    }

    tell(action, payload) {
      this.onmessage?.({ data: JSON.stringify({ action, payload }) });
    }

    /** The other end, or the network, ends it. */
    end(code = 1006) {
      this.ended = true;
      this.onclose?.({ code, reason: '' });
    }

    /** Frames of an action that came over it. */
    got(action) {
      return this.sent.filter((frame) => frame.action === action).map((frame) => frame.payload ?? {});
    }
  };
}

export class World {
  clock = new FakeClock();
  sockets = [];
  /** Every frame that was sent, on whatever socket. */
  taken = [];
  accepts = true;
  pongs = true;
  desk = null;
  local = new FakeStore();
  session = new FakeStore();
  page = new EventTarget();
  ids = 0;

  constructor({ desk = true } = {}) {
    if (desk) this.desk = new Desk(this);
  }

  get socket() {
    return this.sockets[this.sockets.length - 1];
  }

  accept(socket) {
    socket.opened = true;
    socket.onopen?.({});
    this.desk?.welcome(socket);
  }

  /** A client in open mode; what it told its page is in `events`. */
  client(options = {}) {
    const client = new Frontdesk({
      url: 'http://chat.test', open: true, uid: 'alice', role: 'customer', clock: this.clock.clock, WebSocket: socketOf(this),
      storage: this.local, session: this.session, page: this.page, newId: () => `m${++this.ids}`,
      ...options,
    });
    client.events = [];
    for (const name of ['state', 'message', 'update', 'entry', 'conversation', 'queue', 'unread', 'receipt', 'typing', 'duty', 'notice',
      'reset', 'error']) {
      client.on(name, (detail) => client.events.push([name, detail && typeof detail === 'object' ? { ...detail } : detail]));
    }
    client.told = (name) => client.events.filter(([other]) => other === name).map(([, detail]) => detail);
    return client;
  }

  /** One that is live. */
  async live(options) {
    const client = this.client(options).start();
    await this.clock.advance(10);
    if (client.state !== 'live') throw new Error(`not live: ${JSON.stringify(client.events)}`);
    return client;
  }

  /** Messages that were sent, by id. */
  get messages() {
    return this.taken.filter(({ action }) => action === 'message').map(({ payload }) => payload.id);
  }
}

/** One conversation `c` of alice with staff, its log, and the answers that a cluster gives. */
export class Desk {
  log = [];
  state = 'open';
  acks = true;
  known = new Map();
  welcomes = 0;
  /** Ids are never used again, also when the log has lost its end. */
  made = 0;
  /** Refuses the next frames of an action: [action, payload of the error]. */
  refusals = [];
  uid = 'alice';
  /** Whether the customer has asked already. */
  begun = true;
  marks = { read: 0, delivered: 0, peer_read: 0, peer_delivered: 0 };

  constructor(world) {
    this.world = world;
  }

  welcome(socket) {
    this.welcomes += 1;
    socket.tell('welcome', {
      code: 'welcome', client_id: `x${this.welcomes}`, uid: this.uid, time: this.world.clock.time, resume: `t${this.welcomes}`,
    });
  }

  append(fields) {
    const seq = this.log.length + 1;
    const entry = { seq, id: `e${++this.made}`, ...(seq > 1 && { prev: this.log[seq - 2].id }), time: 5000 + seq, kind: 'message', ...fields };
    this.log.push(entry);
    return entry;
  }

  /** Staff say something; it is pushed, unless it gets lost. */
  says(message, { lost = false } = {}) {
    const entry = this.append({ from: 'staff', uid: 'sam', message });
    if (!lost) this.push(entry);
    return entry;
  }

  push({ seq, id, prev, time, from, message }, socket = this.world.socket) {
    socket.tell('message', { conversation: 'c', seq, id, prev, time, from, message });
  }

  take(socket, action, payload) {
    const refusal = this.refusals.findIndex(([name]) => name === action);
    if (refusal >= 0) {
      const [[, error]] = this.refusals.splice(refusal, 1);
      return socket.tell('error', { ref: payload.id, message: error.code, ...error });
    }
    this[action]?.(socket, payload);
  }

  message(socket, { id, message }) {
    let entry = this.known.get(id);
    if (!entry) {
      entry = this.append({ from: 'customer', uid: this.uid, message });
      this.known.set(id, entry);
    }
    if (this.acks) socket.tell('ack', { ref: id, conversation: 'c', seq: entry.seq, id: entry.id, time: entry.time });
  }

  resume(socket, { positions = [] }) {
    const item = { conversation: 'c', state: this.state, with: 'sam', name: 'Sam', seq: this.log.length, unread: 0, ...this.marks };
    const conversations = this.begun ? [item] : [];
    socket.tell('snapshot', { time: this.world.clock.time, uid: this.uid, conversations, more: false });
    for (const { conversation, seq, id } of positions) {
      const reset = seq > 0 && this.log[seq - 1]?.id !== id;
      const entries = reset ? this.log.slice(-100) : this.log.slice(seq, seq + 100);
      const more = !reset && this.log.length > seq + 100;
      socket.tell('history', { conversation, entries, more, ...(reset && { reset }) });
    }
  }

  history(socket, { conversation, before, after, limit = 50, id }) {
    const later = after !== undefined;
    const all = later ? this.log.filter(({ seq }) => seq > after) : this.log.filter(({ seq }) => seq < (before ?? Infinity)).reverse();
    socket.tell('history', { conversation, entries: all.slice(0, limit), more: all.length > limit, ref: id });
  }

  customerConnect(socket) {
    this.begun = true;
    const entry = this.append({ kind: 'assigned', from: 'system', uid: 'sam' });
    socket.tell('message', { code: 'connected', message: '', conversation: 'c', name: 'Sam', ...entry, from: undefined });
  }
}

/** Texts of a conversation, in the order in which they were shown. */
export function shown(client) {
  return client.told('message').map(({ text }) => text);
}
