// What comes over a socket: each frame to the part that it is for.

import { isPlace, own } from './entry.js';

/** @typedef {import('./desk.js').Desk} Desk */
/** @typedef {import('./types.js').Message} Message */
/** @typedef {import('./types.js').Notice} Notice */
/** @typedef {import('./types.js').Payload} Payload */

export class Frames {
  /** @param {Desk} desk */
  constructor(desk) {
    this.desk = desk;
  }

  /**
   * @param {string} action
   * @param {Payload} payload
   */
  take(action, payload) {
    const { ref, code } = payload;
    if (action === 'ack') return this.acked(payload);
    if (action === 'error') return this.refused(payload);
    const answered = typeof ref === 'string' && this.desk.questions.answer(action, payload);
    if (action === 'recalled') this.desk.conversations.push(action, payload);
    if (answered || action === 'recalled') return;
    if (action === 'welcome') this.desk.welcomed(payload);
    else if (action === 'snapshot') this.desk.resuming.snapshot(payload);
    else if (action === 'history') this.desk.resuming.history(payload);
    else if (action === 'resync') this.desk.resuming.want();
    else if (action === 'receipt') this.desk.conversations.receipt(payload);
    else if (action === 'typing') this.desk.typing.told(payload.conversation, payload.uid ?? null, payload.on === true);
    else if (['message', 'chat_close', 'queue_close'].includes(action)) this.pushed(action, payload, code);
  }

  /**
   * @param {string} action
   * @param {Payload} payload
   * @param {string|undefined} code
   */
  pushed(action, payload, code) {
    if (code === 'queue_moved') this.desk.conversations.queueMoved(payload.queue);
    if (code === 'on_duty') this.desk.onDuty({ name: payload.name, max: payload.max });
    if (code === 'off_duty') this.desk.onDuty(null);
    const conversation = this.desk.conversations.push(action, payload);
    if (conversation && (payload.from || action !== 'message')) this.desk.typing.told(conversation, null, false);
    if (code) {
      this.desk.events.emit('notice', { ...payload, action });
      this.desk.intents.told(/** @type {Notice} */ (payload));
    }
    this.desk.outbox.pump(); // perhaps it is known now where to
  }

  /** @param {Payload} payload */
  acked(payload) {
    const acked = isPlace(payload) && typeof payload.conversation === 'string' ? this.desk.outbox.acked(payload.ref) : null;
    if (!acked) return;
    const isAnother = acked.seq !== null && acked.seq !== payload.seq;
    this.desk.conversations.acked(payload, isAnother ? this.another(acked, payload) : acked);
    this.desk.conversations.showAll();
    this.desk.intents.pump();
  }

  /**
   * What was taken for one's own message said the same, and was another one.
   * @param {Message} taken
   * @param {Payload} payload the ack
   */
  another(taken, { ref, conversation, seq }) {
    taken.ref = null;
    const shown = this.desk.conversations.messages(conversation).find((message) => message.seq === seq);
    if (shown) return Object.assign(shown, { ref });
    const message = own({ ...taken, ref, text: taken.text ?? '', sent: true });
    this.desk.events.emit('message', message);
    return message;
  }

  /** @param {Payload} payload */
  refused(payload) {
    const { code, ref } = payload;
    const retryAfterMs = Number(payload.retry_after_ms) || (code === 'busy' || code === 'rate_limited' ? 1000 : 0);
    if (typeof ref === 'string') {
      if (this.desk.outbox.refused(ref, code, retryAfterMs)) {
        this.desk.conversations.showAll();
        this.desk.intents.pump();
      } else if (this.desk.questions.answer('error', payload)) return;
    } else {
      if (this.desk.resuming.refused(code, retryAfterMs)) return;
      const answered = this.desk.intents.told(/** @type {Notice} */ (payload));
      if (retryAfterMs > 0) {
        this.desk.intents.hold(retryAfterMs);
        this.desk.marks.again(retryAfterMs);
      } else if (answered) return;
    }
    this.desk.problem({ code, message: payload.message ?? code, field: payload.field ?? null });
  }
}
