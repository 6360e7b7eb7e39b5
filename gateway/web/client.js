// @ts-check
// Frontdesk's client for browsers and Node, MIT licence. How to use it: docs/CLIENT.md.
// Made by build.mjs from the modules in client/: change those.

// What the parts of the client, and its users, pass to each other.

/** @typedef {'customer'|'staff'|'supervisor'|'service'|'any'} Role */

/**
 * `queued`: not sent yet; `sent`: on its way; `stored`: acknowledged, on disk; `delivered`: a device of the other
 * side has it; `read`: they have seen it; `failed`: it will not be sent again, `code` says why.
 * @typedef {'queued'|'sent'|'stored'|'delivered'|'read'|'failed'} MessageState
 */

/**
 * Somebody's words. One object per message: it changes, and `update` tells of it.
 * @typedef {object} Message
 * @property {string|null} ref one's own id of it, if it was sent from here
 * @property {string|null} conversation `null` until it is known
 * @property {string|null} to the uid that it was sent to by `sendTo`
 * @property {number|null} seq its place in the conversation, once stored
 * @property {string|null} id the cluster's id of it, once stored
 * @property {number|null} time when it was stored, in ms since 1970 by the server's clock
 * @property {string|null} from `customer`, `staff`, `user` or `system`; `null` until one's own is stored
 * @property {string|null} uid who said it
 * @property {boolean} mine whether this user said it, here or on another device
 * @property {string|null} text the words; `null` once they were taken back
 * @property {boolean} recalled whether they were taken back
 * @property {MessageState} state
 * @property {string|null} code why it failed
 */

/**
 * One entry of a conversation's log, as docs/PROTOCOL.md has it.
 * @typedef {object} Entry
 * @property {number} seq
 * @property {string} id
 * @property {string|null} prev the id of the entry before; `null` at the beginning, or if nobody has told it
 * @property {number} time
 * @property {string} kind `message`, `assigned`, `ended`, `requeued` or `recalled`; `notice` for a push that only has a code
 * @property {string|null} code the code of the push that told it
 * @property {string|null} from
 * @property {string|null} uid
 * @property {string|null} text words, or the reason of an end
 * @property {number|null} of the place of the message that was taken back
 * @property {boolean} recalled
 * @property {boolean} told whether it was told with what came before it; an ack alone does not say that
 * @property {Message|null} message
 */

/**
 * How a conversation stands.
 * @typedef {object} Conversation
 * @property {string} id
 * @property {string} state `waiting`, `open`, `ended` or `direct`
 * @property {string|null} with the uid of the other side
 * @property {string|null} name what staff call themselves
 * @property {number|null} queue the place of who waits, from 1
 * @property {number} seq the newest place that is known
 * @property {number} unread messages of the other side after the own read mark
 * @property {number} read one's own marks
 * @property {number} delivered
 * @property {number} peerRead those of the other side
 * @property {number} peerDelivered
 * @property {Entry|null} last of a list: the newest message
 */

/**
 * `idle`: not started; `connecting`; `live`: everything is known and goes out at once; `waiting`: for the next attempt;
 * `stopped`: by `stop`; `refused`: coming back is of no use, `code` says why.
 * @typedef {'idle'|'connecting'|'live'|'waiting'|'stopped'|'refused'} State
 */

/**
 * @typedef {object} StateChange
 * @property {State} state
 * @property {number|string|null} code the close code, or a word such as `unauthorized`, if there was one
 * @property {number|null} retryInMs while waiting: how long
 */

/**
 * @typedef {object} Problem
 * @property {string} code of docs/PROTOCOL.md, or one of docs/CLIENT.md
 * @property {string} message for people
 * @property {string|null} field
 */

/** @typedef {{code: string, message?: string, conversation?: string, [field: string]: unknown}} Notice */

/**
 * What each event is told with.
 * @typedef {object} Events
 * @property {Message} message
 * @property {Message} update
 * @property {Entry & {conversation: string}} entry
 * @property {{conversation: string, messages: Message[], entries: Entry[]}} reset
 * @property {StateChange} state
 * @property {Notice} notice
 * @property {Conversation} conversation
 * @property {{conversation: string, place: number|null}} queue
 * @property {{conversation: string, unread: number, total: number}} unread
 * @property {{conversation: string, uid: string, delivered: number, read: number}} receipt
 * @property {{conversation: string, uid: string|null, on: boolean}} typing
 * @property {{name: string, max: number}|null} duty
 * @property {Problem} error
 */

/**
 * A payload as it came: fields are looked at before they are used.
 * @typedef {Record<string, any>} Payload
 */

/**
 * Time and chance, so that tests can hold them.
 * @typedef {object} Clock
 * @property {() => number} now ms of a clock that no one sets
 * @property {() => number} wall ms since 1970, which may jump
 * @property {(work: () => void, ms: number) => any} setTimeout
 * @property {(timer: any) => void} clearTimeout
 * @property {() => number} random from 0 up to 1
 */

/**
 * What is used of a `Storage`.
 * @typedef {object} Store
 * @property {number} length
 * @property {(index: number) => string|null} key
 * @property {(name: string) => string|null} getItem
 * @property {(name: string, value: string) => void} setItem
 * @property {(name: string) => void} removeItem
 */

/**
 * What is used of a `WebSocket`.
 * @typedef {object} Socket
 * @property {((event: any) => void)|null} onopen
 * @property {((event: {data: any}) => void)|null} onmessage
 * @property {((event: {code: number, reason: string}) => void)|null} onclose
 * @property {((event: any) => void)|null} onerror
 * @property {(text: string) => void} send
 * @property {(code?: number, reason?: string) => void} close
 */

/**
 * @typedef {object} Options
 * @property {string|string[]} url where the gateways are: `https://chat.example.com`; of several, another one is tried after a failure
 * @property {(why: {refused: boolean}) => Promise<string|null>|string|null} [token] gives a token of this user, a new one if the last was
 *   refused; `null`: nobody is signed in any more. Without it (and without `open`) the page's visitor is an anonymous customer
 * @property {boolean} [open] the cluster is in open mode: `uid` and `role` are believed
 * @property {string} [site] the tenant, `default` unless said
 * @property {string} [uid] who it is, if the page knows: then what waits to be sent shows before the server is reached
 * @property {Role} [role] open mode: `customer` and so on
 * @property {string} [lang] language of the texts, `zh-CN` or `en`
 * @property {number} [window] messages on their way at once, 1 to 256. With more than 1 (the default) what was refused for a while may
 *   be stored after what followed it
 * @property {boolean} [autoDelivered] says by itself what has reached this device; `true` unless said
 * @property {Store|null} [storage] where what waits to be sent is kept: `localStorage`; `null`: nowhere
 * @property {Store|null} [session] where this tab's resume token is kept: `sessionStorage`
 * @property {any} [WebSocket] a constructor, where there is none
 * @property {typeof fetch} [fetch]
 * @property {Partial<Clock>} [clock]
 * @property {EventTarget|null} [page] tells `online`, `offline`, `pagehide`, `pageshow`, `visibilitychange`
 * @property {() => string} [newId] makes ids for messages
 */

// Every bound of the client in one place, in ms, bytes or counts. Those that docs/PROTOCOL.md sets say so.

const LIMITS = Object.freeze({
  /** Longest words, in bytes of UTF-8 (protocol). */
  text: 16 * 1024,
  /** Longest frame (protocol). */
  frame: 64 * 1024,
  /** Most messages without an ack (protocol). */
  window: 256,
  /** A message without an ack is sent again after so long (protocol); so is what is asked for. */
  resendMs: 10_000,
  /** Most positions of a `resume`, conversations of a snapshot (protocol). */
  positions: 50,
  /** Most questions of a socket that may wait (protocol), and of this client in all. */
  questions: 3,
  questionsWaiting: 32,
  /** How long a question may take, over however many sockets. */
  questionMs: 60_000,
  /** How often what was answered `busy` is asked again. */
  questionTries: 6,
  /** Messages that wait to be sent, and their bytes. */
  outbox: 200,
  outboxBytes: 512 * 1024,
  /**
   * A message that is older is not sent any more: ids are remembered for 24 h, and after that it might be
   * stored twice.
   */
  outboxMs: 23 * 3_600_000,
  /** Entries of a conversation that are kept, and that are kept beyond a hole. */
  entries: 1000,
  ahead: 200,
  /** Conversations that are kept. */
  conversations: 200,
  /** A page of history; the most that is fetched to close a gap before the view begins anew. */
  page: 50,
  catchUp: 500,
  /** What is missing for so long is asked for: an ack may come after what follows it. */
  patienceMs: 1500,
  /** Time between two `resume`s on one socket. */
  resumeMs: 1000,
  /** From the handshake to the answer of `resume`. */
  enterMs: 20_000,
  /** A ticket or a token must come within this. */
  fetchMs: 15_000,
  /** After so long without a word the server is asked, and must answer within the deadline. */
  quietMs: 20_000,
  pongMs: 10_000,
  /** How often the client looks at both. */
  tickMs: 5_000,
  /** The first pause before coming back is up to `backoffMs`, the longest up to `backoffMaxMs`. */
  backoffMs: 1_000,
  backoffMaxMs: 30_000,
  /** Who was live for so long begins again with the first pause. */
  provenMs: 10_000,
  /** The longest `Retry-After` that is obeyed. */
  retryAfterMs: 300_000,
  /** After a newer token was not to be had it is asked for again, not before this. */
  renewAgainMs: 5_000,
  /** So many tokens in a row may be refused. */
  refusals: 5,
  /** Of a conversation one `delivered` in so long. */
  markMs: 500,
  /** So many marks at a time, and how long after that one may turn out to be refused. */
  marks: 4,
  markRefusedMs: 3_000,
  /** Typing: told again while it goes on, ended without a further key, and believed for so long (protocol). */
  typingAgainMs: 3_000,
  typingStopMs: 4_000,
  typingFadesMs: 5_000,
  /** A tab that does not renew its lease for so long is gone; hidden tabs wake once a minute. */
  leaseMs: 90_000,
  /** How often a tab renews it and looks for what others have left. */
  leaseTickMs: 15_000,
});

// Close codes: the table of docs/PROTOCOL.md, which a test holds against it.

/** @type {Readonly<Record<number, {name: string, back: boolean}>>} `back`: whether a client comes back by itself */
const CLOSE_CODES = Object.freeze({
  1000: { name: 'normal', back: false },
  1001: { name: 'going_away', back: true },
  1002: { name: 'protocol_error', back: false },
  1003: { name: 'binary_frame', back: false },
  1007: { name: 'invalid_utf8', back: false },
  1009: { name: 'too_big', back: false },
  1013: { name: 'try_again', back: true },
  4000: { name: 'resync', back: true },
  4001: { name: 'slow_consumer', back: true },
  4002: { name: 'append_unknown', back: true },
  4003: { name: 'ping_timeout', back: true },
  4004: { name: 'out_of_order', back: true },
  4401: { name: 'token_expired', back: true },
  4500: { name: 'too_many_connections', back: false },
  4501: { name: 'revoked', back: false },
  4502: { name: 'replaced', back: false },
});

/** What the client itself closes a socket with that it gives up: not 1000, which would be leaving. */
const GIVEN_UP = 3001;

/**
 * Whether a socket that ended so is opened again. What no rule names (1005, 1006 and what proxies make up) is
 * a broken connection.
 * @param {number} code
 */
function comesBack(code) {
  const never = code === 1000 || code === 1002 || code === 1003 || (code >= 1007 && code <= 1010);
  return !never && !(code >= 4500 && code <= 4999);
}

// Events for whoever uses the client.

/** @typedef {(detail: any) => void} Listener */

class Emitter {
  constructor() {
    /** @type {Map<string, Set<Listener>>} */
    this.listeners = new Map();
  }

  /**
   * Calls the listener at each such event. Returns what ends that.
   * @param {string} name
   * @param {Listener} listener
   * @returns {() => void}
   */
  on(name, listener) {
    const set = this.listeners.get(name) ?? new Set();
    this.listeners.set(name, set.add(listener));
    return () => void set.delete(listener);
  }

  /**
   * A listener that fails is the page's own error: it is reported, and changes nothing here.
   * @param {string} name
   * @param {unknown} detail
   */
  emit(name, detail) {
    for (const listener of [...(this.listeners.get(name) ?? [])]) {
      try {
        listener(detail);
      } catch (error) {
        console.error(`a listener of "${name}" failed`, error);
      }
    }
  }
}

// Time and chance.


/** @returns {Clock} */
function realClock() {
  return {
    now: () => performance.now(),
    wall: () => Date.now(),
    setTimeout: (work, ms) => setTimeout(work, ms),
    clearTimeout: (timer) => clearTimeout(timer),
    random: () => Math.random(),
  };
}

/** One thing that is to happen later: setting it again replaces what was set. */
class Alarm {
  /**
   * @param {Clock} clock
   * @param {() => void} work
   */
  constructor(clock, work) {
    this.clock = clock;
    this.work = work;
    /** @type {any} */
    this.timer = null;
    this.at = Infinity;
  }

  /** @param {number} ms */
  set(ms) {
    this.clear();
    this.at = this.clock.now() + ms;
    // A timer holds at most 24.8 days: a longer one is set again on the way.
    this.timer = this.clock.setTimeout(() => this.ring(), Math.min(Math.max(ms, 0), 2 ** 31 - 1));
  }

  /**
   * Not later than this.
   * @param {number} ms
   */
  by(ms) {
    if (this.clock.now() + ms < this.at) this.set(ms);
  }

  get isSet() {
    return this.timer !== null;
  }

  clear() {
    if (this.timer !== null) this.clock.clearTimeout(this.timer);
    this.timer = null;
    this.at = Infinity;
  }

  ring() {
    const left = this.at - this.clock.now();
    if (left > 2 ** 30) return this.set(left);
    this.timer = null;
    this.at = Infinity;
    this.work();
  }
}

// How long to wait before coming back: anything up to a bound that doubles ("full jitter"), so that those who were
// cut off together do not return together.


class Backoff {
  /** @param {() => number} random */
  constructor(random) {
    this.random = random;
    this.failures = 0;
  }

  /**
   * The next pause in ms. What the server asks for comes first, and chance after it.
   * @param {number} [retryAfterMs]
   */
  next(retryAfterMs = 0) {
    const bound = Math.min(LIMITS.backoffMaxMs, LIMITS.backoffMs * 2 ** Math.min(this.failures, 16));
    this.failures += 1;
    return Math.min(Math.max(retryAfterMs, 0), LIMITS.retryAfterMs) + this.random() * bound;
  }

  reset() {
    this.failures = 0;
  }
}

// What outlives a page, where the page may keep anything. A storage that is full, forbidden or absent is no reason to
// stop: from then on everything is in memory, and the user of the client is told once.


/** @implements {Store} */
class Memory {
  constructor() {
    /** @type {Map<string, string>} */
    this.map = new Map();
  }

  get length() {
    return this.map.size;
  }

  /** @param {number} index */
  key(index) {
    return [...this.map.keys()][index] ?? null;
  }

  /** @param {string} name */
  getItem(name) {
    return this.map.get(name) ?? null;
  }

  /**
   * @param {string} name
   * @param {string} value
   */
  setItem(name, value) {
    this.map.set(name, value);
  }

  /** @param {string} name */
  removeItem(name) {
    this.map.delete(name);
  }
}

/** Reads and writes JSON; never throws. */
class Kept {
  /**
   * @param {() => Store|null|undefined} open may throw, as `localStorage` does where it is forbidden
   * @param {(error: unknown) => void} failed
   */
  constructor(open, failed) {
    this.failed = failed;
    this.broken = false;
    /** @type {Store} What is written when the real one fails. */
    this.memory = new Memory();
    /** @type {Store} */
    this.store = this.memory;
    try {
      this.store = open() ?? this.memory;
    } catch (error) {
      this.break(error);
    }
  }

  /** @param {unknown} error */
  break(error) {
    if (!this.broken) this.failed(error);
    this.broken = true;
  }

