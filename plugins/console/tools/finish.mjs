// After `ng build`, which builds into dist/new: names the API in index.html (OTAD_API: where the console is served by
// somebody else than otad), which lets the page ask no other host, compresses once what otad then sends as it is (FILE.br and FILE.gz beside each FILE that gets
// smaller), and puts it in the place of dist/browser. What does not build leaves the console that was built before.
import { existsSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';

const place = (name) => fileURLToPath(new URL(`../dist/${name}/`, import.meta.url));
const dist = place('new/browser');
const compressible = new Set(['.css', '.html', '.ico', '.js', '.json', '.svg', '.txt', '.webmanifest']);

const index = join(dist, 'index.html');
const api = process.env.OTAD_API ?? '';
if (api && !/^https?:\/\/[^\s"'<>]+$/.test(api)) throw new Error(`OTAD_API is no address: ${api}`);
if (api) {
  const { origin } = new URL(api);
  const policy = `connect-src 'self' ${origin} ${origin.replace('http', 'ws')}`;
  const named = `<meta http-equiv="Content-Security-Policy" content="${policy}"><meta name="otad-api" content="${api}"`;
  writeFileSync(index, readFileSync(index, 'utf8').replace('<meta name="otad-api" content=""', named));
}

for (const name of readdirSync(dist, { recursive: true })) {
  const file = join(dist, name);
  if (!statSync(file).isFile() || !compressible.has(extname(file)) || file === index) continue;
  const data = readFileSync(file);
  const variants = {
    '.br': brotliCompressSync(data, { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } }),
    '.gz': gzipSync(data, { level: 9 }),
  };
  for (const [suffix, small] of Object.entries(variants)) {
    if (small.length < data.length) writeFileSync(file + suffix, small);
  }
}

rmSync(place('old'), { recursive: true, force: true });
if (existsSync(place('browser'))) renameSync(place('browser'), place('old'));
renameSync(dist, place('browser'));
for (const name of ['new', 'old']) rmSync(place(name), { recursive: true, force: true });
