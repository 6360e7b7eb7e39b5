// The parts of the client and how they hang together: who the user is, and sockets that come and go.

import { realClock } from './clock.js';
import { GIVEN_UP } from './codes.js';
import { Conversations, standing } from './conversations.js';
import { Emitter } from './emitter.js';
import { list } from './entry.js';
import { Frames } from './frames.js';
import { Identity, claims } from './identity.js';
import { Intents } from './intents.js';
import { Marks } from './marks.js';
import { placeOf, randomId, sideOf, storesOf } from './options.js';
import { Outbox } from './outbox.js';
import { Questions } from './questions.js';
import { Resuming } from './resuming.js';
import { Session } from './session.js';
import { Tab } from './tab.js';
import { Typing } from './typing.js';
import { Words } from './words.js';

/** @typedef {import('./types.js').Options} Options */
/** @typedef {import('./types.js').Message} Message */
/** @typedef {import('./types.js').Payload} Payload */

export class Desk {
  /** @type {Tab} */ tab;
  /** @type {Outbox} */ outbox;
  /** @type {Conversations} */ conversations;
  /** @type {Resuming} */ resuming;
  /** @type {Intents} */ intents;
  /** @type {Session} */ session;

  /** @param {Options} options */
  constructor(options) {
    const clock = { ...realClock(), ...options.clock };
    const newId = options.newId ?? randomId;
    const send = (/** @type {object} */ frame) => this.session.send(frame);
    const parts = { clock, send, newId };
    const { site = 'default', open, role, token } = options;
    const { page, fetch, WebSocket } = placeOf(options);
    const stores = storesOf(options, page, (error) => {
      // Once somebody can listen.
      queueMicrotask(() => this.problem({ code: 'storage_failed', message: String(error), field: null }));
    });
    this.events = new Emitter();
    /** @type {string|null} */
    this.uid = null;
    /** @type {'customer'|'staff'|null} what the options say of it; otherwise the token does */
    this.given = open ? sideOf(role) : token ? null : 'customer';
    this.side = this.given;
    /** @type {{name: string, max: number}|null} */
    this.duty = null;
    this.frames = new Frames(this);
    this.words = new Words(this, newId);
    this.identity = new Identity(options, { fetch, clock, local: stores.local });
    this.tab = new Tab({
      ...stores, clock, site, newId: randomId,
      adopt: (items) => this.words.restore(items),
      moved: (refs) => this.outbox.abandon('moved', refs),
      isLive: () => this.state === 'live',
    });
    this.outbox = new Outbox({
      ...parts,
      window: options.window ?? 1,
      route: (restored) => this.words.route(restored),
      save: (items) => this.tab.save(items),
      isOurs: () => this.tab.isOurs(),
      unanswered: () => this.session.link?.probe(),
      changed: (message) => this.changed(message),
    });
    this.conversations = new Conversations({
      clock,
      me: () => this.uid,
      side: () => this.side,
      emit: (name, detail) => this.events.emit(name, detail),
      resume: () => this.resuming.want(),
      ask: (action, payload) => this.questions.ask(action, payload),
      mayBe: (conversation, text) => this.outbox.mayBe(conversation, text),
      unmark: (conversation) => this.marks.forget(conversation),
      mark: (conversation, mark, upTo) => {
        if (mark === 'read' || (options.autoDelivered ?? true)) this.marks.want(conversation, mark, upTo);
      },
    });
    this.questions = new Questions(parts);
    this.intents = new Intents({ ...parts, mayGo: (verb, payload) => this.words.mayGo(verb, payload) });
    this.marks = new Marks({
      ...parts,
      isOver: (id) => (this.conversations.all.get(id)?.info.state ?? 'ended') === 'ended',
    });
    this.typing = new Typing({
      ...parts,
      tell: (conversation, uid, on) => this.events.emit('typing', { conversation, uid, on }),
    });
    this.resuming = new Resuming({
      clock, send,
      positions: () => this.conversations.positions(),
      begun: () => this.pause(),
      snapshot: (payload, asked) => this.snapshot(payload, asked),
      history: (payload) => this.conversations.history(payload),
      done: () => this.live(),
      failed: () => this.session.drop(),
    });
    this.session = new Session({
      urls: [options.url].flat(), clock, identity: this.identity, WebSocket, page,
      frame: ({ action, payload }) => this.frames.take(action, payload),
      isUser: (uid) => this.isUser(uid),
      // Nobody was let in yet, but what is said until then must outlive a reload.
      mayBe: (uid) => this.uid === null && this.isUser(uid),
      lost: () => this.lost(),
      changed: (change) => {
        if (change.state === 'refused') this.tab.release(); // others may send it
        this.events.emit('state', change);
      },
      problem: (error) => this.problem(error),
      refresh: (token) => this.questions.ask('refresh', { token }),
      hidden: () => this.tab.release(),
      back: () => this.tab.renew(),
    });
  }