  /**
   * @template T
   * @param {() => T} work
   * @param {T} otherwise
   */
  attempt(work, otherwise) {
    try {
      return work();
    } catch (error) {
      this.break(error);
      return otherwise;
    }
  }

  /**
   * @param {string} name
   * @returns {any} what was kept, or `null`
   */
  get(name) {
    const text = this.memory.getItem(name) ?? this.attempt(() => this.store.getItem(name), null);
    try {
      return text === null ? null : JSON.parse(text);
    } catch {
      return null; // not ours, or cut off
    }
  }

  /**
   * @param {string} name
   * @param {unknown} value
   */
  set(name, value) {
    const text = JSON.stringify(value);
    this.memory.removeItem(name);
    const done = this.attempt(() => (this.store.setItem(name, text), true), false);
    if (done) return;
    // What is there is old: rather nothing than that.
    this.attempt(() => this.store.removeItem(name), undefined);
    this.memory.setItem(name, text);
  }

  /** @param {string} name */
  remove(name) {
    this.memory.removeItem(name);
    this.attempt(() => this.store.removeItem(name), undefined);
  }

  /**
   * All names that begin so.
   * @param {string} prefix
   */
  names(prefix) {
    return this.attempt(() => {
      /** @type {string[]} */
      const names = [];
      for (let index = 0; index < this.store.length; index += 1) {
        const name = this.store.key(index);
        if (name?.startsWith(prefix)) names.push(name);
      }
      return names;
    }, []);
  }
}

// What one tab keeps: the messages that are not acknowledged, so that a reload, a crash or a closed tab loses none, and
// its resume token.
//
//   localStorage    frontdesk:<site>:<uid>:tab:<tab>  {owner, until, items}   survives the tab
//   sessionStorage  frontdesk:<site>:<uid>:tab        <tab>                   one per tab, survives a reload
//   sessionStorage  frontdesk:<site>:<uid>:resume     <token>                 belongs to this tab's connection
//
// A tab has its record under a lease. A page that finds its tab's record leased by somebody else is a copy ("duplicate
// tab" copies the sessionStorage) or a second client on the page: it becomes another tab, without the token, which would
// throw the other one out (4502). What a tab has left whose lease ran out is taken over by any other; who finds its own
// record taken stops sending what was in it. Chance and the second look make it rare that two take the same; should they,
// the ids are the same, and the server stores each once.


/** @typedef {{ref: string, text: string, conversation: string|null, to: string|null, at: number, sent: boolean}} Item */
/** @typedef {{owner: string, until: number, items: Item[]}} TabRecord */

class Tab {
  /**
   * @param {{local: Kept, session: Kept, clock: Clock, site: string, newId: () => string,
   *   adopt: (items: Item[]) => void, moved: (refs: Set<string>) => void,
   *   isLive: () => boolean}} parts `adopt` takes what another tab has left, `moved` learns
   *   which of ours another tab has taken; who is not live takes nothing, since it could not send it
   */
  constructor({ local, session, clock, site, newId, adopt, moved, isLive }) {
    this.local = local;
    this.session = session;
    this.clock = clock;
    this.site = `frontdesk:${site}:`;
    this.newId = newId;
    this.adopt = adopt;
    this.moved = moved;
    this.isLive = isLive;
    this.owner = newId();
    /** @type {string|null} what all names of this user begin with; `null` until it is known who they are */
    this.scope = null;
    this.id = '';
    /** @type {Item[]} */
    this.items = [];
    /**
     * What was last written into our record: who takes it has these.
     * @type {Set<string>}
     */
    this.written = new Set();
    this.renewal = new Alarm(clock, () => this.tick());
    this.claim = new Alarm(clock, () => this.takeClaimed());
    /** @type {string[]} */
    this.claimed = [];
  }

  get name() {
    return `${this.scope}tab:${this.id}`;
  }

  /**
   * It is known who this is. Returns what this tab has left from before.
   * @param {string} uid
   */
  open(uid) {
    const scope = `${this.site}${uid}:`;
    if (this.scope === scope) return [];
    this.close();
    this.scope = scope;
    this.id = this.session.get(`${scope}tab`) ?? this.newId();
    let record = this.read(this.name);
    if (record && record.owner !== this.owner && this.isLeased(record)) {
      this.id = this.newId();
      this.session.remove(`${scope}resume`);
      record = null;
    }
    this.session.set(`${scope}tab`, this.id);
    this.items = record?.items ?? [];
    this.write();
    this.renewal.set(this.clock.random() * 1000);
    return this.items;
  }

  /**
   * @param {string} name
   * @returns {TabRecord|null}
   */
  read(name) {
    const record = this.local.get(name);
    if (typeof record !== 'object' || record === null || !Array.isArray(record.items)) return null;
    const items = record.items.slice(0, LIMITS.outbox).filter(isItem);
    return { owner: String(record.owner), until: Number(record.until) || 0, items };
  }

  /** @param {TabRecord} record A lease that ends too late was taken before the clock was set back. */
  isLeased(record) {
    const left = record.until - this.clock.wall();
    return left > 0 && left <= 2 * LIMITS.leaseMs;
  }

  write(until = this.clock.wall() + LIMITS.leaseMs) {
    if (this.scope === null) return;
    this.local.set(this.name, { owner: this.owner, until, items: this.items });
    this.written = new Set(this.items.map(({ ref }) => ref));
  }

  /** Whether the record is still this tab's. Looked at before anything is sent from it. */
  isOurs() {
    if (this.scope === null || this.local.broken) return true;
    const record = this.local.get(this.name);
    // Who cleared the storage did not send anything.
    return record === null || record.owner === this.owner;
  }

  /** @param {Item[]} items */
  save(items) {
    this.items = items;
    if (this.isOurs()) this.write();
  }

  get token() {
    return this.scope === null ? null : this.session.get(`${this.scope}resume`);
  }

  set token(token) {
    if (this.scope === null) return;
    if (token === null) this.session.remove(`${this.scope}resume`);
    else this.session.set(`${this.scope}resume`, token);
  }

  tick() {
    this.renewal.set(LIMITS.leaseTickMs);
    if (this.scope === null) return;
    if (!this.isOurs()) return this.lose();
    this.write();
    if (!this.claim.isSet && this.isLive()) this.claimAbandoned();
  }

  /** What others have left can be sent now. */
  live() {
    this.renewal.by(this.clock.random() * 1000);
  }

  /** Another tab has taken what was here: it sends it now. What was said since is still ours. */
  lose() {
    const taken = this.written;
    this.id = this.newId();
    this.session.set(`${this.scope}tab`, this.id);
    this.items = this.items.filter(({ ref }) => !taken.has(ref));
    this.write();
    this.moved(taken);
  }

  /** Puts our name on what tabs have left whose lease ran out; a moment later it is ours if it still says so. */
  claimAbandoned() {
    for (const name of this.local.names(`${this.scope}tab:`)) {
      const record = this.read(name);
      if (name === this.name || (record && this.isLeased(record))) continue;
      if (!record || record.items.length === 0) {
        // A tab that slept finds by it that what it had was taken.
        if (!record || record.until < this.clock.wall() - LIMITS.outboxMs) this.local.remove(name);
        continue;
      }
      const until = this.clock.wall() + LIMITS.leaseMs;
      this.local.set(name, { owner: this.owner, until, items: record.items });
      this.claimed.push(name);
    }
    if (this.claimed.length > 0) this.claim.set(100 + this.clock.random() * 400);
  }

  takeClaimed() {
    if (!this.isLive()) return this.unclaim();
    for (const name of this.claimed.splice(0)) {
      const record = this.read(name);
      if (record?.owner !== this.owner || !this.isOfUser(name)) continue;
      this.local.set(name, { ...record, items: [] });
      this.adopt(record.items);
    }
  }

  /** The page goes, or is refused for good: a reload may take the record at once, and so may another tab. */
  release() {
    this.renewal.clear();
    if (this.scope === null || !this.isOurs()) return;
    if (this.items.length === 0) this.local.remove(this.name);
    else this.write(this.clock.wall());
  }

  /** The page is back from where the browser had put it. */
  renew() {
    if (this.scope !== null) this.tick();
  }

  close() {
    this.release();
    this.unclaim();
    this.scope = null;
    this.items = [];
  }

  /** What we put our name on and have not taken is anybody's again: the next user's tab must not take it. */
  unclaim() {
    this.claim.clear();
    for (const name of this.claimed.splice(0)) {
      const record = this.read(name);
      if (record?.owner === this.owner) this.local.set(name, { ...record, until: this.clock.wall() });
    }
  }

  /** @param {string} name */
  isOfUser(name) {
    return this.scope !== null && name.startsWith(`${this.scope}tab:`);
  }

  /**
   * Removes what is kept of a user, also what closed and crashed tabs have left.
   * @param {string|null} uid
   */
  wipe(uid) {
    this.close();
    if (uid === null) return;
    const scope = `${this.site}${uid}:`;
    for (const name of this.local.names(`${scope}tab:`)) this.local.remove(name);
    for (const name of [`${scope}tab`, `${scope}resume`]) this.session.remove(name);
  }
}

/** @param {any} item */
function isItem(item) {
  const text = (/** @type {unknown} */ value) => typeof value === 'string' || value === null;
  return typeof item?.ref === 'string' && typeof item.text === 'string' && typeof item.at === 'number'
    && text(item.conversation) && text(item.to);
}

// Who comes in, and with what: a signed-in user by tokens that the page gives, an anonymous visitor, or anybody in
// open mode. Asks the cluster for the ticket that opens one socket, and for newer tokens before they run out.


/** @typedef {{query: Record<string, string>, token: string|null, uid: string|null, expires: {inMs: number}|{at: number}|null}} Entrance */

/** Why nobody was let in. */
class Refusal extends Error {
  /**
   * @param {string} code
   * @param {string} message
   * @param {{final?: boolean, retryAfterMs?: number, status?: number}} more
   */
  constructor(code, message, { final = false, retryAfterMs = 0, status = 0 } = {}) {
    super(message);
    this.code = code;
    this.final = final;
    this.retryAfterMs = retryAfterMs;
    this.status = status;
  }
}

class Identity {
  /**
   * @param {Options} options
   * @param {{fetch: typeof fetch, clock: Clock, local: Kept}} parts
   */
  constructor(options, { fetch, clock, local }) {
    this.options = options;
    this.fetch = fetch;
    this.clock = clock;
    this.local = local;
    this.refusals = 0;
    /**
     * In open mode: who the cluster said we are, so that the next socket is the same user's.
     * @type {string|undefined}
     */
    this.known = options.uid;
    /** Answers to what was asked before the user was forgotten are not kept. */
    this.era = 0;
    /** The last token was refused: the page is asked for another one. */
    this.refused = false;
    this.visitorName = `frontdesk:${options.site ?? 'default'}:visitor`;
  }

  get isVisitor() {
    return !this.options.open && !this.options.token;
  }

  /** Who it is, as far as that is known before anybody was asked. */
  get uid() {
    const visitor = this.isVisitor ? this.local.get(this.visitorName)?.uid : null;
    const uid = this.options.uid ?? visitor;
    return typeof uid === 'string' ? uid : null;
  }

  /**
   * What opens one socket.
   * @param {string} base
   * @returns {Promise<Entrance>}
   */
  async enter(base) {
    const { open, lang, site, role } = this.options;
    const query = definedOnly(lang ? { lang } : {});
    if (open) {
      const uid = this.known;
      return { query: definedOnly({ ...query, site, uid, role }), token: null, uid: uid ?? null, expires: null };
    }
    const entrance = this.isVisitor ? await this.visitor(base) : await this.ticket(base);
    this.refusals = 0;
    return { ...entrance, query: { ...query, ...entrance.query } };
  }

  /**
   * A newer token for the socket that there is.
   * @param {string} base
   * @returns {Promise<Entrance|null>}
   */
  async renew(base) {
    if (this.options.open) return null;
    if (this.isVisitor) return this.visitor(base);
    const token = await this.ask();
    return { query: {}, token, uid: claims(token).sub ?? null, expires: expiry(token) };
  }

  /** Was refused although the cluster had let it in, or was revoked. */
  forget() {
    this.era += 1;
    this.known = this.options.uid;
    if (this.isVisitor) this.local.remove(this.visitorName);
    this.refused = true;
  }

  /** @returns {Promise<string>} */
  async ask() {
    const asked = this.options.token?.({ refused: this.refused });
    const token = await withDeadline(this.clock, Promise.resolve(asked), 'no token came in time').catch((error) => {
      if (error instanceof Refusal) throw error;
      throw new Refusal('no_token', `the page's token(): ${error?.message ?? error}`);
    });
    if (token === null) throw new Refusal('signed_out', 'nobody is signed in', { final: true });
    if (typeof token !== 'string' || token === '') throw new Refusal('no_token', 'token() must give a text');
    this.refused = false;
    return token;
  }

  /**
   * @param {string} base
   * @returns {Promise<Entrance>}
   */
  async ticket(base) {
    for (let attempt = 0; ; attempt += 1) {
      const token = await this.ask();
      try {
        const answer = await this.post(`${base}/api/v1/tickets`, token, undefined);
        return { query: { ticket: String(answer.ticket) }, token, uid: claims(token).sub ?? null, expires: expiry(token) };
      } catch (error) {
        if (!(error instanceof Refusal) || error.status !== 401) throw error;
        this.refused = true;
        this.refusals += 1;
        if (this.refusals >= LIMITS.refusals) throw new Refusal('unauthorized', error.message, { final: true });
        if (attempt > 0) throw error; // a fresh one was refused, too: later
      }
    }
  }

  /**
   * The same visitor as before, or a new one.
   * @param {string} base
   * @returns {Promise<Entrance>}
   */
  async visitor(base) {
    const kept = this.local.get(this.visitorName);
    const token = typeof kept?.token === 'string' ? kept.token : null;
    const { site, lang } = this.options;
    const body = definedOnly({ site, lang });
    const { era } = this;
    let answer;
    try {
      answer = await this.post(`${base}/api/v1/visitors`, token, body);
    } catch (error) {
      if (!(error instanceof Refusal) || error.status !== 401 || token === null || era !== this.era) throw error;
      this.local.remove(this.visitorName);
      answer = await this.post(`${base}/api/v1/visitors`, null, body);
    }
    if (era !== this.era) throw new Refusal('forgotten', 'this visitor was forgotten meanwhile');
    const uid = String(answer.uid);
    this.local.set(this.visitorName, { token: answer.token, uid });
    const inMs = Number(answer.token_expires_in_s) * 1000;
    const expires = Number.isFinite(inMs) ? { inMs } : null;
    return { query: { ticket: String(answer.ticket) }, token: String(answer.token), uid, expires };
  }

  /**
   * @param {string} url
   * @param {string|null} token
   * @param {object|undefined} body
   */
  async post(url, token, body) {
    /** @type {Record<string, string>} */
    const headers = {};
    if (token !== null) headers['Authorization'] = `Bearer ${token}`;
    if (body) headers['Content-Type'] = 'application/json';
    const abort = new AbortController();
    const asking = (async () => {
      const text = body ? { body: JSON.stringify(body) } : {};
      const answer = await this.fetch(url, {
        method: 'POST', headers, ...text, signal: abort.signal, credentials: 'omit', cache: 'no-store', redirect: 'error',
      });
      if (!answer.ok) throw await refusalOf(answer, this.clock);
      return answer.json();
    })();
    try {
      return await withDeadline(this.clock, asking, 'the server did not answer in time');
    } catch (error) {
      abort.abort();
      if (error instanceof Refusal) throw error;
      throw new Refusal('unreachable', error instanceof Error ? error.message : String(error));
    }
  }
}

/**
 * @param {Response} answer
 * @param {Clock} clock
 */
