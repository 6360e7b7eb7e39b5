// Questions and other frames with an `id` whose answer carries it as `ref`: history, transcripts, lists, recalls, refresh.
// A few at a time, again on the next socket, again when the server is busy, and never without an end.

import { Alarm } from './clock.js';
import { LIMITS } from './limits.js';

/** @typedef {import('./types.js').Payload} Payload */
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
 * @property {(problem: import('./types.js').Problem) => void} reject
 */

export class Questions {
  /**
   * @param {{clock: import('./types.js').Clock, send: (frame: object) => void, newId: () => string}} parts
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
 * @returns {import('./types.js').Problem}
 */
export function problem(code, payload = {}) {
  return { code, message: String(payload.message ?? code), field: payload.field ?? null };
}
