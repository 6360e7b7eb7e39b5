// Every bound of the client in one place, in ms, bytes or counts. Those that docs/PROTOCOL.md sets say so.

export const LIMITS = Object.freeze({
  /** Longest words, in bytes of UTF-8 (protocol). */
  text: 16 * 1024,
  /** Longest frame (protocol). */
  frame: 64 * 1024,
  /** Most messages without an ack (protocol). */
  window: 256,
  /** A message without an ack is sent again after so long (protocol); so is what is asked for. */
  resendMs: 10_000,
  /** Most positions of a `resume`, conversations of a snapshot (protocol). */
  positions: 50,
  /** Most questions of a socket that may wait (protocol), and of this client in all. */
  questions: 3,
  questionsWaiting: 32,
  /** How long a question may take, over however many sockets. */
  questionMs: 60_000,
  /** How often what was answered `busy` is asked again. */
  questionTries: 6,
  /** Messages that wait to be sent, and their bytes. */
  outbox: 200,
  outboxBytes: 512 * 1024,
  /**
   * A message that is older is not sent any more: ids are remembered for 24 h, and after that it might be
   * stored twice.
   */
  outboxMs: 23 * 3_600_000,
  /** Entries of a conversation that are kept, and that are kept beyond a hole. */
  entries: 1000,
  ahead: 200,
  /** Conversations that are kept. */
  conversations: 200,
  /** A page of history; the most that is fetched to close a gap before the view begins anew. */
  page: 50,
  catchUp: 500,
  /** What is missing for so long is asked for: an ack may come after what follows it. */
  patienceMs: 1500,
  /** Time between two `resume`s on one socket. */
  resumeMs: 1000,
  /** From the handshake to the answer of `resume`. */
  enterMs: 20_000,
  /** A ticket or a token must come within this. */
  fetchMs: 15_000,
  /** After so long without a word the server is asked, and must answer within the deadline. */
  quietMs: 20_000,
  pongMs: 10_000,
  /** How often the client looks at both. */
  tickMs: 5_000,
  /** The first pause before coming back is up to `backoffMs`, the longest up to `backoffMaxMs`. */
  backoffMs: 1_000,
  backoffMaxMs: 30_000,
  /** Who was live for so long begins again with the first pause. */
  provenMs: 10_000,
  /** The longest `Retry-After` that is obeyed. */
  retryAfterMs: 300_000,
  /** After a newer token was not to be had it is asked for again, not before this. */
  renewAgainMs: 5_000,
  /** So many tokens in a row may be refused. */
  refusals: 5,
  /** Of a conversation one `delivered` in so long. */
  markMs: 500,
  /** So many marks at a time, and how long after that one may turn out to be refused. */
  marks: 4,
  markRefusedMs: 3_000,
  /** Typing: told again while it goes on, ended without a further key, and believed for so long (protocol). */
  typingAgainMs: 3_000,
  typingStopMs: 4_000,
  typingFadesMs: 5_000,
  /** A tab that does not renew its lease for so long is gone; hidden tabs wake once a minute. */
  leaseMs: 90_000,
  /** How often a tab renews it and looks for what others have left. */
  leaseTickMs: 15_000,
});
