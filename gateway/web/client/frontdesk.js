// Frontdesk's client for browsers and Node: one object per user and page. docs/CLIENT.md is its handbook and
// docs/PROTOCOL.md what it speaks. Here is what a page may call; `desk` ties the parts together:
//
//   session ── link (one socket) · identity (tickets, tokens) · backoff
//   frames (what comes) ── resuming ── conversations ── view (what is shown: in order, without holes, once)
//   words (what goes) ── outbox ── tab (what survives the page)    questions · intents · marks · typing

import { standing } from './conversations.js';
import { Desk } from './desk.js';
import { entriesOf, list } from './entry.js';

/** @typedef {import('./types.js').Options} Options */
/** @typedef {import('./types.js').Events} Events */
/** @typedef {import('./types.js').Message} Message */

export class Frontdesk {
  /** @type {Desk} */ #desk;

  /** @param {Options} options */
  constructor(options) {
    this.#desk = new Desk(options);
  }

  /**
   * Calls the listener at each event of this name; docs/CLIENT.md lists them. Returns what ends that.
   * @template {keyof Events} K
   * @param {K} name
   * @param {(detail: Events[K]) => void} listener
   */
  on(name, listener) {
    return this.#desk.events.on(name, listener);
  }

  /** Comes, and stays: through lost sockets, sleeping laptops and restarted servers. */
  start() {
    this.#desk.start();
    return this;
  }

  /**
   * Leaves: customers leave their conversation or the queue, staff go off duty, if this was their last socket. With
   * `keep` the place is kept for a moment, as if the socket were lost.
   * @param {{keep?: boolean}} how
   */
  stop({ keep = false } = {}) {
    this.#desk.stop(keep);
  }

  /** Signs out on this machine: what is kept of this user is removed, unsent messages too. */
  forget() {
    this.#desk.forget();
  }

  get state() {
    return this.#desk.state;
  }

  /** Who this is, once that is known. */
  get uid() {
    return this.#desk.uid;
  }

  /** On duty as this, or `null`. */
  get duty() {
    return this.#desk.duty;
  }

  /** All conversations that are known, the last changed first. */
  get conversations() {
    return this.#desk.conversations.infos;
  }

  /** A customer's conversation: the one that is open or waits. */
  get conversation() {
    return this.#desk.conversation;
  }

  /** What is not stored yet, in order. */
  get outbox() {
    return this.#desk.outbox.pending.map(({ message }) => message);
  }

  /** Messages of all conversations that are not read. */
  get unread() {
    return this.#desk.conversations.unread;
  }

  /**
   * What was said in a conversation, as far as it is here, in order.
   * @param {string} conversation
   */
  messages(conversation) {
    return this.#desk.conversations.messages(conversation);
  }

  /** A customer asks for staff. Answers how it stands: `connected`, `queued`, `no_staff` … */
  connect() {
    return this.#desk.intents.want('customerConnect', {});
  }

  /** A customer ends the conversation, or leaves the queue, once what they said is stored. */
  leave() {
    return this.#desk.intents.want('customerLeave', {});
  }

  /**
   * Staff take customers.
   * @param {{name?: string, max?: number}} as
   */
  goOnline({ name, max } = {}) {
    return this.#desk.intents.want('staffOnline', { ...(name !== undefined && { name }), ...(max !== undefined && { max }) });
  }

  /** Staff stop. */
  goOffline() {
    return this.#desk.intents.want('staffOffline', {});
  }

  /**
   * Staff end one conversation.
   * @param {string} conversation
   */
  close(conversation) {
    return this.#desk.intents.want('close', { conversation });
  }

  /**
   * Says something: to the only conversation, unless it is named. Never throws: a message that cannot be sent has failed.
   * @param {string} text
   * @param {{conversation?: string}} where
   */
  send(text, { conversation } = {}) {
    return this.#desk.words.send(text, conversation);
  }

  /**
   * Says something to a user of the site.
   * @param {string} uid
   * @param {string} text
   */
  sendTo(uid, text) {
    return this.#desk.words.say(text, null, uid);
  }

  /**
   * Takes a message of one's own back.
   * @param {Message} message
   */
  async recall({ conversation, seq, id }) {
    if (conversation === null || seq === null) throw { code: 'no_message', message: 'it is not stored', field: null };
    await this.#desk.questions.ask('recall', { conversation, seq, message_id: id });
  }

  /**
   * A key was pressed.
   * @param {string} [conversation]
   */
  typing(conversation = this.#desk.words.only()) {
    if (conversation && this.state === 'live') this.#desk.typing.types(conversation);
  }

  /**
   * They have stopped without sending.
   * @param {string} [conversation]
   */
  stopTyping(conversation = this.#desk.words.only()) {
    if (conversation) this.#desk.typing.stops(conversation);
  }

  /**
   * Everything is read, or up to a place.
   * @param {string} [conversation]
   * @param {number} [upTo]
   */
  read(conversation = this.#desk.words.only(), upTo) {
    if (conversation) this.#desk.conversations.read(conversation, upTo);
  }

  /**
   * Loads the newest page of a conversation, which then stays up to date.
   * @param {string} conversation
   */
  async load(conversation) {
    await this.#desk.conversations.pages.load(conversation, true);
    return this.messages(conversation);
  }

  /**
   * The page before what is loaded: `{messages, more}`.
   * @param {string} conversation
   */
  older(conversation) {
    return this.#desk.conversations.pages.older(conversation);
  }

  /**
   * All of a conversation's log as it is now.
   * @param {string} conversation
   */
  async transcript(conversation) {
    return entriesOf(await this.#desk.questions.ask('transcript', { conversation }));
  }

  /**
   * A page of all conversations there are, the last changed first.
   * @param {{before?: string, limit?: number}} page
   */
  async list(page = {}) {
    const { conversations, more, before } = await this.#desk.questions.ask('conversations', page);
    return { conversations: list(conversations).map(standing), more: more === true, before: before ?? null };
  }
}
