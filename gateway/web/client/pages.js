// What is missing of conversations, by pages of `history`: the newest one to begin with, what comes after, what came before.

import { Alarm } from './clock.js';
import { entriesOf } from './entry.js';
import { LIMITS } from './limits.js';

/** @typedef {import('./conversations.js').Conversations} Conversations */
/** @typedef {import('./conversations.js').Host} Host */
/** @typedef {import('./conversations.js').Known} Known */

/** How long a conversation of which only the middle was told may begin by itself: the kept words follow. */
const BEGIN_MS = 300;
/** Why questions end with the client, or the user, that asked. */
const OVER = ['stopped', 'forgotten', 'identity_changed'];

export class Pages {
  /**
   * @param {Host} host
   * @param {Conversations} conversations
   */
  constructor(host, conversations) {
    this.host = host;
    this.conversations = conversations;
    this.missing = new Alarm(host.clock, () => this.lookForGaps());
    this.beginning = new Alarm(host.clock, () => this.loadWhatBegan());
  }

  /**
   * A push came out of turn.
   * @param {Known} known
   */
  hasGap({ view }) {
    if (view.first === null) this.beginning.by(BEGIN_MS);
    else if (!view.awaiting) this.missing.by(LIMITS.patienceMs);
  }

  /** The histories have come: is there more anywhere? */
  resumed() {
    for (const known of [...this.conversations.all.values()]) {
      const { info, view } = known;
      if (view.first !== null && !view.awaiting && info.seq > view.end && info.state !== 'ended') void this.catchUp(known);
    }
  }

  lookForGaps() {
    const gaps = [...this.conversations.all.values()].filter(({ view, busy }) => view.first !== null && view.hasGap && !view.awaiting && !busy);
    if (gaps.length > 0) this.host.resume();
  }

  loadWhatBegan() {
    for (const { info, view } of [...this.conversations.all.values()]) if (view.first === null && view.hasGap) void this.load(info.id);
  }

  /**
   * Reads on from where the run ends; what would be too long begins anew.
   * @param {Known} known
   */
  async catchUp(known) {
    const { info, view } = known;
    if (known.busy) return;
    if (info.seq - view.end > LIMITS.catchUp) return this.beginAnew(known);
    await this.busily(known, async () => {
      for (let more = true; more; ) {
        const { end } = view;
        const page = await this.host.ask('history', { conversation: info.id, after: end, limit: 100 });
        if (view.awaiting) return;
        for (const entry of entriesOf(page)) if (view.take(entry) === 'wrong') return this.host.resume();
        this.conversations.show(known);
        more = page.more === true && view.end > end;
      }
    });
  }

  /** @param {Known} known */
  beginAnew(known) {
    return this.busily(known, async () => {
      const page = await this.host.ask('history', { conversation: known.info.id, limit: LIMITS.page });
      if (known.view.awaiting) return;
      const lost = known.view.reset(entriesOf(page).reverse());
      this.conversations.redraw(known, lost, false);
    });
  }

  /**
   * Sees to it that the newest page of a conversation is here.
   * @param {string} id
   * @param {boolean} throws what is refused, as the page wants that asked for it
   */
  async load(id, throws = false) {
    const known = this.conversations.of(id);
    if (known.view.first !== null || known.busy) return '';
    return this.busily(known, async () => {
      const page = await this.host.ask('history', { conversation: id, limit: LIMITS.page });
      const { info, view } = known;
      const early = Math.min(...view.ahead.keys());
      const fits = view.load(entriesOf(page).reverse());
      // In no snapshot: what was not pushed is not new, and perhaps somebody else's.
      if (known.stood === null) {
        known.counted = Math.max(known.counted, Math.min(early - 1, view.end));
        info.delivered = Math.max(info.delivered, known.counted);
        info.read = Math.max(info.read, known.counted);
      }
      if (!fits) this.host.resume();
      this.conversations.show(known);
      if (view.hasGap) this.missing.by(LIMITS.patienceMs);
    }, throws);
  }

  /**
   * The same for many, a few at a time: more would be refused.
   * @param {string[]} ids
   */
  loadAll(ids) {
    const some = async () => {
      for (let id = ids.shift(); id !== undefined; id = ids.shift()) {
        if (OVER.includes(await this.load(id))) return;
      }
    };
    for (let lane = 0; lane < LIMITS.questions; lane += 1) void some();
  }

  /**
   * The page before what there is. Returns its messages, oldest first, and whether there are older ones.
   * @param {string} id
   */
  older(id) {
    const known = this.conversations.of(id);
    known.asking ??= this.before(known).finally(() => {
      known.asking = null;
    });
    return known.asking;
  }

  /** @param {Known} known */
  async before(known) {
    const { info, view } = known;
    if (view.first === null) await this.load(info.id, true);
    const before = view.oldest ?? 1;
    if (before <= 1) return { messages: [], more: false };
    const page = await this.host.ask('history', { conversation: info.id, before, limit: LIMITS.page });
    if (view.oldest !== before) return { messages: [], more: true }; // drawn anew meanwhile
    const entries = entriesOf(page).reverse().filter(({ seq }) => seq < before);
    view.prepend(entries);
    view.oldest = entries[0]?.seq ?? before;
    const said = entries.filter((entry) => entry.kind === 'message');
    return {
      messages: said.map((entry) => this.conversations.messageOf(known, entry)),
      more: page.more === true && entries.length > 0,
    };
  }

  /**
   * One at a time for a conversation. What is refused or never answered leaves things as they are: the next `resume`
   * looks again. Returns the code of why not.
   * @param {Known} known
   * @param {() => Promise<void>} work
   * @param {boolean} throws
   */
  async busily(known, work, throws = false) {
    known.busy = true;
    try {
      await work();
      return '';
    } catch (error) {
      if (throws) throw error;
      const problem = /** @type {import('./types.js').Problem} */ (error);
      if (problem.code !== 'stopped') this.host.emit('error', problem);
      return problem.code;
    } finally {
      known.busy = false;
    }
  }
}
