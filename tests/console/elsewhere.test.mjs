// The console served by somebody else than otad, as at Netlify or Vercel: another origin, with the API's address in its page.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { extname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { launch, Person } from './lib/browser.mjs';
import { Account, freePorts, ROOT, System } from './lib/system.mjs';

const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml', '.woff2': 'font/woff2' };
const CONSOLE = join(ROOT, 'plugins/console');

let system, browser, server, elsewhere, built;

/** What ng built, finished for an API elsewhere; as `ng build --base-href /` writes it. */
async function build(api) {
  const place = await mkdtemp(join(tmpdir(), 'otad-elsewhere-'));
  const fresh = join(place, 'dist/new/browser');
  await cp(join(CONSOLE, 'tools'), join(place, 'tools'), { recursive: true });
  await cp(join(CONSOLE, 'dist/browser'), fresh, { recursive: true, filter: (name) => !/\.(br|gz)$/.test(name) });
  const index = join(fresh, 'index.html');
  await writeFile(index, (await readFile(index, 'utf8')).replace('<base href="/ui/"', '<base href="/"'));
  execFileSync('node', [join(place, 'tools/finish.mjs')], { env: { ...process.env, OTAD_API: api } });
  return place;
}

/** What netlify.toml asks of its host: headers for all answers, and paths that are answered by index.html. */
async function settings() {
  const text = await readFile(join(CONSOLE, 'netlify.toml'), 'utf8');
  const values = text.slice(text.indexOf('[headers.values]'));
  return {
    headers: Object.fromEntries([...values.matchAll(/^ {4}([\w-]+) = "([^"]+)"$/gm)].map(([, name, value]) => [name, value])),
    pages: [...text.matchAll(/from = "([^"]+)", to = "\/index.html", status = 200/g)].map(([, from]) => from),
  };
}

async function serve(port, directory) {
  const { headers, pages } = await settings();
  const isPage = (path) => path === '/' || pages.some((page) => (page.endsWith('*') ? path.startsWith(page.slice(0, -1)) : path === page));
  const answer = async (request, response) => {
    const { pathname } = new URL(request.url, 'http://localhost');
    const path = isPage(pathname) ? '/index.html' : pathname;
    const body = await readFile(join(directory, path)).catch(() => null);
    response.writeHead(body ? 200 : 404, { 'content-type': TYPES[extname(path)] ?? 'text/plain', ...headers });
    response.end(body);
  };
  return createServer(answer).listen(port);
}

before(async () => {
  const [port] = await freePorts(1);
  elsewhere = `http://localhost:${port}`;
  const environment = { OTAD_HTTP_ORIGINS: elsewhere, OTAD_AUTH_COOKIE_SAMESITE: 'None' };
  [system, browser] = await Promise.all([System.start(environment), launch()]);
  built = await build(system.secureUrl);
  server = await serve(port, join(built, 'dist/browser'));
  await Account.create(system, 'operator@example.org');
});

after(async () => {
  server?.close();
  if (built) await rm(built, { recursive: true, force: true });
  await browser?.close();
  await system?.stop();
});

test('it logs in, stays so over a reload, and is live', async () => {
  const person = await Person.arrive(browser, { url: elsewhere }, 'light', { ignoreHTTPSErrors: true });
  const { page } = person;
  await page.goto(`${elsewhere}/devices/add`);
  await page.getByLabel('Email').fill('operator@example.org');
  await page.getByLabel('Password').fill('correct horse battery');
  await page.getByRole('button', { name: 'Log in' }).click();
  await page.getByRole('textbox', { name: 'Code' }).fill('far-1');
  await page.getByRole('button', { name: 'Register device' }).click();
  await page.getByText(/Waiting for far-1/).waitFor();
  await page.getByRole('checkbox', { name: /noted/ }).check();
  await page.goto(`${elsewhere}/devices`);
  await page.getByRole('link', { name: 'far-1' }).waitFor();
  await page.getByText('Live', { exact: true }).waitFor();
  assert.deepEqual(person.complaints, []);

  const forbidden = await page.evaluate(() => {
    const told = new Promise((done) => addEventListener('securitypolicyviolation', (event) => done(event.effectiveDirective)));
    fetch('https://localhost:1/').catch(() => {});
    return told;
  });
  assert.equal(forbidden, 'connect-src', 'it asks its API and no other host');
  await person.context.close();
});

test('what is not there is 404, and kept by nobody; each page is there', async () => {
  const gone = await fetch(`${elsewhere}/chunk-GONE.js`);
  assert.equal(gone.status, 404);
  assert.doesNotMatch(`${gone.headers.get('cache-control')}`, /immutable|max-age=[1-9]/);
  const routes = await readFile(join(CONSOLE, 'src/app/app.routes.ts'), 'utf8');
  const paths = [...routes.matchAll(/path: '([a-z][^']*)'/g)].map(([, path]) => `/${path.replace(/:\w+/, '1')}`);
  assert.ok(paths.length > 10, `${paths}`);
  for (const path of paths) assert.equal((await fetch(elsewhere + path)).status, 200, path);
});

test('pages of other origins get no answer', async () => {
  const person = await Person.arrive(browser, system);
  await person.page.goto(elsewhere.replace('localhost', '127.0.0.1'));
  const outcome = await person.page.evaluate(
    (url) => fetch(`${url}/healthz`).then(() => 'answered', () => 'refused'),
    system.url,
  );
  assert.equal(outcome, 'refused');
  await person.context.close();
});
