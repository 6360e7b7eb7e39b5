// The crowd in Node: node node.mjs CLIENT CONTROL NAME.

import { createRequire } from 'node:module';
import { crowd } from './crowd.mjs';

const [client, control, name] = process.argv.slice(2);
// By NODE_PATH, which only `require` heeds.
const WebSocket = createRequire(import.meta.url)('ws');
const { Frontdesk } = await import(client);
await crowd({ Frontdesk, control, name, options: () => ({ WebSocket }) });
