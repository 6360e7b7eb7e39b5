// What the parts of the client, and its users, pass to each other.

/** @typedef {'customer'|'staff'|'supervisor'|'service'|'any'} Role */

/**
 * `queued`: not sent yet; `sent`: on its way; `stored`: acknowledged, on disk; `delivered`: a device of the other
 * side has it; `read`: they have seen it; `failed`: it will not be sent again, `code` says why.
 * @typedef {'queued'|'sent'|'stored'|'delivered'|'read'|'failed'} MessageState
 */

/**
 * Somebody's words. One object per message: it changes, and `update` tells of it.
 * @typedef {object} Message
 * @property {string|null} ref one's own id of it, if it was sent from here
 * @property {string|null} conversation `null` until it is known
 * @property {string|null} to the uid that it was sent to by `sendTo`
 * @property {number|null} seq its place in the conversation, once stored
 * @property {string|null} id the cluster's id of it, once stored
 * @property {number|null} time when it was stored, in ms since 1970 by the server's clock
 * @property {string|null} from `customer`, `staff`, `user` or `system`; `null` until one's own is stored
 * @property {string|null} uid who said it
 * @property {boolean} mine whether this user said it, here or on another device
 * @property {string|null} text the words; `null` once they were taken back
 * @property {boolean} recalled whether they were taken back
 * @property {MessageState} state
 * @property {string|null} code why it failed
 */

/**
 * One entry of a conversation's log, as docs/PROTOCOL.md has it.
 * @typedef {object} Entry
 * @property {number} seq
 * @property {string} id
 * @property {string|null} prev the id of the entry before; `null` at the beginning, or if nobody has told it
 * @property {number} time
 * @property {string} kind `message`, `assigned`, `ended`, `requeued` or `recalled`; `notice` for a push that only has a code
 * @property {string|null} code the code of the push that told it
 * @property {string|null} from
 * @property {string|null} uid
 * @property {string|null} text words, or the reason of an end
 * @property {number|null} of the place of the message that was taken back
 * @property {boolean} recalled
 * @property {boolean} told whether it was told with what came before it; an ack alone does not say that
 * @property {Message|null} message
 */

/**
 * How a conversation stands.
 * @typedef {object} Conversation
 * @property {string} id
 * @property {string} state `waiting`, `open`, `ended` or `direct`
 * @property {string|null} with the uid of the other side
 * @property {string|null} name what staff call themselves
 * @property {number|null} queue the place of who waits, from 1
 * @property {number} seq the newest place that is known
 * @property {number} unread messages of the other side after the own read mark
 * @property {number} read one's own marks
 * @property {number} delivered
 * @property {number} peerRead those of the other side
 * @property {number} peerDelivered
 * @property {Entry|null} last of a list: the newest message
 */

/**
 * `idle`: not started; `connecting`; `live`: everything is known and goes out at once; `waiting`: for the next attempt;
 * `stopped`: by `stop`; `refused`: coming back is of no use, `code` says why.
 * @typedef {'idle'|'connecting'|'live'|'waiting'|'stopped'|'refused'} State
 */

/**
 * @typedef {object} StateChange
 * @property {State} state
 * @property {number|string|null} code the close code, or a word such as `unauthorized`, if there was one
 * @property {number|null} retryInMs while waiting: how long
 */

/**
 * @typedef {object} Problem
 * @property {string} code of docs/PROTOCOL.md, or one of docs/CLIENT.md
 * @property {string} message for people
 * @property {string|null} field
 */

/** @typedef {{code: string, message?: string, conversation?: string, [field: string]: unknown}} Notice */

/**
 * What each event is told with.
 * @typedef {object} Events
 * @property {Message} message
 * @property {Message} update
 * @property {Entry & {conversation: string}} entry
 * @property {{conversation: string, messages: Message[], entries: Entry[]}} reset
 * @property {StateChange} state
 * @property {Notice} notice
 * @property {Conversation} conversation
 * @property {{conversation: string, place: number|null}} queue
 * @property {{conversation: string, unread: number, total: number}} unread
 * @property {{conversation: string, uid: string, delivered: number, read: number}} receipt
 * @property {{conversation: string, uid: string|null, on: boolean}} typing
 * @property {{name: string, max: number}|null} duty
 * @property {Problem} error
 */

/**
 * A payload as it came: fields are looked at before they are used.
 * @typedef {Record<string, any>} Payload
 */

/**
 * Time and chance, so that tests can hold them.
 * @typedef {object} Clock
 * @property {() => number} now ms of a clock that no one sets
 * @property {() => number} wall ms since 1970, which may jump
 * @property {(work: () => void, ms: number) => any} setTimeout
 * @property {(timer: any) => void} clearTimeout
 * @property {() => number} random from 0 up to 1
 */

/**
 * What is used of a `Storage`.
 * @typedef {object} Store
 * @property {number} length
 * @property {(index: number) => string|null} key
 * @property {(name: string) => string|null} getItem
 * @property {(name: string, value: string) => void} setItem
 * @property {(name: string) => void} removeItem
 */

/**
 * What is used of a `WebSocket`.
 * @typedef {object} Socket
 * @property {((event: any) => void)|null} onopen
 * @property {((event: {data: any}) => void)|null} onmessage
 * @property {((event: {code: number, reason: string}) => void)|null} onclose
 * @property {((event: any) => void)|null} onerror
 * @property {(text: string) => void} send
 * @property {(code?: number, reason?: string) => void} close
 */

/**
 * @typedef {object} Options
 * @property {string|string[]} url where the gateways are: `https://chat.example.com`; of several, another one is tried after a failure
 * @property {(why: {refused: boolean}) => Promise<string|null>|string|null} [token] gives a token of this user, a new one if the last was
 *   refused; `null`: nobody is signed in any more. Without it (and without `open`) the page's visitor is an anonymous customer
 * @property {boolean} [open] the cluster is in open mode: `uid` and `role` are believed
 * @property {string} [site] the tenant, `default` unless said
 * @property {string} [uid] who it is, if the page knows: then what waits to be sent shows before the server is reached
 * @property {Role} [role] open mode: `customer` and so on
 * @property {string} [lang] language of the texts, `zh-CN` or `en`
 * @property {number} [window] messages on their way at once, 1 to 256. With more than 1 (the default) what was refused for a while may
 *   be stored after what followed it
 * @property {boolean} [autoDelivered] says by itself what has reached this device; `true` unless said
 * @property {Store|null} [storage] where what waits to be sent is kept: `localStorage`; `null`: nowhere
 * @property {Store|null} [session] where this tab's resume token is kept: `sessionStorage`
 * @property {any} [WebSocket] a constructor, where there is none
 * @property {typeof fetch} [fetch]
 * @property {Partial<Clock>} [clock]
 * @property {EventTarget|null} [page] tells `online`, `offline`, `pagehide`, `pageshow`, `visibilitychange`
 * @property {() => string} [newId] makes ids for messages
 */

export {};