async function refusalOf(answer, clock) {
  const { status } = answer;
  const text = (await answer.text().catch(() => '')).trim();
  const { detail, title, retry_after_ms: ms } = problemOf(text);
  const said = String(detail ?? title ?? text).slice(0, 300);
  const header = retryAfter(answer.headers.get('retry-after'), clock.wall());
  const retryAfterMs = Math.max(header, Math.min(Number(ms) || 0, LIMITS.retryAfterMs));
  // Whom the settings keep out will not be let in by asking again.
  const final = status >= 400 && status < 500 && ![401, 408, 425, 429].includes(status);
  const code = status === 401 ? 'unauthorized' : status === 403 ? 'forbidden' : `http_${status}`;
  return new Refusal(code, said || `HTTP ${status}`, { final, retryAfterMs, status });
}

/**
 * A problem as the HTTP API tells one (RFC 9457); a proxy says something else.
 * @param {string} text
 * @returns {Record<string, unknown>}
 */
function problemOf(text) {
  try {
    return Object(JSON.parse(text));
  } catch {
    return {};
  }
}

/**
 * `Retry-After` in ms: seconds or a date (RFC 9110 §10.2.3).
 * @param {string|null} text
 * @param {number} wall
 */
function retryAfter(text, wall) {
  if (!text) return 0;
  const ms = /^\d+$/.test(text.trim()) ? Number(text) * 1000 : Date.parse(text) - wall;
  return Number.isFinite(ms) ? Math.min(Math.max(ms, 0), LIMITS.retryAfterMs) : 0;
}

/**
 * What a token says; nobody here checks it.
 * @param {string} token
 * @returns {{sub?: string, exp?: number, role?: string}}
 */
function claims(token) {
  try {
    const part = token.split('.')[1].replace(/-/g, '+').replace(/_/g, '/');
    const bytes = Uint8Array.from(atob(part), (char) => char.charCodeAt(0));
    const said = JSON.parse(new TextDecoder().decode(bytes));
    return {
      ...(typeof said.sub === 'string' && { sub: said.sub }),
      ...(typeof said.role === 'string' && { role: said.role }),
      ...(typeof said.exp === 'number' && { exp: said.exp }),
    };
  } catch {
    return {};
  }
}

/** @param {string} token */
function expiry(token) {
  const { exp } = claims(token);
  return exp === undefined ? null : { at: exp * 1000 };
}

/**
 * @param {Record<string, string|undefined>} fields
 * @returns {Record<string, string>}
 */
function definedOnly(fields) {
  /** @type {Record<string, string>} */
  const defined = {};
  for (const [name, value] of Object.entries(fields)) if (value !== undefined) defined[name] = value;
  return defined;
}

/**
 * @template T
 * @param {Clock} clock
 * @param {Promise<T>} work
 * @param {string} late
 * @returns {Promise<T>}
 */
function withDeadline(clock, work, late) {
  return new Promise((resolve, reject) => {
    const timer = clock.setTimeout(() => reject(new Refusal('unreachable', late)), LIMITS.fetchMs);
    const done = () => clock.clearTimeout(timer);
    work.then(
      (value) => (done(), resolve(value)),
      (error) => (done(), reject(error)),
    );
  });
}

// One socket, and whether it is still alive. A network that has gone says nothing, and a laptop that slept believes in
// its sockets: so the client asks by itself (`PING`, answered `PONG`) after a while of silence and whenever something
// hints at a change, and gives a socket up that does not answer.



/** How much later than due a tick may come before the time since the last one counts as slept through. */
const LATE_MS = 2_000;
/** What may still be unread after a late tick is read within this. */
const GRACE_MS = 1_500;

class Link {
  /**
   * @param {{WebSocket: any, clock: Clock, url: string, frame: (frame: any) => void, closed: (code: number) => void}} parts
   */
  constructor({ WebSocket, clock, url, frame, closed }) {
    this.clock = clock;
    this.closed = closed;
    this.heard = clock.now();
    /** @type {number|null} since when an answer to `PING` is owed */
    this.asked = null;
    /** A late tick has asked, and nothing was heard since. */
    this.spared = false;
    this.giveUp = new Alarm(clock, () => this.drop());
    this.tickDue = clock.now() + LIMITS.tickMs;
    this.wallThen = clock.wall();
    this.isOpen = false;
    this.ticking = new Alarm(clock, () => this.tick());
    this.ticking.set(LIMITS.tickMs);
    /** @type {Socket} */
    this.socket = new WebSocket(url);
    this.socket.onopen = () => {
      this.isOpen = true;
    };
    this.socket.onmessage = ({ data }) => {
      this.heard = this.clock.now();
      this.asked = null;
      this.spared = false;
      this.giveUp.clear();
      if (typeof data !== 'string' || data === 'PONG') return;
      const parsed = parse(data);
      if (parsed) frame(parsed);
    };
    this.socket.onclose = ({ code }) => this.end(code);
    this.socket.onerror = () => {}; // a close follows, which says all that may be known
  }

  /** @param {string} text */
  send(text) {
    try {
      this.socket.send(text);
    } catch {
      this.drop(); // it is closing already
    }
  }

  /** Is anybody there? */
  probe() {
    if (!this.isOpen || this.asked !== null) return;
    this.asked = this.clock.now();
    this.send('PING');
  }

  tick() {
    const now = this.clock.now();
    const wall = this.clock.wall();
    // A timer that is late, or a wall clock that went on without ours: this machine slept, or was busy. Then what has
    // come meanwhile may still be unread, and the socket gets a new chance. One chance: in a hidden tab, whose timers
    // ring once a minute, every tick is late.
    const slept = now - this.tickDue > LATE_MS || Math.abs(wall - this.wallThen - LIMITS.tickMs) > 2 * LIMITS.tickMs;
    this.wallThen = wall;
    this.tickDue = now + LIMITS.tickMs;
    this.ticking.set(LIMITS.tickMs);
    if (slept && this.spared) {
      if (!this.giveUp.isSet) this.giveUp.set(GRACE_MS);
    } else if (slept) {
      this.asked = null;
      this.probe();
      this.spared = this.asked !== null;
    } else if (this.asked !== null) {
      if (now - this.asked >= LIMITS.pongMs) this.drop();
    } else if (now - this.heard >= LIMITS.quietMs) {
      this.probe();
    }
  }

  /** Gives the socket up; the user's place is kept. */
  drop() {
    this.close(GIVEN_UP);
    this.end(1006);
  }

  /**
   * Closes it without a word to `closed`.
   * @param {number} code
   */
  close(code) {
    this.forget();
    try {
      this.socket.close(code, code === GIVEN_UP ? 'given_up' : '');
    } catch {
      // it never opened
    }
  }

  forget() {
    this.ticking.clear();
    this.giveUp.clear();
    this.isOpen = false;
    this.socket.onopen = null;
    this.socket.onmessage = null;
    this.socket.onclose = null;
    this.socket.onerror = () => {}; // Node throws what nobody listens to
  }

  /** @param {number} code */
  end(code) {
    this.forget();
    this.closed(code);
  }
}

/**
 * @param {string} text
 * @returns {{action: string, payload: Record<string, any>}|null}
 */
function parse(text) {
  try {
    const { action, payload } = JSON.parse(text);
    if (typeof action !== 'string') return null;
    return { action, payload: typeof payload === 'object' && payload !== null ? payload : {} };
  } catch {
    return null;
  }
}

// From one socket to the next: who lets us in, when to come back, when to stop, and a newer token in time.
//
//   connecting ──welcome──▶ entering ──resume answered──▶ live
//       ▲                                                  │ lost
//       └────── waiting (full jitter, Retry-After) ◀───────┤
//                                                          └─▶ refused (close codes, answers that forbid it), stopped



/** What wakes a page, or its network. */
const WAKES = ['online', 'visibilitychange', 'pageshow', 'resume'];

class Session {
  /**
   * @param {{urls: string[], clock: Clock, identity: Identity, WebSocket: any,
   *   page: EventTarget|null, frame: (frame: {action: string, payload: any}) => void, isUser: (uid: string) => void,
   *   lost: () => void, changed: (change: StateChange) => void, problem: (error: unknown) => void,
   *   refresh: (token: string) => Promise<any>, hidden: () => void, back: () => void}} parts
   */
  constructor(parts) {
    this.parts = parts;
    this.clock = parts.clock;
    this.bases = parts.urls.map(baseOf);
    /** Which of them; another one after each failure. */
    this.base = Math.floor(this.clock.random() * this.bases.length);
    /** @type {State} */
    this.state = 'idle';
    this.backoff = new Backoff(() => this.clock.random());
    /** The same for newer tokens. */
    this.renewing = new Backoff(() => this.clock.random());
    /** What the server asked for with `Retry-After` ends then. */
    this.notBefore = -Infinity;
    this.retry = new Alarm(this.clock, () => void this.attempt());
    this.late = new Alarm(this.clock, () => this.link?.drop());
    this.proven = new Alarm(this.clock, () => this.backoff.reset());
    this.renewal = new Alarm(this.clock, () => void this.renew());
    /** @type {Link|null} */
    this.link = null;
    /** Whatever was begun for an earlier one is over. */
    this.epoch = 0;
    /** @type {Entrance|null} */
    this.entrance = null;
    this.wake = this.wake.bind(this);
    this.hide = this.hide.bind(this);
  }

  start() {
    if (!['idle', 'stopped', 'refused'].includes(this.state)) return;
    for (const name of WAKES) this.parts.page?.addEventListener(name, this.wake);
    this.parts.page?.addEventListener('offline', this.wake);
    this.parts.page?.addEventListener('pagehide', this.hide);
    this.backoff.reset();
    void this.attempt();
  }

  /**
   * @param {State} state
   * @param {number} code what the socket is closed with
   * @param {number|string|null} why
   */
  stop(state, code, why = null) {
    for (const name of WAKES) this.parts.page?.removeEventListener(name, this.wake);
    this.parts.page?.removeEventListener('offline', this.wake);
    this.parts.page?.removeEventListener('pagehide', this.hide);
    this.retry.clear();
    this.entrance = null;
    if (this.end(code)) this.become(state, why);
  }

  /**
   * @param {State} state
   * @param {number|string|null} [code]
   * @param {number|null} [retryInMs]
   */
  become(state, code = null, retryInMs = null) {
    if (this.state === state && state !== 'waiting') return;
    this.state = state;
    this.parts.changed({ state, code, retryInMs });
  }

  async attempt() {
    const epoch = ++this.epoch;
    this.retry.clear();
    this.become('connecting');
    if (epoch !== this.epoch) return;
    try {
      const entrance = await this.parts.identity.enter(this.bases[this.base]);
      if (epoch !== this.epoch) return;
      this.entrance = entrance;
      if (entrance.uid !== null) this.parts.isUser(entrance.uid);
      if (epoch === this.epoch) this.open(entrance, epoch);
    } catch (error) {
      if (epoch === this.epoch) this.failed(error);
    }
  }

  /**
   * @param {Entrance} entrance
   * @param {number} epoch
   */
  open({ query }, epoch) {
    const url = `${this.bases[this.base].replace(/^http/, 'ws')}/ws?${new URLSearchParams(query)}`;
    this.late.set(LIMITS.enterMs);
    this.link = new Link({
      WebSocket: this.parts.WebSocket,
      clock: this.clock,
      url,
      frame: (frame) => epoch === this.epoch && this.parts.frame(frame),
      closed: (code) => epoch === this.epoch && this.closed(code),
    });
  }

  /**
   * Nobody was let in, or is to stay.
   * @param {unknown} error
   * @param {number} code what a socket is closed with, if there is one
   */
  failed(error, code = 1000) {
    const refusal = error instanceof Refusal ? error : new Refusal('unreachable', String(error));
    const { epoch } = this;
    this.parts.problem({ code: refusal.code, message: refusal.message, field: null });
    if (epoch !== this.epoch) return;
    if (refusal.final) return this.stop('refused', code, refusal.code);
    this.comeBack(refusal.code, refusal.retryAfterMs);
  }

  /**
   * The socket has ended.
   * @param {number} code
   */
  closed(code) {
    if (code === 4501) this.parts.identity.forget();
    if (!this.end(null)) return;
    if (!comesBack(code)) return this.stop('refused', 1000, code);
    this.comeBack(code, 0);
  }

  /**
   * @param {number|string} code
   * @param {number} retryAfterMs
   */
  comeBack(code, retryAfterMs) {
    this.base = (this.base + 1) % this.bases.length;
    const pause = this.backoff.next(retryAfterMs);
    this.notBefore = this.clock.now() + Math.min(Math.max(retryAfterMs, 0), LIMITS.retryAfterMs);
    this.retry.set(pause);
    this.become('waiting', code, Math.round(pause));
  }

  /**
   * Takes the socket away. Returns whether nobody who heard of it has stopped or started the client meanwhile: what a
   * listener wants counts, here and wherever the epoch is looked at after something was told.
   * @param {number|null} code
   */
  end(code) {
    const epoch = ++this.epoch;
    for (const alarm of [this.late, this.proven, this.renewal]) alarm.clear();
    if (code !== null) this.link?.close(code);
    this.link = null;
    this.parts.lost();
    return epoch === this.epoch;
  }

  /** This socket is given up: come back by another one. */
  drop() {
    this.link?.drop();
  }

  /** @param {object} frame */
  send(frame) {
    this.link?.send(JSON.stringify(frame));
  }

  /**
   * The socket is registered.
   * @param {number} time the server's clock
   */
  welcomed(time) {
    this.renewing.reset();
    const expires = this.entrance?.expires ?? null;
    if (expires !== null) this.renewIn('inMs' in expires ? expires.inMs : expires.at - time);
  }

  /** Everything is known. */
  live() {
    this.late.clear();
    if (this.state !== 'live') this.proven.set(LIMITS.provenMs);
    this.become('live');
  }

  /**
   * The page, or its network, is back: look at once, but not before the server wants to be asked again.
   * @param {{type: string, persisted?: boolean}} event
   */
  wake(event) {
    if (event.type === 'pageshow' && event.persisted) this.parts.back();
    if (this.link) this.link.probe();
    else if (event.type !== 'offline' && this.retry.isSet) {
      this.retry.by(Math.max(this.notBefore - this.clock.now(), 0) + this.clock.random() * LIMITS.backoffMs);
    }
  }

  hide() {
    this.parts.hidden();
  }

  // --- tokens ---

  /**
   * A token has so long to live: a newer one goes out in time.
   * @param {number} leftMs
   */
  renewIn(leftMs) {
    if (Number.isFinite(leftMs)) this.renewal.set(Math.max(leftMs * (0.7 + 0.1 * this.clock.random()), 1000));
  }

  async renew() {
    const { epoch } = this;
    try {
      const entrance = await this.parts.identity.renew(this.bases[this.base]);
      if (epoch !== this.epoch || !entrance?.token) return;
      if (entrance.uid !== this.entrance?.uid) return this.isAnother(entrance);
      const { expires_in_s: left } = await this.parts.refresh(entrance.token);
      if (epoch !== this.epoch) return;
      this.renewing.reset();
      this.renewIn(Number(left) * 1000);
    } catch (error) {
      if (epoch === this.epoch) this.notRenewed(error);
    }
  }

  /**
   * The page is somebody else's now: nothing more goes out on this socket, which is still the one's before.
   * @param {Entrance} entrance
   */
  isAnother(entrance) {
    if (!this.end(GIVEN_UP)) return;
    const { epoch } = this;
    this.entrance = entrance;
    if (entrance.uid !== null) this.parts.isUser(entrance.uid);
    if (epoch === this.epoch) this.comeBack('identity_changed', 0);
  }

  /**
   * Without a newer token the socket closes with 4401, and coming back asks again.
   * @param {any} error
   */
  notRenewed(error) {
    // Who is signed out leaves; whom the settings keep out may have their place back if the page starts again.
    if (error instanceof Refusal && error.final) return this.failed(error, error.code === 'signed_out' ? 1000 : GIVEN_UP);
    if (error?.code === 'bad_token') this.parts.identity.refused = true;
    const retryAfterMs = error instanceof Refusal ? error.retryAfterMs : 0;
    this.renewal.set(this.renewing.next(Math.max(retryAfterMs, LIMITS.renewAgainMs)));
    this.parts.problem({ code: 'refresh_failed', message: String(error?.message ?? error), field: null });
  }
}

/**
 * `https://host[/path]` of any way to write it.
 * @param {string} url
 */
