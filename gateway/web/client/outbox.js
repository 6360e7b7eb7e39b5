// Messages on their way out, in order. Each has an id that stays the same however often it is sent, so that the cluster
// stores it once; it stays here, and in the tab's storage, until it is acknowledged or refused for good.

import { Alarm } from './clock.js';
import { LIMITS } from './limits.js';

/** @typedef {import('./types.js').Message} Message */
/** @typedef {import('./types.js').Clock} Clock */
/** @typedef {import('./tab.js').Item} Item */
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

export class Outbox {
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

  /**
   * Sends what may be sent now.
   * @returns {void}
   */
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
export function utf8(text) {
  return new TextEncoder().encode(text).length;
}
