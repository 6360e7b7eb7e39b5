// Frontdesk's client for browsers and Node: one object per user and page. docs/CLIENT.md is its handbook and
// docs/PROTOCOL.md what it speaks.
//
//   session ── link (one socket) · identity (tickets, tokens) · backoff
//   resuming ── conversations ── view (what is shown: in order, without holes, once)
//   outbox ── tab (what survives the page)    questions · intents · marks · typing

import { realClock } from './clock.js';
import { GIVEN_UP } from './codes.js';
import { Conversations, standing } from './conversations.js';
import { Emitter } from './emitter.js';
import { entriesOf, isPlace, list, own } from './entry.js';
import { Identity, claims } from './identity.js';
import { Intents } from './intents.js';
import { Marks } from './marks.js';
import { Outbox } from './outbox.js';
import { Questions } from './questions.js';
import { Resuming } from './resuming.js';
import { Session } from './session.js';
import { Kept } from './storage.js';
import { Tab } from './tab.js';
import { Typing } from './typing.js';

/** @typedef {import('./types.js').Options} Options */
/** @typedef {import('./types.js').Events} Events */
/** @typedef {import('./types.js').Message} Message */
/** @typedef {import('./types.js').Notice} Notice */
/** @typedef {import('./types.js').Payload} Payload */

export class Frontdesk {
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
     * @param {import('./types.js').Store|null|undefined} given
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

  /** @param {import('./tab.js').Item[]} items */
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
   * @returns {import('./outbox.js').Destination}
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
   * @param {import('./intents.js').Verb} verb
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
export function wellFormed(text) {
  return text.replace(/[\uD800-\uDBFF][\uDC00-\uDFFF]|[\uD800-\uDFFF]/g, (part) => (part.length === 2 ? part : '\uFFFD'));
}