function baseOf(url) {
  const { protocol, host, pathname } = new URL(url);
  const scheme = protocol.replace(/^ws/, 'http');
  if (scheme !== 'http:' && scheme !== 'https:') throw new TypeError(`${url} is not where a gateway is`);
  return `${scheme}//${host}${pathname.replace(/\/(ws)?$/, '')}`;
}

// Entries of a log and messages, out of what frames say.


/**
 * What a push with a place in the log is there.
 * @type {Record<string, string>}
 */
const KINDS = { connected: 'assigned', new_customer: 'assigned', queued: 'requeued' };

/**
 * A pushed frame as an entry; `null` if it has no place in a log.
 * @param {string} action
 * @param {Payload} payload
 * @returns {Entry|null}
 */
function pushed(action, payload) {
  const { seq, id, prev, time, code, from, uid, message, of } = payload;
  if (!isPlace(payload)) return null;
  const words = typeof from === 'string';
  const kind = action === 'recalled' ? 'recalled' : words ? 'message'
    : action === 'message' ? KINDS[code] ?? 'notice' : 'ended';
  return {
    seq, id, prev: prev ?? null, time: time ?? 0, kind, code: code ?? null, from: from ?? null, uid: uid ?? null,
    text: words ? message ?? null : null, of: of ?? null, recalled: payload.recalled === true, told: true, message: null,
  };
}

/**
 * Whether there is a place in a log. What is not as docs/PROTOCOL.md says is not taken: a proxy or a script on the page may
 * have made it.
 * @param {Payload|null} payload
 */
function isPlace(payload) {
  const { seq, id } = payload ?? {};
  return Number.isSafeInteger(seq) && seq >= 1 && typeof id === 'string';
}

/**
 * A number that counts something.
 * @param {unknown} value
 */
function count(value) {
  return Number.isSafeInteger(value) ? Math.max(/** @type {number} */ (value), 0) : 0;
}

/**
 * A list, whatever came in its place.
 * @param {unknown} value
 * @returns {Payload[]}
 */
function list(value) {
  return Array.isArray(value) ? value.filter((item) => typeof item === 'object' && item !== null) : [];
}

/**
 * The entries of a `history` frame, in their order.
 * @param {Payload} payload
 */
function entriesOf(payload) {
  return list(payload.entries).filter(isPlace).map(logged);
}

/**
 * An entry of a `history` frame.
 * @param {Payload} line
 * @returns {Entry}
 */
function logged(line) {
  const { seq, id, prev, time, kind, from, uid, message, reason, of } = line;
  return {
    seq, id, prev: prev ?? null, time, kind, code: null, from: from ?? null, uid: uid ?? null,
    text: message ?? reason ?? null, of: of ?? null, recalled: line.recalled === true, told: true, message: null,
  };
}

/**
 * What an ack says of one's own message.
 * @param {Payload} ack
 * @param {Message} message
 * @returns {Entry}
 */
function acknowledged(ack, message) {
  return {
    seq: ack.seq, id: ack.id, prev: null, time: ack.time, kind: 'message', code: null, from: null, uid: message.uid,
    text: message.text, of: null, recalled: false, told: false, message,
  };
}

/**
 * A message that this client sends.
 * @param {{ref: string, text: string, conversation: string|null, to: string|null, uid: string|null, sent: boolean}} said
 * @returns {Message}
 */
function own({ ref, text, conversation, to, uid, sent }) {
  return {
    ref, conversation, to, seq: null, id: null, time: null, from: null, uid, mine: true, text, recalled: false,
    state: sent ? 'sent' : 'queued', code: null,
  };
}

/**
 * A message that the log shows.
 * @param {string} conversation
 * @param {Entry} entry
 * @param {boolean} mine
 * @returns {Message}
 */
function shown(conversation, entry, mine) {
  const { seq, id, time, from, uid, recalled } = entry;
  return {
    ref: null, conversation, to: null, seq, id, time, from, uid, mine, text: recalled ? null : entry.text, recalled,
    state: 'stored', code: null,
  };
}

// What is known of one conversation: an unbroken run of entries, each fitting the one before (`prev`), and what came
// before its turn. Only the run is shown, so what is shown has no hole, no double and no other order than the log's.
//
// What was only acknowledged is shown too, but no position: an ack does not say what came before. `anchor` is the last
// entry up to which everything was told; what lies beyond gives way to the answer of `resume`.


/** @typedef {'taken'|'known'|'early'|'wrong'} Taken */

class View {
  constructor() {
    /** @type {number|null} place of the first entry that is kept; `null` until it is known where the view begins */
    this.first = null;
    /** @type {Entry[]} */
    this.entries = [];
    /** @type {Map<number, Entry>} */
    this.ahead = new Map();
    /** @type {{seq: number, id: string}|null} */
    this.anchor = null;
    /** The last place that was shown. */
    this.shown = 0;
    /**
     * The position of the last `resume`.
     * @type {{seq: number, id: string}|null}
     */
    this.asked = null;
    /** Its answer is to come: until then everything is early. */
    this.awaiting = false;
    /**
     * What was beyond that position, by id.
     * @type {Map<string, Entry>}
     */
    this.stash = new Map();
  }

  /** The last place of the run. */
  get end() {
    return (this.first ?? 1) + this.entries.length - 1;
  }

  /** Whether something is known to be missing. */
  get hasGap() {
    return this.ahead.size > 0;
  }

  /** Nothing was ever said, or nothing before this: the view begins at the beginning. */
  begin() {
    if (this.first === null) this.first = 1;
  }

  /** @param {number} seq */
  at(seq) {
    return this.first === null ? null : this.entries[seq - this.first] ?? null;
  }

  /**
   * Takes an entry as it comes.
   * @param {Entry} entry
   * @returns {Taken}
   */
  take(entry) {
    if (this.first === null && entry.seq === 1) this.begin();
    if (this.first === null || this.awaiting || entry.seq > this.end + 1) return this.takeEarly(entry);
    if (entry.seq < this.first) return 'known';
    const known = this.at(entry.seq);
    if (known) return this.confirm(known, entry);
    const taken = this.append(entry);
    return taken === 'wrong' ? taken : this.drain() ? 'taken' : 'wrong';
  }

  /**
   * The same place again.
   * @param {Entry} known
   * @param {Entry} entry
   * @returns {Taken}
   */
  confirm(known, entry) {
    if (known.id !== entry.id) return 'wrong';
    known.message ??= entry.message;
    if (!entry.told || known.told) return 'known';
    const before = this.at(known.seq - 1);
    if (before && entry.prev !== null && entry.prev !== before.id) return 'wrong';
    Object.assign(known, { ...entry, message: known.message });
    this.advance(known);
    return 'known';
  }

  /**
   * @param {Entry} entry
   * @returns {Taken}
   */
  takeEarly(entry) {
    const other = this.ahead.get(entry.seq);
    if (other && other.id !== entry.id && !this.awaiting) return 'wrong';
    this.ahead.set(entry.seq, other && other.id === entry.id && other.told && !entry.told
      ? Object.assign(other, { message: other.message ?? entry.message })
      : { ...entry, message: entry.message ?? (other?.id === entry.id ? other.message : null) });
    // Beyond the bound the last ones give way: they are asked for with the gap.
    if (this.ahead.size > LIMITS.ahead) this.ahead.delete(Math.max(...this.ahead.keys()));
    return 'early';
  }

  /**
   * The next entry of the run.
   * @param {Entry} entry
   * @returns {Taken}
   */
  append(entry) {
    const before = this.entries[this.entries.length - 1];
    if (before && entry.prev !== null && entry.prev !== before.id) return 'wrong';
    this.entries.push(entry);
    this.advance(entry);
    if (this.entries.length > LIMITS.entries) {
      this.entries.splice(0, LIMITS.page);
      this.first = (this.first ?? 1) + LIMITS.page;
    }
    return 'taken';
  }

  /** @param {Entry} entry */
  advance(entry) {
    if (entry.told && entry.seq >= (this.anchor?.seq ?? 0)) this.anchor = { seq: entry.seq, id: entry.id };
  }

  /** Takes what was early and is next. Returns whether it fits. */
  drain() {
    for (const seq of this.ahead.keys()) if (seq <= this.end) this.ahead.delete(seq);
    for (;;) {
      const next = this.ahead.get(this.end + 1);
      if (!next) return true;
      this.ahead.delete(next.seq);
      if (this.append(next) === 'wrong') return false;
    }
  }

  /** The position that a `resume` names. */
  position() {
    this.asked = this.anchor;
    return this.anchor;
  }

  /** The `resume` is answered, with what comes after the position: what is beyond that gives way. */
  await() {
    this.awaiting = true;
    this.anchor = this.asked;
    const keep = this.asked === null ? 0 : this.asked.seq - (this.first ?? 1) + 1;
    const own = [...this.ahead.values()].filter((entry) => entry.message?.ref);
    const beyond = this.entries.splice(Math.max(keep, 0));
    this.stash = new Map([...own, ...beyond].map((entry) => [entry.id, entry]));
    this.ahead.clear();
    // One's own words may have pushed the position out of what is kept: the answer begins there all the same.
    if (this.first !== null) this.first = Math.min(this.first, (this.asked?.seq ?? 0) + 1);
  }

  /**
   * The answer, oldest first. Returns what was there and is not in the log, or `null` if the answer does not fit.
   * @param {Entry[]} entries
   * @param {boolean} more
   * @returns {Entry[]|null}
   */
  answer(entries, more) {
    this.awaiting = false;
    for (const entry of entries) {
      const known = this.stash.get(entry.id);
      if (known) entry.message ??= known.message;
      this.stash.delete(entry.id);
      if (entry.seq !== this.end + 1 || this.append(entry) === 'wrong') return null;
    }
    const lost = [];
    for (const entry of this.stash.values()) {
      if (entry.seq <= this.end || !more) lost.push(entry);
      else this.ahead.set(entry.seq, { ...entry, told: false });
    }
    this.stash.clear();
    return this.drain() ? lost : null;
  }

  /**
   * Begins anew with these, oldest first. Returns one's own messages that were there and are not any more. What came
   * since and follows them stays early.
   * @param {Entry[]} entries
   */
  reset(entries) {
    entries = unbroken(entries);
    const before = [...this.entries, ...this.stash.values()];
    const first = entries[0]?.seq ?? Infinity;
    this.first = entries[0]?.seq ?? null;
    this.entries = [];
    this.stash.clear();
    this.anchor = null;
    this.awaiting = false;
    const known = new Map([...this.ahead.values(), ...before].map((entry) => [entry.id, entry]));
    for (const entry of entries) {
      entry.message = known.get(entry.id)?.message ?? entry.message;
      known.delete(entry.id);
      this.append(entry);
    }
    for (const entry of [...this.ahead.values()]) {
      if (entries.length === 0 || entry.seq <= this.end) {
        this.ahead.delete(entry.seq);
      } else {
        entry.message ??= known.get(entry.id)?.message ?? null;
        known.delete(entry.id);
      }
    }
    this.shown = this.end;
    return [...known.values()].filter((entry) => entry.seq >= first && entry.message?.mine);
  }

  /**
   * The newest page was read: the view begins with it. Returns whether what was early fits.
   * @param {Entry[]} entries oldest first
   */
  load(entries) {
    if (this.first !== null) return true;
    entries = unbroken(entries);
    const early = this.ahead;
    this.first = entries[0]?.seq ?? 1;
    this.shown = this.first - 1;
    for (const entry of entries) {
      const known = early.get(entry.seq);
      if (known?.id === entry.id) entry.message ??= known.message;
      if (this.append(entry) === 'wrong') return false;
    }
    return this.drain();
  }

  /**
   * An older page goes before the run.
   * @param {Entry[]} entries oldest first
   */
  prepend(entries) {
    const fitting = unbroken(entries.filter((entry) => entry.seq < (this.first ?? 1)));
    if (this.first === null || fitting.length === 0 || this.entries.length > 2 * LIMITS.entries) return;
    if (fitting[fitting.length - 1].seq !== this.first - 1) return;
    this.entries.unshift(...fitting);
    this.first = fitting[0].seq;
  }

  /**
   * Shows what has not been shown, in order, up to the first that is to wait.
   * @param {(entry: Entry) => boolean} waits
   * @param {(entry: Entry) => void} show
   */
  show(waits, show) {
    if (this.first === null) return;
    this.shown = Math.max(this.shown, this.first - 1);
    for (let entry = this.at(this.shown + 1); entry && !waits(entry); entry = this.at(this.shown + 1)) {
      this.shown = entry.seq;
      show(entry);
    }
  }
}

/**
 * The end of a page up to which it has no hole: all of it, from a server that is one.
 * @param {Entry[]} entries oldest first
 */
function unbroken(entries) {
  let from = Math.max(entries.length - 1, 0);
  while (from > 0 && entries[from - 1].seq === entries[from].seq - 1) from -= 1;
  return entries.slice(from);
}

// How far this user has got: `delivered` by itself, `read` when the page says so. Marks are not answered, only move
// forward, and one is enough for any number of messages: the latest goes out after a moment, and again on a new
// socket whose snapshot does not have it.


/** @typedef {{delivered: number, read: number}} Mark */

class Marks {
  /**
   * @param {{clock: Clock, send: (frame: object) => void, isOver: (conversation: string) => boolean}} parts
   */
  constructor({ clock, send, isOver }) {
    this.clock = clock;
    this.send = send;
    this.isOver = isOver;
    /** @type {Map<string, Mark>} what this user has got */
    this.wanted = new Map();
    /** @type {Map<string, Mark>} what the server knows, or is on its way to it */
    this.told = new Map();
    /** @type {{conversation: string, at: number, before: Mark}[]} what may still be refused */
    this.recent = [];
    this.isLive = false;
    /** After a refusal: nothing before, one at a time, and longer after each. */
    this.notBefore = -Infinity;
    this.refusals = 0;
    this.telling = new Alarm(clock, () => this.tell());
  }

  /**
   * @param {string} conversation
   * @param {'delivered'|'read'} mark
   * @param {number} upTo
   */
  want(conversation, mark, upTo) {
    const wanted = this.of(this.wanted, conversation);
    if (wanted[mark] >= upTo) return;
    wanted[mark] = upTo;
    this.telling.by(LIMITS.markMs);
  }

  /**
   * What the server says of them.
   * @param {string} conversation
   * @param {Mark} mark
   */
  know(conversation, { delivered, read }) {
    this.told.set(conversation, { delivered, read });
    this.recent = this.recent.filter((told) => told.conversation !== conversation);
  }

  /** @param {boolean} isLive */
  live(isLive) {
    this.isLive = isLive;
    if (isLive) this.telling.by(0);
  }

  /**
   * One of those that were told a moment ago may have been refused: these again, not before this. What the server asks
   * for is the time to one frame, so it is not waited for alone.
   * @param {number} ms
   */
  again(ms) {
    const now = this.clock.now();
    this.fade(now);
    if (this.recent.length === 0) return;
    for (const { conversation, before } of this.recent.splice(0).reverse()) this.told.set(conversation, before);
    if (now >= this.notBefore) this.refusals += 1;
    const wait = Math.min(LIMITS.backoffMs * 2 ** (this.refusals - 1), LIMITS.backoffMaxMs);
    this.notBefore = now + Math.max(ms, wait * (1 + this.clock.random() / 4));
    this.telling.set(this.notBefore - now);
  }

  /**
   * What was told long ago was taken.
   * @param {number} now
   */
  fade(now) {
    this.recent = this.recent.filter(({ at }) => now - at < LIMITS.markRefusedMs);
    if (this.recent.length === 0 && now - this.notBefore >= LIMITS.backoffMaxMs) this.refusals = 0;
  }

