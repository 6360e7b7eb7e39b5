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
export function isPlace(payload) {
  const { seq, id } = payload ?? {};
  return Number.isSafeInteger(seq) && seq >= 1 && typeof id === 'string';
}

/**
 * A number that counts something.
 * @param {unknown} value
 */
export function count(value) {
  return Number.isSafeInteger(value) ? Math.max(/** @type {number} */ (value), 0) : 0;
}

/**
 * A list, whatever came in its place.
 * @param {unknown} value
 * @returns {Payload[]}
 */
export function list(value) {
  return Array.isArray(value) ? value.filter((item) => typeof item === 'object' && item !== null) : [];
}

/**
 * The entries of a `history` frame, in their order.
 * @param {Payload} payload
 */
export function entriesOf(payload) {
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
