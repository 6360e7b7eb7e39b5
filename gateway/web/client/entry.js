// Entries of a log and messages, out of what frames say.

/** @typedef {import('./types.js').Entry} Entry */
/** @typedef {import('./types.js').Message} Message */
/** @typedef {import('./types.js').Payload} Payload */

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
export function pushed(action, payload) {
  const { seq, id, prev, time, code, from, uid, message, of } = payload;
  if (!Number.isInteger(seq) || typeof id !== 'string') return null;
  const words = typeof from === 'string';
  const kind = action === 'recalled' ? 'recalled' : words ? 'message'
    : action === 'message' ? KINDS[code] ?? 'notice' : 'ended';
  return {
    seq, id, prev: prev ?? null, time: time ?? 0, kind, code: code ?? null, from: from ?? null, uid: uid ?? null,
    text: words ? message ?? null : null, of: of ?? null, recalled: payload.recalled === true, told: true, message: null,
  };
}

/**
 * An entry of a `history` frame.
 * @param {Payload} line
 * @returns {Entry}
 */
export function logged(line) {
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
export function acknowledged(ack, message) {
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
export function own({ ref, text, conversation, to, uid, sent }) {
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
export function shown(conversation, entry, mine) {
  const { seq, id, time, from, uid, recalled } = entry;
  return {
    ref: null, conversation, to: null, seq, id, time, from, uid, mine, text: recalled ? null : entry.text, recalled,
    state: 'stored', code: null,
  };
}