  /** Tells some, and the rest a moment later: each frame counts for the user's rate. */
  tell() {
    if (!this.isLive) return;
    const now = this.clock.now();
    if (now < this.notBefore) return this.telling.by(this.notBefore - now);
    this.fade(now);
    let room = this.refusals > 0 ? 1 : LIMITS.marks;
    for (const [conversation, wanted] of [...this.wanted]) {
      const told = this.of(this.told, conversation);
      const before = { ...told };
      // Who has read has been delivered.
      const mark = wanted.read > told.read ? 'read' : wanted.delivered > told.delivered ? 'delivered' : null;
      if (mark === null) {
        this.prune(conversation);
        continue;
      }
      if (room === 0) return this.telling.by(LIMITS.markMs);
      room -= 1;
      told[mark] = wanted[mark];
      told.delivered = Math.max(told.delivered, told.read);
      this.recent.push({ conversation, at: now, before });
      this.send({ action: mark, payload: { conversation, up_to: wanted[mark] } });
      if (wanted.delivered > told.delivered) this.telling.by(LIMITS.markMs);
    }
  }

  /**
   * Everything is told of a conversation: when it is over nothing more is to come.
   * @param {string} conversation
   */
  prune(conversation) {
    if (!this.isOver(conversation) || this.recent.some((told) => told.conversation === conversation)) return;
    this.wanted.delete(conversation);
    this.told.delete(conversation);
  }

  /** It is somebody else now. */
  clear() {
    this.wanted.clear();
    this.told.clear();
    this.recent = [];
    this.telling.clear();
  }

  /**
   * @param {Map<string, Mark>} marks
   * @param {string} conversation
   */
  of(marks, conversation) {
    const mark = marks.get(conversation) ?? { delivered: 0, read: 0 };
    marks.set(conversation, mark);
    return mark;
  }
}

// What is missing of conversations, by pages of `history`: the newest one to begin with, what comes after, what came before.



/** How long a conversation of which only the middle was told may begin by itself: the kept words follow. */
const BEGIN_MS = 300;

class Pages {
  /**
   * @param {Host} host
   * @param {Conversations} conversations
   */
  constructor(host, conversations) {
    this.host = host;
    this.conversations = conversations;
    this.missing = new Alarm(host.clock, () => this.lookForGaps());
    this.beginning = new Alarm(host.clock, () => this.loadWhatBegan());
  }

  /**
   * A push came out of turn.
   * @param {Known} known
   */
  hasGap({ view }) {
    if (view.first === null) this.beginning.by(BEGIN_MS);
    else if (!view.awaiting) this.missing.by(LIMITS.patienceMs);
  }

  /** The histories have come: is there more anywhere? */
  resumed() {
    for (const known of [...this.conversations.all.values()]) {
      const { info, view } = known;
      if (view.first !== null && !view.awaiting && info.seq > view.end && info.state !== 'ended') void this.catchUp(known);
    }
  }

  lookForGaps() {
    const gaps = [...this.conversations.all.values()].filter(({ view, busy }) => view.first !== null && view.hasGap && !view.awaiting && !busy);
    if (gaps.length > 0) this.host.resume();
  }

  loadWhatBegan() {
    for (const { info, view } of [...this.conversations.all.values()]) if (view.first === null && view.hasGap) void this.load(info.id);
  }

  /**
   * Reads on from where the run ends; what would be too long begins anew.
   * @param {Known} known
   */
  async catchUp(known) {
    const { info, view } = known;
    if (known.busy) return;
    if (info.seq - view.end > LIMITS.catchUp) return this.beginAnew(known);
    await this.busily(known, async () => {
      for (let more = true; more; ) {
        const { end } = view;
        const page = await this.host.ask('history', { conversation: info.id, after: end, limit: 100 });
        if (view.awaiting) return;
        for (const entry of entriesOf(page)) if (view.take(entry) === 'wrong') return this.host.resume();
        this.conversations.show(known);
        more = page.more === true && view.end > end;
      }
    });
  }

  /** @param {Known} known */
  beginAnew(known) {
    return this.busily(known, async () => {
      const page = await this.host.ask('history', { conversation: known.info.id, limit: LIMITS.page });
      if (known.view.awaiting) return;
      const lost = known.view.reset(entriesOf(page).reverse());
      this.conversations.redraw(known, lost, false);
    });
  }

  /**
   * Sees to it that the newest page of a conversation is here.
   * @param {string} id
   */
  async load(id) {
    const known = this.conversations.of(id);
    if (known.view.first !== null || known.busy) return;
    await this.busily(known, async () => {
      const page = await this.host.ask('history', { conversation: id, limit: LIMITS.page });
      const fits = known.view.load(entriesOf(page).reverse());
      if (!fits) this.host.resume();
      this.conversations.show(known);
      if (known.view.hasGap) this.missing.by(LIMITS.patienceMs);
    });
  }

  /**
   * The page before what there is. Returns its messages, oldest first, and whether there are older ones.
   * @param {string} id
   */
  async older(id) {
    const known = this.conversations.of(id);
    const { view } = known;
    if (view.first === null) await this.load(id);
    const before = view.first ?? 1;
    if (before <= 1) return { messages: [], more: false };
    const page = await this.host.ask('history', { conversation: id, before, limit: LIMITS.page });
    const entries = entriesOf(page).reverse();
    view.prepend(entries);
    const said = entries.filter((entry) => entry.kind === 'message');
    return { messages: said.map((entry) => this.conversations.messageOf(known, entry)), more: page.more === true };
  }

  /**
   * One at a time for a conversation. What is refused or never answered leaves things as they are: the next `resume`
   * looks again.
   * @param {Known} known
   * @param {() => Promise<void>} work
   */
  async busily(known, work) {
    known.busy = true;
    try {
      await work();
    } catch (error) {
      const problem = /** @type {Problem} */ (error);
      if (problem.code !== 'stopped') this.host.emit('error', problem);
    } finally {
      known.busy = false;
    }
  }
}

// All conversations of this user, as far as they are known here: how they stand, what was said in them, and what is
// missing. What is missing or does not fit is asked for: by `resume` where the log is to judge it, by `history` for
// pages before and after.


/**
 * @typedef {object} Known
 * @property {Conversation} info
 * @property {View} view
 * @property {'customer'|'staff'|null} side this user's
 * @property {boolean} busy pages are on their way
 * @property {number} counted up to where `unread` counts
 */
/**
 * @typedef {object} Host
 * @property {Clock} clock
 * @property {() => string|null} me
 * @property {() => 'customer'|'staff'|null} side as far as the role says
 * @property {(name: string, detail: unknown) => void} emit
 * @property {() => void} resume asks how everything stands
 * @property {(action: string, payload: object) => Promise<Payload>} ask
 * @property {(conversation: string, text: string|null) => boolean} mayBe
 * @property {(conversation: string, mark: 'delivered'|'read', upTo: number) => void} mark
 */

class Conversations {
  /** @param {Host} host */
  constructor(host) {
    this.host = host;
    /**
     * The last changed at the end: whoever looks one up moves it, so loops go over a copy.
     * @type {Map<string, Known>}
     */
    this.all = new Map();
    this.pages = new Pages(host, this);
  }

  /** @param {string} id */
  of(id) {
    const known = this.all.get(id) ?? {
      info: {
        id, state: 'ended', with: null, name: null, queue: null, seq: 0, unread: 0, read: 0, delivered: 0, peerRead: 0,
        peerDelivered: 0, last: null,
      },
      view: new View(),
      side: this.host.side(),
      busy: false,
      counted: 0,
    };
    this.all.delete(id);
    this.all.set(id, known);
    if (this.all.size > LIMITS.conversations) this.evict();
    return known;
  }

  evict() {
    const over = [...this.all].find(([, known]) => known.info.state === 'ended') ?? [...this.all][0];
    this.all.delete(over[0]);
  }

  /** Those that can be talked in; direct ones are not among them. */
  get open() {
    return [...this.all.values()].filter(({ info }) => info.state === 'open' || info.state === 'waiting');
  }

  get infos() {
    return [...this.all.values()].map((known) => known.info).reverse();
  }

  get unread() {
    return [...this.all.values()].reduce((sum, { info }) => sum + info.unread, 0);
  }

  /**
   * @param {string} id
   * @returns {Message[]}
   */
  messages(id) {
    const view = this.all.get(id)?.view;
    if (!view) return [];
    const entries = view.entries.filter((entry) => entry.kind === 'message' && entry.message && entry.seq <= view.shown);
    return entries.map((entry) => /** @type {Message} */ (entry.message));
  }

  /**
   * One's own message with these words that was not said here.
   * @param {string|null} conversation
   * @param {string} text
   */
  find(conversation, text) {
    const messages = conversation === null ? [] : this.messages(conversation);
    return messages.find((message) => message.mine && message.ref === null && message.text === text) ?? null;
  }

  // --- what is told ---

  /**
   * A push. Returns its conversation.
   * @param {string} action
   * @param {Payload} payload
   */
  push(action, payload) {
    const { conversation, code } = payload;
    if (typeof conversation !== 'string') return;
    const isNew = !this.all.has(conversation);
    const known = this.of(conversation);
    const { info } = known;
    const before = JSON.stringify(info);
    if (['queued', 'still_queued', 'no_staff', 'your_turn'].includes(code)) {
      known.side = 'customer';
      info.state = 'waiting';
      if (isNew && !payload.seq) known.view.begin();
    } else if (code === 'connected') {
      known.side = 'customer';
      Object.assign(info, { state: 'open', name: payload.name ?? info.name });
    } else if (code === 'new_customer') {
      known.side = 'staff';
      Object.assign(info, { state: 'open', with: payload.customer ?? null });
    } else if (action === 'chat_close' || action === 'queue_close') {
      info.state = 'ended';
    } else if (isNew && (payload.from === 'customer' || payload.from === 'staff')) {
      info.state = 'open';
    } else if (payload.from === 'user') {
      info.state = 'direct';
      info.with ??= payload.uid === this.host.me() ? null : payload.uid;
    }
    this.placeInQueue(known, code === 'queued' ? payload.queue ?? null : info.state === 'waiting' ? info.queue : null);
    const entry = pushed(action, payload);
    if (entry) this.take(known, entry);
    if (JSON.stringify(info) !== before) this.host.emit('conversation', info);
    return conversation;
  }

  /**
   * @param {Known} known
   * @param {number|null} place
   */
  placeInQueue({ info }, place) {
    if (info.queue === place) return;
    info.queue = place;
    this.host.emit('queue', { conversation: info.id, place });
  }

  /** @param {number} place */
  queueMoved(place) {
    const waiting = this.open.find(({ info }) => info.state === 'waiting');
    if (waiting) this.placeInQueue(waiting, place);
  }

  /** One has gone off duty: the conversations are others', or over. */
  offDuty() {
    for (const { info, side } of this.open) {
      if (side !== 'staff') continue;
      info.state = 'ended';
      this.host.emit('conversation', info);
    }
  }

  /**
   * One's own message is stored.
   * @param {Payload} payload
   * @param {Message} message
   */
  acked(payload, message) {
    const known = this.of(payload.conversation);
    if (message.to !== null) Object.assign(known.info, { state: 'direct', with: message.to });
    Object.assign(message, { conversation: payload.conversation, seq: payload.seq, id: payload.id, time: payload.time });
    this.settle(known, message);
    this.take(known, acknowledged(payload, message));
    this.host.emit('update', message);
  }

  /**
   * What has become of one's own message.
   * @param {Known} known
   * @param {Message} message
   */
  settle({ info }, message) {
    const seq = message.seq ?? Infinity;
    message.state = seq <= info.peerRead ? 'read' : seq <= info.peerDelivered ? 'delivered' : 'stored';
  }

  /** @param {Payload} payload */
  receipt({ conversation, uid, delivered, read, unread }) {
    if (typeof conversation !== 'string') return;
    const known = this.of(conversation);
    if (uid === this.host.me()) {
      Object.assign(known.info, { delivered: count(delivered), read: count(read) });
      if (typeof unread === 'number') this.setUnread(known, count(unread));
    } else {
      Object.assign(known.info, { peerDelivered: count(delivered), peerRead: count(read) });
      this.settleAll(known);
    }
    this.host.emit('receipt', { conversation, uid, delivered, read });
  }

  /** @param {Known} known */
  settleAll(known) {
    for (const { message } of known.view.entries) {
      if (!message?.mine || message.state === 'failed') continue;
      const before = message.state;
      this.settle(known, message);
      if (message.state !== before) this.host.emit('update', message);
    }
  }

  /**
   * @param {Known} known
   * @param {number} unread
   */
  setUnread({ info }, unread) {
    if (info.unread === unread) return;
    info.unread = unread;
    this.host.emit('unread', { conversation: info.id, unread, total: this.unread });
  }

  /**
   * The page has shown everything up to there.
   * @param {string} id
   * @param {number} [upTo]
   */
  read(id, upTo) {
    const known = this.all.get(id);
    if (!known) return;
    const { info, view } = known;
    const seq = Math.min(upTo ?? Infinity, Math.max(view.shown, view.first === null ? info.seq : 0));
    if (seq <= info.read || seq < 1) return;
    info.read = seq;
    this.host.mark(id, 'read', seq);
    const left = view.entries.filter((entry) => entry.seq > seq && entry.seq <= view.shown && entry.kind === 'message'
      && !entry.message?.mine);
    this.setUnread(known, left.length);
  }

  // --- taking and showing ---

  /**
   * @param {Known} known
   * @param {Entry} entry
   */
  take(known, entry) {
    const { info, view } = known;
    info.seq = Math.max(info.seq, entry.seq);
    const taken = view.take(entry);
    if (taken === 'wrong') this.host.resume();
    else if (view.hasGap) this.pages.hasGap(known);
    this.show(known);
  }

  /** Shows what may be shown. */
  showAll() {
    for (const known of [...this.all.values()]) this.show(known);
  }

  /** @param {Known} known */
  show(known) {
    const { info, view } = known;
    // One's own words that were sent and not acknowledged: the ack will say whether these are they.
    const waits = (/** @type {Entry} */ entry) => entry.kind === 'message' && entry.message === null
      && this.isMine(known, entry) && this.host.mayBe(info.id, entry.text);
    view.show(waits, (entry) => this.shows(known, entry));
  }

  /**
   * @param {Known} known
   * @param {Entry} entry
   */
  isMine({ info, side }, entry) {
    if (entry.uid !== null) return entry.uid === this.host.me();
    return side !== null && info.state !== 'direct' && entry.from === side;
  }

  /**
   * @param {Known} known
   * @param {Entry} entry
   */
  shows(known, entry) {
    const { info, view } = known;
    if (entry.kind === 'message') this.showsMessage(known, entry);
    if (entry.kind === 'recalled' && entry.of !== null) this.takesBack(view.at(entry.of)?.message ?? null);
    if (entry.kind === 'ended' && info.state !== 'ended') {
      info.state = 'ended';
      this.host.emit('conversation', info);
    }
    this.host.emit('entry', { conversation: info.id, ...entry });
  }

  /**
   * @param {Known} known
   * @param {Entry} entry
   */
  showsMessage(known, entry) {
    const { info } = known;
    const wasSaid = entry.message !== null; // said here: it is shown since then
    const message = this.messageOf(known, entry);
    if (!message.mine) {
      if (entry.seq > known.counted) this.setUnread(known, info.unread + 1);
      known.counted = Math.max(known.counted, entry.seq);
      if (entry.seq > info.delivered) this.host.mark(info.id, 'delivered', entry.seq);
    }
    if (!wasSaid) this.host.emit('message', message);
  }

  /**
   * The message of an entry, the same one always.
   * @param {Known} known
   * @param {Entry} entry
   */
  messageOf(known, entry) {
    if (entry.message) return entry.message;
    entry.message = shown(known.info.id, entry, this.isMine(known, entry));
    if (entry.message.mine) this.settle(known, entry.message);
    return entry.message;
  }

  /** @param {Message|null} message */
  takesBack(message) {
    if (!message || message.recalled) return;
    Object.assign(message, { recalled: true, text: null });
    this.host.emit('update', message);
  }

  // --- resuming ---

  /** What `resume` names: those that go on first, then the last changed. */
  positions() {
    const all = [...this.all.values()].reverse().filter(({ view }) => view.first !== null);
    const over = (/** @type {Known} */ known) => (known.info.state === 'ended' ? 1 : 0);
    all.sort((a, b) => over(a) - over(b));
    return all.slice(0, LIMITS.positions).map(({ info, view }) => {
      const position = view.position();
      return position === null ? { conversation: info.id, seq: 0 } : { conversation: info.id, ...position };
    });
  }

