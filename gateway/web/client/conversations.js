// All conversations of this user, as far as they are known here: how they stand, what was said in them, and what is
// missing. What is missing or does not fit is asked for: by `resume` where the log is to judge it, by `history` for
// pages before and after.

import { acknowledged, count, entriesOf, list, pushed, shown } from './entry.js';
import { LIMITS } from './limits.js';
import { Pages } from './pages.js';
import { View } from './view.js';

/** @typedef {import('./types.js').Conversation} Conversation */
/** @typedef {import('./types.js').Entry} Entry */
/** @typedef {import('./types.js').Message} Message */
/** @typedef {import('./types.js').Payload} Payload */
/**
 * @typedef {object} Known
 * @property {Conversation} info
 * @property {View} view
 * @property {'customer'|'staff'|null} side this user's
 * @property {boolean} busy pages are on their way
 * @property {number} counted up to where `unread` counts
 * @property {boolean} ours told by the cluster of itself, not only asked for by the page: a supervisor may look at others'
 * @property {{seq: number, read: number, unread: number}|null} stood in the last snapshot
 * @property {Promise<{messages: Message[], more: boolean}>|null} asking for the page before
 */
/**
 * @typedef {object} Host
 * @property {import('./types.js').Clock} clock
 * @property {() => string|null} me
 * @property {() => 'customer'|'staff'|null} side as far as the role says
 * @property {(name: string, detail: unknown) => void} emit
 * @property {() => void} resume asks how everything stands
 * @property {(action: string, payload: object) => Promise<Payload>} ask
 * @property {(conversation: string, text: string|null) => boolean} mayBe
 * @property {(conversation: string, mark: 'delivered'|'read', upTo: number) => void} mark
 * @property {(conversation: string) => void} unmark what was to be told of it is void
 */

export class Conversations {
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
      ours: false,
      stood: null,
      asking: null,
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
    known.ours = true;
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
    known.ours = true;
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
      // What was read here a moment ago the server may not know yet; then its count is of before.
      const isOld = known.info.read > count(read);
      known.info.delivered = count(delivered);
      if (!isOld) known.info.read = count(read);
      if (!isOld && typeof unread === 'number') this.setUnread(known, count(unread));
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
    const all = [...this.all.values()].reverse().filter(({ view, ours }) => view.first !== null && ours);
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
    const empty = this.open.filter(({ view }) => view.first === null);
    for (const { info, view } of empty) if (info.seq === 0) view.begin();
    this.pages.loadAll(empty.filter(({ view }) => view.first === null).map(({ info }) => info.id));
  }

  /** @param {Payload} item of a snapshot */
  stands(item) {
    const known = this.of(item.conversation);
    const { info } = known;
    known.ours = true;
    known.stood = { seq: count(item.seq), read: count(item.read), unread: count(item.unread) };
    if (item.state === 'waiting') known.side = 'customer';
    if (item.state === 'open') known.side ??= item.name === undefined ? 'staff' : 'customer';
    // Read here while there was no socket: the server counts without it, so what follows is counted here.
    const ahead = info.read > count(item.read) && info.read <= count(item.seq) ? info.read : 0;
    if (ahead === 0) {
      known.counted = Math.max(known.counted, count(item.seq));
      this.setUnread(known, count(item.unread));
    }
    Object.assign(info, standing(item), { queue: info.queue, ...(ahead > 0 && { read: ahead, unread: info.unread }) });
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
    if (payload.reset) this.fallsBack(known);
    const lost = payload.reset ? view.reset(entries) : view.answer(entries, payload.more === true);
    if (lost === null) return this.host.resume();
    if (payload.reset || lost.length > 0) this.redraw(known, lost, entries.length === 0 && payload.reset);
    if (!payload.reset && payload.more) void this.pages.catchUp(known);
    this.show(known);
  }

  /**
   * The log is another one: what was read of the one before says nothing of it.
   * @param {Known} known
   */
  fallsBack(known) {
    const { info, stood } = known;
    this.host.unmark(info.id);
    if (stood === null) return;
    known.counted = stood.seq;
    info.read = stood.read;
    this.setUnread(known, stood.unread);
  }

  /**
   * Redis has lost writes, or the conversation has expired: what was shown is not what is written.
   * @param {Known} known
   * @param {Entry[]} lost
   * @param {boolean} gone
   */
  redraw(known, lost, gone) {
    const { info, view } = known;
    const failed = lost.flatMap(({ message }) => (message?.mine ? [message] : []));
    for (const message of failed) Object.assign(message, { state: 'failed', code: 'lost' });
    for (const entry of view.entries) if (entry.kind === 'message') this.messageOf(known, entry);
    view.shown = view.end;
    if (gone) {
      info.state = 'ended';
      this.all.delete(info.id);
    }
    this.host.emit('reset', { conversation: info.id, messages: this.messages(info.id), entries: [...view.entries] });
    // After it, or a page that draws all anew would show them no more.
    for (const message of failed) this.host.emit('update', message);
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
export function standing(item) {
  return {
    id: item.conversation, state: item.state, with: item.with ?? null, name: item.name ?? null, queue: item.queue ?? null,
    seq: count(item.seq), unread: count(item.unread), read: count(item.read), delivered: count(item.delivered),
    peerRead: count(item.peer_read), peerDelivered: count(item.peer_delivered), last: entriesOf({ entries: [item.last] })[0] ?? null,
  };
}
