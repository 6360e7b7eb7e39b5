// How a page in TypeScript uses the package: its types say what docs/CLIENT.md says.

import { Frontdesk } from './client';

const desk = new Frontdesk({ url: 'x', token: async ({ refused }) => (refused ? null : 'a') }).start();
desk.on('message', ({ text, mine }) => {
  const words: string | null = text;
  const own: boolean = mine;
  void [words, own];
});
desk.on('state', ({ retryInMs }) => {
  const pause: number | null = retryInMs;
  void pause;
});
// @ts-expect-error there is no such event
desk.on('nope', () => {});
void desk.goOnline({ max: 2 }).then(({ code }) => code.length);
void desk.list();
desk.send('x', { conversation: 'c' });
desk.stop();
