// Holds a conversation with Node's `ws`: node ws.js STAFF_URL CUSTOMER_URL. tests/src/peer.rs says what all
// the clients here do.
'use strict';
const assert = require('node:assert');
const { once } = require('node:events');
const WebSocket = require('ws');

class Peer {
  static async connect(url) {
    const peer = new Peer();
    peer.frames = [];
    peer.socket = new WebSocket(url);
    peer.socket.on('message', (data, isBinary) => {
      assert(!isBinary, 'frames are text');
      console.log('<', String(data).slice(0, 200));
      peer.frames.push(String(data));
      peer.socket.emit('frame');
    });
    peer.closed = once(peer.socket, 'close');
    await once(peer.socket, 'open');
    assert.strictEqual(peer.socket.protocol, '');
    assert.strictEqual(peer.socket.extensions, '');
    await peer.expect('welcome', 'welcome');
    return peer;
  }

  async text() {
    while (this.frames.length === 0) await once(this.socket, 'frame');
    return this.frames.shift();
  }

  async expect(action, code) {
    const { action: got, payload } = JSON.parse(await this.text());
    assert.deepStrictEqual([got, payload.code], [action, code]);
    return payload;
  }

  send(action, payload) {
    this.socket.send(JSON.stringify({ action, payload }));
  }

  async closesWith(code, reason) {
    const [gotCode, gotReason] = await this.closed;
    assert.deepStrictEqual([gotCode, String(gotReason)], [code, reason]);
  }
}

async function main([staffUrl, customerUrl]) {
  const staff = await Peer.connect(staffUrl);
  staff.send('staffOnline', { name: 'ws' });
  await staff.expect('message', 'on_duty');
  const customer = await Peer.connect(customerUrl);
  customer.send('customerConnect');
  await customer.expect('message', 'connected');
  await staff.expect('message', 'new_customer');

  customer.send('message', { message: '你好 😀', id: 'm1' });
  assert.strictEqual((await customer.expect('ack', undefined)).ref, 'm1');
  const heard = await staff.expect('message', undefined);
  assert.deepStrictEqual([heard.from, heard.message], ['customer', '你好 😀']);
  const long = '长'.repeat(5461);
  staff.send('message', { message: long });
  assert.strictEqual((await customer.expect('message', undefined)).message, long);

  customer.socket.send('PING');
  assert.strictEqual(await customer.text(), 'PONG');
  customer.socket.send('PI', { fin: false });
  customer.socket.send('NG', { fin: true });
  assert.strictEqual(await customer.text(), 'PONG');
  const ponged = once(customer.socket, 'pong');
  customer.socket.ping('hello');
  assert.strictEqual(String((await ponged)[0]), 'hello');

  customer.socket.close(1000, 'bye');
  await customer.closesWith(1000, 'bye');
  await staff.expect('chat_close', 'customer_left');
  staff.socket.send('x'.repeat(64 * 1024 + 1));
  await staff.closesWith(1009, 'too_big');
  const other = await Peer.connect(customerUrl);
  other.socket.send(Buffer.from([1, 2, 3]));
  await other.closesWith(1003, 'binary_frame');
}

main(process.argv.slice(2)).catch((error) => {
  console.error(error);
  process.exit(1);
});
