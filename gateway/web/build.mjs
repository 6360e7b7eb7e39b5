// Joins the modules of client/ into client.js, the one file that pages load: `make client`. With `--check` it says
// whether client.js is what they make.
//
// The modules are written so that joining is enough: no two have a name at the top in common, and a test has the
// TypeScript compiler look at both.

import { readFileSync, writeFileSync } from 'node:fs';

const ORDER = [
  'types', 'limits', 'codes', 'emitter', 'clock', 'backoff', 'storage', 'tab', 'identity', 'link', 'session', 'entry', 'view',
  'marks', 'pages', 'conversations', 'outbox', 'questions', 'intents', 'typing', 'resuming', 'frontdesk',
];
const PUBLIC = ['Frontdesk', 'CLOSE_CODES', 'LIMITS', 'comesBack'];
const HEAD = `// @ts-check
// Frontdesk's client for browsers and Node, MIT licence. How to use it: docs/CLIENT.md.
// Made by build.mjs from the modules in client/: change those.
`;

const here = (path) => new URL(path, import.meta.url);

/** A module without what ties it to the others. */
function part(name) {
  const text = readFileSync(here(`client/${name}.js`), 'utf8');
  return text
    .replace(/^import [^;]*;\n/gm, '')
    .replace(/^\/\*\* @typedef \{import\('[^']*'\)\.\w+\} \w+ \*\/\n/gm, '')
    .replace(/import\('[^']*'\)\./g, '')
    .replace(/^export \{\};\n/gm, '')
    .replace(/^export /gm, '')
    .trim();
}

export const built = `${HEAD}\n${ORDER.map(part).join('\n\n')}\n\nexport { ${PUBLIC.join(', ')} };\n`;

if (process.argv.includes('--check')) {
  const same = readFileSync(here('client.js'), 'utf8') === built;
  if (!same) console.error('client.js is not what client/ makes: run `make client`');
  process.exitCode = same ? 0 : 1;
} else {
  writeFileSync(here('client.js'), built);
}
