// Somebody who lives on the cluster by chance, through the client under test, and says all that happens to them: what goes
// over the wire, and what the client shows.

/** A WebSocket that tells `note` what it carries. */
function recording(WebSocket, note, numbers) {
  return class Recorded {
    constructor(url) {
      const socket = new WebSocket(url);
      const number = ++numbers.last;
      let over = false;
      const end = (what) => {
        if (!over) note({ k: what, socket: number });
        over = true;
      };
      note({ k: 'socket', socket: number });
      socket.onopen = (event) => this.onopen?.(event);
      socket.onerror = (event) => this.onerror?.(event);
      socket.onmessage = ({ data }) => {
        if (over || numbers.frozen) return;
        tell(data, (frame) => note({ k: 'told', socket: number, frame }));
        this.onmessage?.({ data });
      };
      socket.onclose = ({ code, reason }) => {
        end('lost');
        this.onclose?.({ code, reason });
      };
      this.send = (text) => {
        if (numbers.frozen) return;
        said(text, number, note);
        socket.send(text);
      };
      this.close = (code, reason) => {
        end(code === 1000 ? 'left' : 'lost');
        socket.close(code, reason);
      };
    }
  };
}

function said(text, socket, note) {
  if (text === 'PING') return;
  const { action, payload } = JSON.parse(text);
  if (action === 'message') note({ k: 'said', socket, reference: payload.id, words: payload.message });
  else if (action !== 'refresh') note({ k: 'did', socket, frame: text }); // tokens stay out of it
}

/** What a frame tells at once. What has a place in a log counts when the client shows it. */
function tell(text, told) {
  if (text === 'PONG') return;
  const { action, payload } = JSON.parse(text);
  if (action === 'history' || action === 'recalled') return;
  if (action !== 'ack' && Number.isInteger(payload.seq)) {
    if (!payload.code) return;
    for (const name of ['seq', 'id', 'prev', 'time']) delete payload[name];
  }
  delete payload.resume;
  told({ action, payload });
}

/** An entry as the push that would have told it. */
function push({ conversation, seq, id, prev, time, kind, from, text }) {
  const words = kind === 'message' ? { from, message: text } : { kind };
  return { action: 'message', payload: { conversation, seq, id, ...(prev !== null && { prev }), time, ...words } };
}

export class Person {
  /** `as`: uid, role, max, number (of this device among all), urls, token. */
  constructor(Frontdesk, as, options, note) {
    this.as = as;
    this.said = 0;
    this.asking = false;
    this.spoke = performance.now();
    this.numbers = { last: 0, frozen: false };
    const noteMine = (record) => note({ ...record, number: as.number });
    this.client = new Frontdesk({
      url: as.urls,
      lang: 'en',
      token: () => as.token(),
      newId: () => `m${as.number * 1_000_000 + ++this.said}`,
      ...options,
      WebSocket: recording(options.WebSocket ?? globalThis.WebSocket, noteMine, this.numbers),
    });
    const told = (frame) => noteMine({ k: 'told', socket: this.numbers.last, frame });
    this.client.on('entry', (entry) => {
      if (entry.told) told(push(entry)); // else the ack has told it
    });
    this.client.on('reset', ({ conversation, entries }) => {
      const lines = entries.map((entry) => ({ ...push({ conversation, ...entry }).payload, kind: entry.kind }));
      told({ action: 'history', payload: { conversation, entries: lines, reset: true } });
    });
    // Each place of a conversation is one message on the page.
    const places = new Map();
    const look = (message) => {
      const place = `${message.conversation}/${message.seq}`;
      if (message.seq !== null && (places.get(place) ?? message) !== message) noteMine({ k: 'problem', problem: `shown_twice: ${place}` });
      if (message.seq !== null) places.set(place, message);
    };
    this.client.on('message', look);
    this.client.on('update', look);
    this.client.on('reset', () => places.clear());
    this.client.on('error', (problem) => noteMine({ k: 'problem', problem: `${problem.code}: ${problem.message}` }));
    this.client.on('state', (change) => noteMine({ k: 'state', change: JSON.stringify(change) }));
    this.client.start();
  }

  get isStaff() {
    return this.as.role === 'staff';
  }

  get hasPlace() {
    return this.isStaff ? this.client.duty !== null : this.client.conversation !== null;
  }

  get isLive() {
    return this.client.state === 'live';
  }

  get isSettled() {
    return this.isLive && this.client.outbox.length === 0 && this.hasPlace && !this.asking;
  }

  /** Nothing comes in or goes out any more: what happened is all that will be told of. */
  freeze() {
    this.numbers.frozen = true;
  }

  /** One thing, by chance. */
  act(what) {
    const chance = Math.random();
    if (!this.hasPlace) {
      if (this.isLive && !this.asking) this.ask();
    } else if (what === 'live') {
      if (chance < 0.5) this.say();
      else if (chance < 0.51) this.end();
    } else if (performance.now() - this.spoke > 15_000) this.say();
  }

  ask() {
    this.asking = true;
    const { uid, max } = this.as;
    const answer = this.isStaff ? this.client.goOnline({ name: uid, max }) : this.client.connect();
    const again = () => setTimeout(() => (this.asking = false), 100 + 300 * Math.random());
    void answer.then(again);
  }

  say() {
    if (this.client.outbox.length >= 6) return;
    const open = this.client.conversations.filter(({ state }) => state === 'open' || state === 'waiting');
    const one = open[Math.floor(Math.random() * open.length)];
    if (!one || (one.state === 'waiting' && this.client.messages(one.id).length > 10)) return;
    this.spoke = performance.now();
    this.client.send(`${this.as.uid} says ${this.said + 1} "\\\n😀`, { conversation: one.id });
  }

  end() {
    const open = this.client.conversations.filter(({ state }) => state === 'open');
    if (!this.isStaff) void this.client.leave();
    else if (open.length > 0) void this.client.close(open[0].id);
  }

  async leave() {
    if (this.isStaff) await Promise.race([this.client.goOffline(), new Promise((done) => setTimeout(done, 5000))]);
    this.client.stop();
  }
}