  /**
   * How everything stands.
   * @param {Payload} payload
   * @param {string[]} asked the conversations of which the histories follow
   */
  snapshot(payload, asked) {
    const items = list(payload.conversations).filter(({ conversation }) => typeof conversation === 'string');
    const named = new Set(items.map((item) => item.conversation));
    for (const { info } of this.open) {
      if (named.has(info.id) || payload.more) continue;
      info.state = 'ended';
      this.host.emit('conversation', info);
    }
    for (const item of [...items].reverse()) this.stands(item);
    for (const id of asked) this.all.get(id)?.view.await();
    for (const { info, view } of this.open) {
      if (view.first !== null) continue;
      if (info.seq === 0) view.begin();
      else void this.pages.load(info.id);
    }
  }

  /** @param {Payload} item of a snapshot */
  stands(item) {
    const known = this.of(item.conversation);
    const { info } = known;
    if (item.state === 'waiting') known.side = 'customer';
    if (item.state === 'open') known.side ??= item.name === undefined ? 'staff' : 'customer';
    known.counted = Math.max(known.counted, count(item.seq));
    this.setUnread(known, count(item.unread));
    Object.assign(info, standing(item), { queue: info.queue });
    this.placeInQueue(known, item.queue ?? null);
    this.settleAll(known);
    this.host.emit('conversation', info);
  }

  /**
   * What came after a position. Returns whether it fits.
   * @param {Payload} payload
   */
  history(payload) {
    const known = this.all.get(payload.conversation);
    if (!known) return;
    const { view } = known;
    const entries = entriesOf(payload);
    const lost = payload.reset ? view.reset(entries) : view.answer(entries, payload.more === true);
    if (lost === null) return this.host.resume();
    if (payload.reset || lost.length > 0) this.redraw(known, lost, entries.length === 0 && payload.reset);
    if (!payload.reset && payload.more) void this.pages.catchUp(known);
    this.show(known);
  }

  /**
   * Redis has lost writes, or the conversation has expired: what was shown is not what is written.
   * @param {Known} known
   * @param {Entry[]} lost
   * @param {boolean} gone
   */
  redraw(known, lost, gone) {
    const { info, view } = known;
    for (const { message } of lost) {
      if (!message?.mine) continue;
      Object.assign(message, { state: 'failed', code: 'lost' });
      this.host.emit('update', message);
    }
    for (const entry of view.entries) if (entry.kind === 'message') this.messageOf(known, entry);
    view.shown = view.end;
    if (gone) {
      info.state = 'ended';
      this.all.delete(info.id);
    }
    this.host.emit('reset', { conversation: info.id, messages: this.messages(info.id), entries: [...view.entries] });
    // What came since follows.
    if (!view.drain()) this.host.resume();
    this.show(known);
  }
}

/**
 * An item of a snapshot or of a list.
 * @param {Payload} item
 * @returns {Conversation}
 */
function standing(item) {
  return {
    id: item.conversation, state: item.state, with: item.with ?? null, name: item.name ?? null, queue: item.queue ?? null,
    seq: count(item.seq), unread: count(item.unread), read: count(item.read), delivered: count(item.delivered),
    peerRead: count(item.peer_read), peerDelivered: count(item.peer_delivered), last: entriesOf({ entries: [item.last] })[0] ?? null,
  };
}

// Messages on their way out, in order. Each has an id that stays the same however often it is sent, so that the cluster
// stores it once; it stays here, and in the tab's storage, until it is acknowledged or refused for good.


/**
 * @typedef {object} Pending
 * @property {Message} message
 * @property {string} text
 * @property {number} at wall time when it was said
 * @property {boolean} sent whether it was ever sent
 * @property {number|null} sentAt when it was sent on this socket
 * @property {boolean} restored said on an earlier page, or in another tab
 */
/** @typedef {{conversation: string}|{wait: true}|{fail: string}} Destination */

class Outbox {
  /**
   * @param {{clock: Clock, window: number, send: (frame: object) => void, route: (restored: boolean) => Destination,
   *   save: (items: Item[]) => void, isOurs: () => boolean, unanswered: () => void, changed: (message: Message) => void}} parts
   *   `unanswered`: an ack is late
   */
  constructor({ clock, window, send, route, save, isOurs, unanswered, changed }) {
    this.clock = clock;
    this.window = Math.min(Math.max(Math.trunc(window), 1), LIMITS.window);
    this.send = send;
    this.route = route;
    this.save = save;
    this.isOurs = isOurs;
    this.unanswered = unanswered;
    this.changed = changed;
    /** @type {Pending[]} */
    this.pending = [];
    this.isLive = false;
    /** Nothing goes out before. */
    this.heldUntil = -Infinity;
    this.pumping = new Alarm(clock, () => this.pump());
  }

  /**
   * Takes a message, or says why not.
   * @param {Message} message
   * @param {string} text
   * @returns {string|null}
   */
  put(message, text) {
    const bytes = utf8(text);
    if (bytes === 0) return 'bad_field';
    const frame = utf8(JSON.stringify(text)) + 512; // and what is around the words
    if (bytes > LIMITS.text || frame > LIMITS.frame) return 'too_large';
    const all = this.pending.reduce((sum, pending) => sum + utf8(pending.text), bytes);
    if (this.pending.length >= LIMITS.outbox || all > LIMITS.outboxBytes) return 'outbox_full';
    this.pending.push({ message, text, at: this.clock.wall(), sent: false, sentAt: null, restored: false });
    this.keep();
    this.pump();
    return null;
  }

  /**
   * Takes back what was kept. It comes before what was said since.
   * @param {Item[]} items
   * @param {(item: Item) => Message} make
   */
  restore(items, make) {
    const known = new Set(this.pending.map((pending) => pending.message.ref));
    const fresh = items.filter((item) => !known.has(item.ref));
    const restored = fresh.map((item) => ({
      message: make(item), text: item.text, at: item.at, sent: item.sent, sentAt: null, restored: true,
    }));
    this.pending.unshift(...restored);
    // Beyond the bound the newest give way.
    for (const over of this.pending.splice(LIMITS.outbox)) this.fail(over, 'outbox_full');
    this.keep();
    this.pump();
  }

  keep() {
    this.save(this.pending.map(({ message, text, at, sent }) => {
      const { ref, conversation, to } = message;
      return { ref: ref ?? '', text, conversation, to, at, sent };
    }));
  }

  /** The socket is ready: everything that has no ack goes out again, in order. */
  live() {
    this.isLive = true;
    this.pump();
  }

  /** The socket is gone, or has something to be told first. */
  pause() {
    this.isLive = false;
    this.pumping.clear();
  }

  lost() {
    this.pause();
    for (const pending of this.pending) pending.sentAt = null;
  }

  /** Sends what may be sent now. */
  pump() {
    if (!this.isLive) return;
    const now = this.clock.now();
    if (now < this.heldUntil) return this.pumping.by(this.heldUntil - now);
    this.expire();
    if (this.pending.length > 0 && !this.isOurs()) return; // another tab sends it; we hear of it soon
    let room = this.window;
    for (const pending of [...this.pending]) {
      const destination = this.destined(pending);
      if ('wait' in destination) continue; // nothing behind it is for where it will go
      if ('fail' in destination || room === 0) break;
      room -= 1;
      const again = pending.sentAt !== null;
      if (again && now - /** @type {number} */ (pending.sentAt) < LIMITS.resendMs) continue;
      if (again) this.unanswered();
      this.put_(pending, now);
      if (!this.isLive) return; // sending has shown that the socket is gone
    }
    const sent = this.pending.map((pending) => pending.sentAt).filter((at) => at !== null);
    if (sent.length > 0) this.pumping.by(Math.min(.../** @type {number[]} */ (sent)) + LIMITS.resendMs - now);
  }

  /**
   * Where it goes. What can go nowhere fails, and the next one is looked at by the next round.
   * @param {Pending} pending
   * @returns {Destination}
   */
  destined(pending) {
    const { message, restored } = pending;
    const known = message.to ?? message.conversation;
    if (known !== null) return { conversation: known };
    const destination = this.route(restored);
    if ('conversation' in destination) message.conversation = destination.conversation;
    else if ('fail' in destination) {
      this.remove(pending);
      this.fail(pending, destination.fail);
      this.keep();
      this.pumping.set(0);
    }
    return destination;
  }

  /**
   * @param {Pending} pending
   * @param {number} now
   */
  put_(pending, now) {
    const { message, text } = pending;
    const first = !pending.sent;
    pending.sent = true;
    pending.sentAt = now;
    // First to the storage: what was perhaps sent is never taken for what was not.
    if (first) this.keep();
    const { ref: id, conversation, to } = message;
    const frame = to === null
      ? { action: 'message', payload: { message: text, id, conversation } }
      : { action: 'direct', payload: { message: text, id, to } };
    if (message.state === 'queued') {
      message.state = 'sent';
      this.changed(message);
    }
    this.send(frame);
  }

  /** What is too old is not sent any more. */
  expire() {
    const oldest = this.clock.wall() - LIMITS.outboxMs;
    const over = this.pending.filter((pending) => pending.at < oldest);
    for (const pending of over) {
      this.remove(pending);
      this.fail(pending, 'expired');
    }
    if (over.length > 0) this.keep();
  }

  /**
   * @param {string} ref
   * @returns {Message|null} what was acknowledged
   */
  acked(ref) {
    const pending = this.find(ref);
    if (!pending) return null;
    this.remove(pending);
    this.keep();
    this.pumping.set(0);
    return pending.message;
  }

  /**
   * An `error` that names a message. Returns whether there is such a message.
   * @param {string} ref
   * @param {string} code
   * @param {number} retryAfterMs
   */
  refused(ref, code, retryAfterMs) {
    const pending = this.find(ref);
    if (!pending) return false;
    if (code === 'rate_limited' || code === 'busy') {
      pending.sentAt = null;
      this.hold(retryAfterMs);
    } else {
      this.remove(pending);
      this.fail(pending, code);
      this.keep();
      this.pumping.set(0);
    }
    return true;
  }

  /**
   * All wait, so that the order stays.
   * @param {number} ms
   */
  hold(ms) {
    const wait = Math.min(Math.max(ms, 50), LIMITS.retryAfterMs) * (1 + this.clock.random() / 4);
    this.heldUntil = Math.max(this.heldUntil, this.clock.now() + wait);
    this.pumping.by(wait);
  }

  /**
   * None of it is sent any more, or none of these; not from here.
   * @param {string} code
   * @param {Set<string>|null} refs
   */
  abandon(code, refs = null) {
    const over = this.pending.filter(({ message }) => refs === null || refs.has(message.ref ?? ''));
    this.pending = this.pending.filter((pending) => !over.includes(pending));
    this.keep();
    for (const pending of over) this.fail(pending, code);
    this.pump();
  }

  /**
   * Whether something is to be said there first.
   * @param {string|null} conversation `null`: anywhere
   */
  hasFor(conversation) {
    return this.pending.some(({ message, restored }) => (conversation === null
      ? !restored || (message.conversation ?? message.to) !== null // what an earlier page left without a place may wait for long
      : (message.conversation ?? conversation) === conversation));
  }

  /**
   * Whether words like these were sent and may be what the log shows: their ack will say.
   * @param {string} conversation
   * @param {string|null} text
   */
  mayBe(conversation, text) {
    return this.pending.some((pending) => pending.sent && pending.text === text
      && (pending.message.conversation === conversation || pending.message.conversation === null));
  }

  /** @param {string} ref */
  find(ref) {
    return this.pending.find((pending) => pending.message.ref === ref) ?? null;
  }

  /** @param {Pending} pending */
  remove(pending) {
    this.pending = this.pending.filter((other) => other !== pending);
  }

  /**
   * @param {Pending} pending
   * @param {string} code
   */
  fail({ message }, code) {
    if (message.seq !== null) return; // it is stored: another tab had sent it
    message.state = 'failed';
    message.code = code;
    this.changed(message);
  }
}

/** @param {string} text */
function utf8(text) {
  return new TextEncoder().encode(text).length;
}

// Questions and other frames with an `id` whose answer carries it as `ref`: history, transcripts, lists, recalls, refresh.
// A few at a time, again on the next socket, again when the server is busy, and never without an end.


/**
 * @typedef {object} Question
 * @property {string} ref
 * @property {string} action
 * @property {object} payload
 * @property {Payload[]} pages of a transcript
 * @property {number|null} sentAt on this socket
 * @property {number} notBefore
 * @property {number} tries
 * @property {number} until
 * @property {(answer: Payload) => void} resolve
 * @property {(problem: Problem) => void} reject
 */

class Questions {
  /**
   * @param {{clock: Clock, send: (frame: object) => void, newId: () => string}} parts
   */
  constructor({ clock, send, newId }) {
    this.clock = clock;
    this.send = send;
    this.newId = newId;
    /** @type {Question[]} */
    this.open = [];
    this.isLive = false;
    this.pumping = new Alarm(clock, () => this.pump());
  }

  /**
   * @param {string} action
   * @param {object} payload
   * @returns {Promise<Payload>}
   */
  ask(action, payload) {
    return new Promise((resolve, reject) => {
      if (this.open.length >= LIMITS.questionsWaiting) return reject(problem('too_many_questions'));
      const now = this.clock.now();
      this.open.push({
        ref: this.newId(), action, payload, pages: [], sentAt: null, notBefore: now, tries: 0,
        until: now + LIMITS.questionMs, resolve, reject,
      });
      this.pump();
    });
  }

  live() {
    this.isLive = true;
    this.pump();
  }

  lost() {
    this.isLive = false;
    for (const question of this.open) Object.assign(question, { sentAt: null, pages: [] });
  }

  pump() {
    const now = this.clock.now();
    for (const question of [...this.open]) if (now >= question.until) this.end(question)?.reject(problem('timeout'));
    const out = this.open.filter((question) => question.sentAt !== null).length;
    const due = this.open.filter((question) => question.sentAt === null && question.notBefore <= now);
    for (const question of this.isLive ? due.slice(0, Math.max(LIMITS.questions - out, 0)) : []) {
      question.sentAt = now;
      this.send({ action: question.action, payload: { ...question.payload, id: question.ref } });
    }
    const later = this.open.flatMap(({ until, notBefore, sentAt }) => (sentAt === null && notBefore > now ? [notBefore] : [until]));
    if (later.length > 0) this.pumping.set(Math.max(Math.min(...later) - now, 0));
  }

  /**
   * A frame with a `ref`. Returns whether a question was waiting for it.
   * @param {string} action
   * @param {Payload} payload
   */
  answer(action, payload) {
    const question = this.open.find(({ ref }) => ref === payload.ref);
    if (!question) return false;
    if (action === 'error') this.refused(question, payload);
    else if (question.action === 'transcript') this.page(question, payload);
    else this.end(question)?.resolve(payload);
    this.pump();
    return true;
  }

  /**
   * @param {Question} question
   * @param {Payload} payload
   */
  page(question, payload) {
    question.pages.push(payload);
    question.until = this.clock.now() + LIMITS.questionMs;
    if (payload.more) return;
    this.end(question)?.resolve({ ...payload, entries: question.pages.flatMap((page) => page.entries ?? []) });
  }

  /**
   * @param {Question} question
   * @param {Payload} payload
   */
  refused(question, payload) {
    const later = payload.code === 'busy' || payload.code === 'rate_limited';
    question.tries += 1;
    if (!later || question.tries >= LIMITS.questionTries) return void this.end(question)?.reject(problem(payload.code, payload));
    const wait = Math.min(Number(payload.retry_after_ms) || 1000, LIMITS.questionMs);
    Object.assign(question, { sentAt: null, pages: [], notBefore: this.clock.now() + wait * (1 + this.clock.random() / 4) });
  }

  /** @param {Question} question */
  end(question) {
    this.open = this.open.filter((other) => other !== question);
    return question;
  }

