// What npm carries works where it is installed, as it is.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';

const here = new URL('..', import.meta.url).pathname;
const about = JSON.parse(readFileSync(join(here, 'package.json'), 'utf8'));

test('an installed package gives a program the client', (t) => {
  const app = mkdtempSync(join(tmpdir(), 'frontdesk-package-'));
  t.after(() => rmSync(app, { recursive: true }));
  const installed = join(app, 'node_modules', about.name);
  for (const file of ['package.json', ...about.files]) {
    if (existsSync(join(here, file))) cpSync(join(here, file), join(installed, file), { recursive: true });
    else assert.match(file, /\.d\.ts$/, 'only types are made when it is packed');
  }
  writeFileSync(join(app, 'app.mjs'), `
    import * as all from '${about.name}';
    const desk = new all.Frontdesk({ url: 'http://chat.test', WebSocket: class {} });
    console.log(Object.keys(all).sort().join(), desk.state);
  `);
  const said = execFileSync(process.execPath, [join(app, 'app.mjs')], { encoding: 'utf8' });
  assert.equal(said.trim(), 'CLOSE_CODES,Frontdesk,LIMITS,comesBack idle');
});