  get state() {
    return this.session.state;
  }

  /** A customer's conversation: the one that is open or waits. */
  get conversation() {
    return this.conversations.open.find(({ side }) => side === 'customer')?.info ?? null;
  }

  start() {
    const { uid } = this.identity;
    if (uid !== null) this.isUser(uid);
    this.tab.renew();
    this.session.start();
  }

  /** @param {boolean} keep */
  stop(keep) {
    this.session.stop('stopped', keep ? GIVEN_UP : 1000);
    this.questions.stop('stopped');
    this.intents.stop('stopped');
    this.tab.release();
  }

  forget() {
    const uid = this.uid ?? this.identity.uid;
    this.stop(false);
    this.forgetUser('forgotten');
    this.uid = null;
    this.tab.wipe(uid);
    this.identity.forget();
  }

  /** @param {Payload} payload */
  welcomed({ uid, time, resume }) {
    const { epoch } = this.session;
    this.isUser(uid);
    if (epoch !== this.session.epoch) return; // a listener has stopped
    this.session.welcomed(time);
    const before = this.tab.token;
    this.tab.token = resume ?? null;
    this.resuming.begin(before);
  }

  /** @param {string} uid */
  isUser(uid) {
    if (this.uid !== uid && this.uid !== null) this.forgetUser('identity_changed');
    const token = this.session.entrance?.token;
    this.side ??= sideOf(token ? claims(token).role : undefined);
    if (this.uid === uid) return;
    this.uid = uid;
    this.identity.known = uid;
    for (const { message } of this.outbox.pending) message.uid = uid;
    this.words.restore(this.tab.open(uid));
    this.outbox.keep();
  }

  /**
   * It is somebody else now, or nobody: what the one before has not sent, wanted or asked is not theirs. What a page does
   * when it is told of that counts for the next one.
   * @param {string} code
   */
  forgetUser(code) {
    this.intents.stop(code);
    this.questions.stop(code);
    this.outbox.abandon(code);
    this.conversations.all.clear();
    this.marks.clear();
    this.onDuty(null);
    this.side = this.given;
  }

  /**
   * @param {Payload} payload
   * @param {string[]} asked
   */
  snapshot(payload, asked) {
    this.conversations.snapshot(payload, asked);
    for (const { id, delivered, read } of list(payload.conversations).map(standing)) this.marks.know(id, { delivered, read });
    this.onDuty(payload.duty ?? null);
    const open = this.conversations.open.map(({ info }) => info.id);
    this.intents.stands({ open, place: this.conversation?.id ?? null, duty: payload.duty ?? null });
  }

  /** While it is not known how everything stands. */
  pause() {
    this.outbox.pause();
    this.intents.isLive = false;
    this.marks.live(false);
  }

  live() {
    this.session.live();
    if (this.state !== 'live') return; // a listener has stopped
    this.tab.live();
    this.outbox.live();
    this.intents.live();
    this.questions.live();
    this.marks.live(true);
    this.conversations.pages.resumed();
  }

  lost() {
    this.resuming.lost();
    this.outbox.lost();
    this.intents.lost();
    this.questions.lost();
    this.marks.live(false);
    this.typing.lost();
  }

  /** @param {{name: string, max: number}|null} duty */
  onDuty(duty) {
    if (duty === null) this.conversations.offDuty();
    if (JSON.stringify(duty) === JSON.stringify(this.duty)) return;
    this.duty = duty;
    this.events.emit('duty', duty);
  }

  /** @param {Message} message */
  changed(message) {
    this.events.emit('update', message);
    if (message.state === 'failed') this.conversations.showAll();
  }

  /** @param {unknown} problem */
  problem(problem) {
    this.events.emit('error', problem);
  }
}