  /** @param {string} code */
  stop(code) {
    for (const question of this.open.splice(0)) question.reject(problem(code));
    this.pumping.clear();
  }
}

/**
 * @param {string} code
 * @param {Payload} [payload]
 * @returns {Problem}
 */
function problem(code, payload = {}) {
  return { code, message: String(payload.message ?? code), field: payload.field ?? null };
}

// What this user wants to be: talking to staff, on duty, or no more. These frames have no id, but they may be repeated:
// so one that is not answered goes out again, and a new socket's snapshot tells whether it still has to.


/** @typedef {'customerConnect'|'customerLeave'|'staffOnline'|'staffOffline'|'close'} Verb */
/**
 * @typedef {object} Intent
 * @property {Verb} verb
 * @property {Payload} payload
 * @property {number|null} sentAt on this socket
 * @property {((notice: Notice) => void)[]} done
 */

/**
 * The codes that answer each; refusals that name nothing are the answer to what was sent.
 * @type {Record<Verb, string[]>}
 */
const ANSWERS = {
  customerConnect: ['connected', 'queued', 'no_staff', 'queue_full', 'wrong_role', 'too_many_conversations'],
  customerLeave: ['customer_left', 'closed', 'timeout', 'staff_offline', 'no_conversation', 'wrong_role'],
  staffOnline: ['on_duty', 'bad_max', 'bad_field', 'wrong_role'],
  staffOffline: ['off_duty', 'wrong_role'],
  close: ['closed', 'customer_left', 'customer_timeout', 'staff_offline', 'off_duty', 'no_conversation', 'wrong_role'],
};
/**
 * What each takes back.
 * @type {Partial<Record<Verb, Verb>>}
 */
const OPPOSITE = {
  customerConnect: 'customerLeave', customerLeave: 'customerConnect', staffOnline: 'staffOffline', staffOffline: 'staffOnline',
};

class Intents {
  /**
   * @param {{clock: Clock, send: (frame: object) => void, mayGo: (verb: Verb, payload: Payload) => boolean}}
   *   parts `mayGo`: nothing is to be said before it
   */
  constructor({ clock, send, mayGo }) {
    this.clock = clock;
    this.send = send;
    this.mayGo = mayGo;
    /** @type {Intent[]} */
    this.open = [];
    this.isLive = false;
    this.heldUntil = -Infinity;
    this.pumping = new Alarm(clock, () => this.pump());
  }

  /**
   * @param {Verb} verb
   * @param {Payload} payload
   * @returns {Promise<Notice>} what it was answered
   */
  want(verb, payload) {
    for (const other of this.open) if (other.verb === OPPOSITE[verb]) this.answer(other, { code: 'superseded' });
    return new Promise((resolve) => {
      const same = this.open.find((intent) => intent.verb === verb && intent.payload.conversation === payload.conversation);
      if (same && JSON.stringify(same.payload) !== JSON.stringify(payload)) Object.assign(same, { payload, sentAt: null });
      if (same) same.done.push(resolve);
      else this.open.push({ verb, payload, sentAt: null, done: [resolve] });
      this.pump();
    });
  }

  /** @param {Verb} verb */
  wants(verb) {
    return this.open.some((intent) => intent.verb === verb);
  }

  live() {
    this.isLive = true;
    this.pump();
  }

  lost() {
    this.isLive = false;
    for (const intent of this.open) intent.sentAt = null;
  }

  pump() {
    if (!this.isLive) return;
    const now = this.clock.now();
    if (now < this.heldUntil) return this.pumping.by(this.heldUntil - now);
    for (const intent of [...this.open]) {
      const { verb, payload, sentAt } = intent;
      if ((sentAt !== null && now - sentAt < LIMITS.resendMs) || !this.mayGo(verb, payload)) continue;
      intent.sentAt = now;
      this.send(Object.keys(payload).length > 0 ? { action: verb, payload } : { action: verb });
    }
    if (this.open.some(({ sentAt }) => sentAt !== null)) this.pumping.by(LIMITS.resendMs);
  }

  /**
   * A notice, or an error that names no frame. Returns whether something was waiting for it.
   * @param {Notice} notice
   */
  told(notice) {
    const answered = this.open.filter(({ verb, payload, sentAt }) => sentAt !== null && ANSWERS[verb].includes(notice.code)
      && (verb !== 'close' || notice.conversation === undefined || notice.conversation === payload.conversation));
    for (const intent of answered) this.answer(intent, notice);
    return answered.length > 0;
  }

  /**
   * How it stands, by a snapshot: what is so already need not be asked for.
   * @param {{open: string[], place: string|null, duty: Payload|null}} now `place`: the conversation of a customer
   */
  stands({ open, place, duty }) {
    for (const intent of [...this.open]) {
      const { verb, payload } = intent;
      const same = duty && (payload.name ?? duty.name) === duty.name && (payload.max ?? duty.max) === duty.max;
      if (verb === 'customerConnect' && place !== null) this.answer(intent, { code: 'resumed', conversation: place });
      if (verb === 'customerLeave' && place === null) this.answer(intent, { code: 'customer_left' });
      if (verb === 'staffOnline' && same) this.answer(intent, { code: 'on_duty', ...duty });
      if (verb === 'staffOffline' && !duty) this.answer(intent, { code: 'off_duty' });
      if (verb === 'close' && !open.includes(payload.conversation)) this.answer(intent, { code: 'closed', ...payload });
    }
  }

  /**
   * Something without an id was refused for a while: all of it goes out again.
   * @param {number} ms
   */
  hold(ms) {
    this.heldUntil = this.clock.now() + Math.min(Math.max(ms, 50), LIMITS.retryAfterMs) * (1 + this.clock.random() / 4);
    for (const intent of this.open) intent.sentAt = null;
    this.pump();
  }

  /**
   * @param {Intent} intent
   * @param {Notice} notice
   */
  answer(intent, notice) {
    this.open = this.open.filter((other) => other !== intent);
    for (const done of intent.done) done(notice);
  }

  /** @param {string} code */
  stop(code) {
    for (const intent of this.open) this.answer(intent, { code });
    this.pumping.clear();
  }
}

// Who types: told while it goes on, and believed for a moment only (docs/PROTOCOL.md).


class Typing {
  /**
   * @param {{clock: Clock, send: (frame: object) => void,
   *   tell: (conversation: string, uid: string|null, on: boolean) => void}} parts
   */
  constructor({ clock, send, tell }) {
    this.clock = clock;
    this.send = send;
    this.tell = tell;
    /** @type {Map<string, {at: number, stop: Alarm}>} where this user types */
    this.own = new Map();
    /** @type {Map<string, {uid: string|null, fade: Alarm}>} where the other side does */
    this.others = new Map();
  }

  /**
   * A key was pressed.
   * @param {string} conversation
   */
  types(conversation) {
    const now = this.clock.now();
    const own = this.own.get(conversation) ?? { at: -Infinity, stop: new Alarm(this.clock, () => this.stops(conversation)) };
    this.own.set(conversation, own);
    own.stop.set(LIMITS.typingStopMs);
    if (now - own.at < LIMITS.typingAgainMs) return;
    own.at = now;
    this.send({ action: 'typing', payload: { conversation, on: true } });
  }

  /** @param {string} conversation */
  stops(conversation) {
    if (this.said(conversation)) this.send({ action: 'typing', payload: { conversation, on: false } });
  }

  /**
   * A message went out, which says that its typing is over.
   * @param {string|null} conversation
   */
  said(conversation) {
    const own = conversation === null ? undefined : this.own.get(conversation);
    own?.stop.clear();
    return conversation !== null && this.own.delete(conversation);
  }

  /**
   * @param {string} conversation
   * @param {string|null} uid
   * @param {boolean} on
   */
  told(conversation, uid, on) {
    const other = this.others.get(conversation);
    if (on === Boolean(other)) return other?.fade.set(LIMITS.typingFadesMs);
    if (on) {
      const fade = new Alarm(this.clock, () => this.told(conversation, uid, false));
      fade.set(LIMITS.typingFadesMs);
      this.others.set(conversation, { uid, fade });
    } else {
      other?.fade.clear();
      this.others.delete(conversation);
    }
    this.tell(conversation, other?.uid ?? uid, on);
  }

  /** The socket is gone: nobody will say that they have stopped. */
  lost() {
    for (const [conversation, { uid }] of [...this.others]) this.told(conversation, uid, false);
    for (const { stop } of this.own.values()) stop.clear();
    this.own.clear();
  }
}

// `resume`: the first frame on each socket, again after `resync`, and whenever something is missing or does not fit.
// Its answer is a snapshot and a history for each position; until it is there nothing else goes out.



/** So many within so long on one socket: something is wrong that another socket may not have. */
const MOST = 8;
const WITHIN_MS = 30_000;

class Resuming {
  /**
   * @param {{clock: Clock, send: (frame: object) => void, positions: () => {conversation: string}[],
   *   begun: () => void, snapshot: (payload: Payload, asked: string[]) => void, history: (payload: Payload) => void,
   *   done: () => void, failed: () => void}} parts `failed`: this socket is no good
   */
  constructor(parts) {
    this.parts = parts;
    this.clock = parts.clock;
    this.sending = new Alarm(parts.clock, () => this.send());
    this.late = new Alarm(parts.clock, () => parts.failed());
    /**
     * Of the connection that this one replaces.
     * @type {string|null}
     */
    this.token = null;
    this.isOpen = false;
    /** @type {string[]|null} what was asked for, until the snapshot is here */
    this.asked = null;
    /** @type {Set<string>} histories that are to come */
    this.left = new Set();
    /** @type {number[]} when it was sent on this socket */
    this.times = [];
  }

  get isAnswered() {
    return this.asked === null && this.left.size === 0 && !this.sending.isSet;
  }

  /**
   * A socket was welcomed.
   * @param {string|null} token of the one before
   */
  begin(token) {
    this.lost();
    this.isOpen = true;
    this.token = token;
    this.send();
  }

  /** As soon as may be. */
  want() {
    if (!this.isOpen || this.sending.isSet) return;
    const last = this.times[this.times.length - 1] ?? -Infinity;
    this.sending.set(Math.max(last + LIMITS.resumeMs - this.clock.now(), 0));
  }

  send() {
    const now = this.clock.now();
    if (this.asked !== null || this.left.size > 0) return this.sending.set(LIMITS.resumeMs); // one after the other
    this.times = [...this.times.filter((at) => now - at < WITHIN_MS), now];
    if (this.times.length > MOST) return this.parts.failed();
    this.parts.begun();
    const positions = this.parts.positions();
    this.asked = positions.map(({ conversation }) => conversation);
    this.late.set(LIMITS.enterMs);
    this.parts.send({ action: 'resume', payload: { ...(this.token !== null && { token: this.token }), positions } });
  }

  /** @param {Payload} payload */
  snapshot(payload) {
    if (this.asked === null) return; // of one that was taken for refused
    const asked = this.asked;
    this.asked = null;
    this.token = null;
    this.left = new Set(asked);
    this.parts.snapshot(payload, asked);
    this.look();
  }

  /** @param {Payload} payload */
  history(payload) {
    if (!this.left.delete(payload.conversation)) return;
    this.parts.history(payload);
    this.look();
  }

  look() {
    if (!this.isOpen || this.left.size > 0 || this.asked !== null) return;
    this.late.clear();
    this.parts.done();
  }

  /**
   * An error that names no frame: perhaps it is about this one. Returns whether it certainly is.
   * @param {string} code
   * @param {number} retryAfterMs
   */
  refused(code, retryAfterMs) {
    if (this.asked === null) return false;
    if (code === 'bad_resume') {
      this.token = null;
      this.asked = null;
      this.send();
      return true;
    }
    if (code === 'busy' || code === 'rate_limited') {
      this.asked = null;
      this.sending.set(Math.min(Math.max(retryAfterMs, 50), LIMITS.enterMs) * (1 + this.clock.random() / 4));
      this.late.set(LIMITS.enterMs + retryAfterMs);
    }
    return false;
  }

  lost() {
    this.sending.clear();
    this.late.clear();
    this.isOpen = false;
    this.asked = null;
    this.left.clear();
    this.times = [];
  }
}

// Frontdesk's client for browsers and Node: one object per user and page. docs/CLIENT.md is its handbook and
// docs/PROTOCOL.md what it speaks.
//
//   session ── link (one socket) · identity (tickets, tokens) · backoff
//   resuming ── conversations ── view (what is shown: in order, without holes, once)
//   outbox ── tab (what survives the page)    questions · intents · marks · typing



class Frontdesk {
  /** @type {Emitter} */ #events = new Emitter();
  /** @type {string|null} */ #uid = null;
  /** @type {'customer'|'staff'|null} */ #side = null;
  /** @type {'customer'|'staff'|null} what the options say of it; otherwise the token does */ #given = null;
  /** @type {{name: string, max: number}|null} */ #duty = null;
  /** @type {Session} */ #session;
  /** @type {Identity} */ #identity;
  /** @type {Tab} */ #tab;
  /** @type {Outbox} */ #outbox;
  /** @type {Conversations} */ #conversations;
  /** @type {Resuming} */ #resuming;
  /** @type {Questions} */ #questions;
  /** @type {Intents} */ #intents;
  /** @type {Marks} */ #marks;
  /** @type {Typing} */ #typing;
  /** @type {() => string} */ #newId;

