// What this user wants to be: talking to staff, on duty, or no more. These frames have no id, but they may be repeated:
// so one that is not answered goes out again, and a new socket's snapshot tells whether it still has to.

import { Alarm } from './clock.js';
import { LIMITS } from './limits.js';

/** @typedef {import('./types.js').Notice} Notice */
/** @typedef {import('./types.js').Payload} Payload */
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

export class Intents {
  /**
   * @param {{clock: import('./types.js').Clock, send: (frame: object) => void, mayGo: (verb: Verb, payload: Payload) => boolean}}
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

  /** @returns {void} */
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
