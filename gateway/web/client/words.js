// What this user says and where it goes: to the only conversation, unless it is named.

import { own } from './entry.js';

/** @typedef {import('./desk.js').Desk} Desk */
/** @typedef {import('./types.js').Payload} Payload */

export class Words {
  /**
   * @param {Desk} desk
   * @param {() => string} newId
   */
  constructor(desk, newId) {
    this.desk = desk;
    this.newId = newId;
  }

  /**
   * @param {string} text
   * @param {string|undefined} conversation
   */
  send(text, conversation) {
    const { side, outbox } = this.desk;
    const only = this.route();
    const known = conversation ?? ('conversation' in only ? only.conversation : null);
    // A customer's words wait for a conversation while one may come; nobody else's do: it would be another one.
    const waits = side === 'customer' && !outbox.isLive;
    const fails = known === null && 'fail' in only && (only.fail === 'which_conversation' || !waits);
    return this.say(text, known, null, fails ? only.fail : null);
  }

  /**
   * @param {string} text
   * @param {string|null} conversation
   * @param {string|null} to
   * @param {string|null} [nowhere] why they can go nowhere
   */
  say(text, conversation, to, nowhere = null) {
    const words = wellFormed(String(text));
    const message = own({ ref: this.newId(), text: words, conversation, to, uid: this.desk.uid, sent: false });
    this.desk.typing.said(conversation);
    // First shown, then sent: what becomes of it is told by `update`.
    this.desk.events.emit('message', message);
    const refused = nowhere ?? this.desk.outbox.put(message, words);
    if (refused !== null) {
      Object.assign(message, { state: 'failed', code: refused });
      this.desk.changed(message);
    }
    return message;
  }

  /** @param {import('./tab.js').Item[]} items */
  restore(items) {
    if (items.length === 0) return;
    this.desk.outbox.restore(items, (item) => {
      // What another tab has sent and left may have come here as a push.
      const known = item.sent ? this.desk.conversations.find(item.conversation, item.text) : null;
      if (known) return Object.assign(known, { ref: item.ref });
      const message = own({ ...item, uid: this.desk.uid });
      this.desk.events.emit('message', message);
      return message;
    });
  }

  /**
   * Where words go that name no conversation.
   * @param {boolean} restored those of an earlier page: that customer has asked for staff, and this page will have to
   * @returns {import('./outbox.js').Destination}
   */
  route(restored = false) {
    const open = this.desk.conversations.open;
    if (open.length === 1) return { conversation: open[0].info.id };
    if (open.length > 1) return { fail: 'which_conversation' };
    const soon = restored || this.desk.intents.wants('customerConnect') || this.desk.state !== 'live';
    return soon && this.desk.side !== 'staff' ? { wait: true } : { fail: 'no_conversation' };
  }

  /** The only conversation. */
  only() {
    const route = this.route();
    return 'conversation' in route ? route.conversation : undefined;
  }

  /**
   * Who leaves has said everything before.
   * @param {import('./intents.js').Verb} verb
   * @param {Payload} payload
   */
  mayGo(verb, { conversation }) {
    if (verb === 'customerLeave' || verb === 'staffOffline') return !this.desk.outbox.hasFor(null);
    return verb !== 'close' || !this.desk.outbox.hasFor(conversation);
  }
}

/**
 * Halves of characters, which JSON can carry and UTF-8 cannot, are replaced: the server would refuse the frame.
 * @param {string} text
 */
export function wellFormed(text) {
  return text.replace(/[\uD800-\uDBFF][\uDC00-\uDFFF]|[\uD800-\uDFFF]/g, (part) => (part.length === 2 ? part : '\uFFFD'));
}