  /** @param {Options} options */
  constructor(options) {
    const { site = 'default', open, role, token } = options;
    const clock = { ...realClock(), ...options.clock };
    const page = options.page !== undefined ? options.page : typeof window === 'undefined' ? null : window;
    const fetching = options.fetch ?? globalThis.fetch;
    const WebSocket = options.WebSocket ?? globalThis.WebSocket;
    if (!WebSocket) throw new TypeError('no WebSocket here: give one as an option');
    /**
     * @param {() => Storage} builtin
     * @param {Store|null|undefined} given
     */
    const kept = (builtin, given) => new Kept(() => (given !== undefined ? given : page ? builtin() : null), (error) => {
      // Once somebody can listen.
      queueMicrotask(() => this.#problem({ code: 'storage_failed', message: String(error), field: null }));
    });
    const local = kept(() => localStorage, options.storage);
    const session = kept(() => sessionStorage, options.session);
    this.#newId = options.newId ?? randomId;
    this.#given = open ? sideOf(role) : token ? null : 'customer';
    this.#side = this.#given;
    const send = (/** @type {object} */ frame) => this.#session.send(frame);
    const parts = { clock, send, newId: this.#newId };

    this.#identity = new Identity(options, { fetch: (input, init) => fetching(input, init), clock, local });
    this.#tab = new Tab({
      local, session, clock, site, newId: randomId,
      adopt: (items) => this.#restore(items),
      moved: (refs) => this.#outbox.abandon('moved', refs),
      isLive: () => this.state === 'live',
    });
    this.#outbox = new Outbox({
      ...parts,
      window: options.window ?? 1,
      route: (restored) => this.#route(restored),
      save: (items) => this.#tab.save(items),
      isOurs: () => this.#tab.isOurs(),
      unanswered: () => this.#session.link?.probe(),
      changed: (message) => this.#changed(message),
    });
    this.#conversations = new Conversations({
      clock,
      me: () => this.#uid,
      side: () => this.#side,
      emit: (name, detail) => this.#events.emit(name, detail),
      resume: () => this.#resuming.want(),
      ask: (action, payload) => this.#questions.ask(action, payload),
      mayBe: (conversation, text) => this.#outbox.mayBe(conversation, text),
      mark: (conversation, mark, upTo) => {
        if (mark === 'read' || (options.autoDelivered ?? true)) this.#marks.want(conversation, mark, upTo);
      },
    });
    this.#questions = new Questions(parts);
    this.#intents = new Intents({ ...parts, mayGo: (verb, payload) => this.#mayGo(verb, payload) });
    this.#marks = new Marks({
      ...parts,
      isOver: (id) => (this.#conversations.all.get(id)?.info.state ?? 'ended') === 'ended',
    });
    this.#typing = new Typing({
      ...parts,
      tell: (conversation, uid, on) => this.#events.emit('typing', { conversation, uid, on }),
    });
    this.#resuming = new Resuming({
      clock, send,
      positions: () => this.#conversations.positions(),
      begun: () => this.#pause(),
      snapshot: (payload, asked) => this.#snapshot(payload, asked),
      history: (payload) => this.#conversations.history(payload),
      done: () => this.#live(),
      failed: () => this.#session.drop(),
    });
    this.#session = new Session({
      urls: [options.url].flat(), clock, identity: this.#identity, WebSocket, page,
      frame: ({ action, payload }) => this.#take(action, payload),
      isUser: (uid) => this.#isUser(uid),
      lost: () => this.#lost(),
      changed: (change) => {
        if (change.state === 'refused') this.#tab.release(); // others may send it
        this.#events.emit('state', change);
      },
      problem: (error) => this.#problem(error),
      refresh: (token) => this.#questions.ask('refresh', { token }),
      hidden: () => this.#tab.release(),
      back: () => this.#tab.renew(),
    });
  }

  // --- for the page ---

  /**
   * Calls the listener at each event of this name; docs/CLIENT.md lists them. Returns what ends that.
   * @template {keyof Events} K
   * @param {K} name
   * @param {(detail: Events[K]) => void} listener
   */
  on(name, listener) {
    return this.#events.on(name, listener);
  }

  /** Comes, and stays: through lost sockets, sleeping laptops and restarted servers. */
  start() {
    const { uid } = this.#identity;
    if (uid !== null) this.#isUser(uid);
    this.#tab.renew();
    this.#session.start();
    return this;
  }

  /**
   * Leaves: customers leave their conversation or the queue, staff go off duty, if this was their last socket. With
   * `keep` the place is kept for a moment, as if the socket were lost.
   * @param {{keep?: boolean}} how
   */
  stop({ keep = false } = {}) {
    this.#session.stop('stopped', keep ? GIVEN_UP : 1000);
    this.#questions.stop('stopped');
    this.#intents.stop('stopped');
    this.#tab.release();
  }

  /** Signs out on this machine: what is kept of this user is removed, unsent messages too. */
  forget() {
    const uid = this.#uid ?? this.#identity.uid;
    this.stop();
    this.#forgetUser('forgotten');
    this.#uid = null;
    this.#tab.wipe(uid);
    this.#identity.forget();
  }

  get state() {
    return this.#session.state;
  }

  /** Who this is, once that is known. */
  get uid() {
    return this.#uid;
  }

  /** On duty as this, or `null`. */
  get duty() {
    return this.#duty;
  }

  /** All conversations that are known, the last changed first. */
  get conversations() {
    return this.#conversations.infos;
  }

  /** A customer's conversation: the one that is open or waits. */
  get conversation() {
    return this.#conversations.open.find(({ side }) => side === 'customer')?.info ?? null;
  }

  /** What is not stored yet, in order. */
  get outbox() {
    return this.#outbox.pending.map(({ message }) => message);
  }

  /** Messages of all conversations that are not read. */
  get unread() {
    return this.#conversations.unread;
  }

  /**
   * What was said in a conversation, as far as it is here, in order.
   * @param {string} conversation
   */
  messages(conversation) {
    return this.#conversations.messages(conversation);
  }

  /** A customer asks for staff. Answers how it stands: `connected`, `queued`, `no_staff` … */
  connect() {
    return this.#intents.want('customerConnect', {});
  }

  /** A customer ends the conversation, or leaves the queue, once what they said is stored. */
  leave() {
    return this.#intents.want('customerLeave', {});
  }

  /**
   * Staff take customers.
   * @param {{name?: string, max?: number}} as
   */
  goOnline({ name, max } = {}) {
    return this.#intents.want('staffOnline', { ...(name !== undefined && { name }), ...(max !== undefined && { max }) });
  }

  /** Staff stop. */
  goOffline() {
    return this.#intents.want('staffOffline', {});
  }

  /**
   * Staff end one conversation.
   * @param {string} conversation
   */
  close(conversation) {
    return this.#intents.want('close', { conversation });
  }

  /**
   * Says something: to the only conversation, unless it is named. Never throws: a message that cannot be sent has failed.
   * @param {string} text
   * @param {{conversation?: string}} where
   */
  send(text, { conversation } = {}) {
    const only = this.#route();
    const known = conversation ?? ('conversation' in only ? only.conversation : null);
    // A customer's words wait for a conversation while one may come; nobody else's do: it would be another one.
    const waits = this.#side === 'customer' && !this.#outbox.isLive;
    const fails = known === null && 'fail' in only && (only.fail === 'which_conversation' || !waits);
    return this.#say(text, known, null, fails ? only.fail : null);
  }

  /**
   * Says something to a user of the site.
   * @param {string} uid
   * @param {string} text
   */
  sendTo(uid, text) {
    return this.#say(text, null, uid);
  }

  /**
   * Takes a message of one's own back.
   * @param {Message} message
   */
  async recall({ conversation, seq, id }) {
    if (conversation === null || seq === null) throw { code: 'no_message', message: 'it is not stored', field: null };
    await this.#questions.ask('recall', { conversation, seq, message_id: id });
  }

  /**
   * A key was pressed.
   * @param {string} [conversation]
   */
  typing(conversation = this.#only()) {
    if (conversation && this.state === 'live') this.#typing.types(conversation);
  }

  /**
   * They have stopped without sending.
   * @param {string} [conversation]
   */
  stopTyping(conversation = this.#only()) {
    if (conversation) this.#typing.stops(conversation);
  }

  /**
   * Everything is read, or up to a place.
   * @param {string} [conversation]
   * @param {number} [upTo]
   */
  read(conversation = this.#only(), upTo) {
    if (conversation) this.#conversations.read(conversation, upTo);
  }

  /**
   * Loads the newest page of a conversation, which then stays up to date.
   * @param {string} conversation
   */
  async load(conversation) {
    await this.#conversations.pages.load(conversation);
    return this.messages(conversation);
  }

  /**
   * The page before what is loaded: `{messages, more}`.
   * @param {string} conversation
   */
  older(conversation) {
    return this.#conversations.pages.older(conversation);
  }

  /**
   * All of a conversation's log as it is now.
   * @param {string} conversation
   */
  async transcript(conversation) {
    return entriesOf(await this.#questions.ask('transcript', { conversation }));
  }

  /**
   * A page of all conversations there are, the last changed first.
   * @param {{before?: string, limit?: number}} page
   */
  async list(page = {}) {
    const { conversations, more, before } = await this.#questions.ask('conversations', page);
    return { conversations: list(conversations).map(standing), more: more === true, before: before ?? null };
  }

  // --- what is told ---

  /**
   * @param {string} action
   * @param {Payload} payload
   */
  #take(action, payload) {
    const { ref, code } = payload;
    if (action === 'ack') return this.#acked(payload);
    if (action === 'error') return this.#refused(payload);
    const answered = typeof ref === 'string' && this.#questions.answer(action, payload);
    if (action === 'recalled') this.#conversations.push(action, payload);
    if (answered || action === 'recalled') return;
    if (action === 'welcome') this.#welcomed(payload);
    else if (action === 'snapshot') this.#resuming.snapshot(payload);
    else if (action === 'history') this.#resuming.history(payload);
    else if (action === 'resync') this.#resuming.want();
    else if (action === 'receipt') this.#conversations.receipt(payload);
    else if (action === 'typing') this.#typing.told(payload.conversation, payload.uid ?? null, payload.on === true);
    else if (['message', 'chat_close', 'queue_close'].includes(action)) this.#pushed(action, payload, code);
  }

  /**
   * @param {string} action
   * @param {Payload} payload
   * @param {string|undefined} code
   */
  #pushed(action, payload, code) {
    if (code === 'queue_moved') this.#conversations.queueMoved(payload.queue);
    if (code === 'on_duty') this.#onDuty({ name: payload.name, max: payload.max });
    if (code === 'off_duty') this.#onDuty(null);
    const conversation = this.#conversations.push(action, payload);
    if (conversation && (payload.from || action !== 'message')) this.#typing.told(conversation, null, false);
    if (code) {
      this.#events.emit('notice', { ...payload, action });
      this.#intents.told(/** @type {Notice} */ (payload));
    }
    this.#outbox.pump(); // perhaps it is known now where to
  }

  /** @param {{name: string, max: number}|null} duty */
  #onDuty(duty) {
    if (duty === null) this.#conversations.offDuty();
    if (JSON.stringify(duty) === JSON.stringify(this.#duty)) return;
    this.#duty = duty;
    this.#events.emit('duty', duty);
  }

  /** @param {Payload} payload */
  #acked(payload) {
    const acked = isPlace(payload) && typeof payload.conversation === 'string' ? this.#outbox.acked(payload.ref) : null;
    if (!acked) return;
    const isAnother = acked.seq !== null && acked.seq !== payload.seq;
    this.#conversations.acked(payload, isAnother ? this.#another(acked, payload) : acked);
    this.#conversations.showAll();
    this.#intents.pump();
  }

  /**
   * What was taken for one's own message said the same, and was another one.
   * @param {Message} taken
   * @param {Payload} payload the ack
   */
  #another(taken, { ref, conversation, seq }) {
    taken.ref = null;
    const shown = this.messages(conversation).find((message) => message.seq === seq);
    if (shown) return Object.assign(shown, { ref });
    const message = own({ ...taken, ref, text: taken.text ?? '', sent: true });
    this.#events.emit('message', message);
    return message;
  }

  /** @param {Payload} payload */
  #refused(payload) {
    const { code, ref } = payload;
    const retryAfterMs = Number(payload.retry_after_ms) || (code === 'busy' || code === 'rate_limited' ? 1000 : 0);
    if (typeof ref === 'string') {
      if (this.#outbox.refused(ref, code, retryAfterMs)) {
        this.#conversations.showAll();
        this.#intents.pump();
      } else if (this.#questions.answer('error', payload)) return;
    } else {
      if (this.#resuming.refused(code, retryAfterMs)) return;
      const answered = this.#intents.told(/** @type {Notice} */ (payload));
      if (retryAfterMs > 0) {
        this.#intents.hold(retryAfterMs);
        this.#marks.again(retryAfterMs);
      } else if (answered) return;
    }
    this.#problem({ code, message: payload.message ?? code, field: payload.field ?? null });
  }

  // --- sockets that come and go ---

  /** @param {Payload} payload */
  #welcomed({ uid, time, resume }) {
    const { epoch } = this.#session;
    this.#isUser(uid);
    if (epoch !== this.#session.epoch) return; // a listener has stopped
    this.#session.welcomed(time);
    const before = this.#tab.token;
    this.#tab.token = resume ?? null;
    this.#resuming.begin(before);
  }

  /** @param {string} uid */
  #isUser(uid) {
    if (this.#uid !== uid && this.#uid !== null) this.#forgetUser('identity_changed');
    const token = this.#session.entrance?.token;
    this.#side ??= sideOf(token ? claims(token).role : undefined);
    if (this.#uid === uid) return;
    this.#uid = uid;
    this.#identity.known = uid;
    for (const { message } of this.#outbox.pending) message.uid = uid;
    this.#restore(this.#tab.open(uid));
    this.#outbox.keep();
  }

  /**
   * It is somebody else now, or nobody: what the one before has not sent is not theirs to send.
   * @param {string} code
   */
  #forgetUser(code) {
    this.#outbox.abandon(code);
    this.#conversations.all.clear();
    this.#marks.clear();
    this.#onDuty(null);
    this.#side = this.#given;
  }

  /**
   * @param {Payload} payload
   * @param {string[]} asked
   */
  #snapshot(payload, asked) {
    this.#conversations.snapshot(payload, asked);
    for (const { id, delivered, read } of list(payload.conversations).map(standing)) this.#marks.know(id, { delivered, read });
    this.#onDuty(payload.duty ?? null);
    const open = this.#conversations.open.map(({ info }) => info.id);
    this.#intents.stands({ open, place: this.conversation?.id ?? null, duty: payload.duty ?? null });
  }

  /** While it is not known how everything stands. */
  #pause() {
    this.#outbox.pause();
    this.#intents.isLive = false;
    this.#marks.live(false);
  }

  #live() {
    this.#session.live();
    if (this.state !== 'live') return; // a listener has stopped
    this.#tab.live();
    this.#outbox.live();
    this.#intents.live();
    this.#questions.live();
    this.#marks.live(true);
    this.#conversations.pages.resumed();
  }

  #lost() {
    this.#resuming.lost();
    this.#outbox.lost();
    this.#intents.lost();
    this.#questions.lost();
    this.#marks.live(false);
    this.#typing.lost();
  }

  // --- what is said ---

  /**
   * @param {string} text
   * @param {string|null} conversation
   * @param {string|null} to
   * @param {string|null} [nowhere] why they can go nowhere
   */
  #say(text, conversation, to, nowhere = null) {
    const words = wellFormed(String(text));
    const message = own({ ref: this.#newId(), text: words, conversation, to, uid: this.#uid, sent: false });
    this.#typing.said(conversation);
    // First shown, then sent: what becomes of it is told by `update`.
    this.#events.emit('message', message);
    const refused = nowhere ?? this.#outbox.put(message, words);
    if (refused !== null) {
      Object.assign(message, { state: 'failed', code: refused });
      this.#changed(message);
    }
    return message;
  }

  /** @param {Item[]} items */
  #restore(items) {
    if (items.length === 0) return;
    this.#outbox.restore(items, (item) => {
      // What another tab has sent and left may have come here as a push.
      const known = item.sent ? this.#conversations.find(item.conversation, item.text) : null;
      if (known) return Object.assign(known, { ref: item.ref });
      const message = own({ ...item, uid: this.#uid });
      this.#events.emit('message', message);
      return message;
    });
  }

  /**
   * Where words go that name no conversation.
   * @param {boolean} restored those of an earlier page: that customer has asked for staff, and this page will have to
   * @returns {Destination}
   */
  #route(restored = false) {
    const open = this.#conversations.open;
    if (open.length === 1) return { conversation: open[0].info.id };
    if (open.length > 1) return { fail: 'which_conversation' };
    const soon = restored || this.#intents.wants('customerConnect') || this.state !== 'live';
    return soon && this.#side !== 'staff' ? { wait: true } : { fail: 'no_conversation' };
  }

  /** The only conversation. */
  #only() {
    const route = this.#route();
    return 'conversation' in route ? route.conversation : undefined;
  }

  /**
   * Who leaves has said everything before.
   * @param {Verb} verb
   * @param {Payload} payload
   */
  #mayGo(verb, { conversation }) {
    if (verb === 'customerLeave' || verb === 'staffOffline') return !this.#outbox.hasFor(null);
    return verb !== 'close' || !this.#outbox.hasFor(conversation);
  }

  /** @param {Message} message */
  #changed(message) {
    this.#events.emit('update', message);
    if (message.state === 'failed') this.#conversations.showAll();
  }

  /** @param {unknown} problem */
  #problem(problem) {
    this.#events.emit('error', problem);
  }
}

/**
 * @param {string|undefined} role
 * @returns {'customer'|'staff'|null}
 */
function sideOf(role) {
  return role === 'customer' ? 'customer' : role === 'staff' || role === 'supervisor' ? 'staff' : null;
}

/** An id that nobody else makes. */
function randomId() {
  const bytes = new Uint8Array(12);
  // Node 18 has no global crypto. Ids need not be secret, only different.
  if (globalThis.crypto) crypto.getRandomValues(bytes);
  else for (let i = 0; i < bytes.length; i += 1) bytes[i] = Math.floor(Math.random() * 256);
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/**
 * Halves of characters, which JSON can carry and UTF-8 cannot, are replaced: the server would refuse the frame.
 * @param {string} text
 */
function wellFormed(text) {
  return text.replace(/[\uD800-\uDBFF][\uDC00-\uDFFF]|[\uD800-\uDFFF]/g, (part) => (part.length === 2 ? part : '\uFFFD'));
}

export { Frontdesk, CLOSE_CODES, LIMITS, comesBack };
