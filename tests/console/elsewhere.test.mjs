// The console served by somebody else than otad, as at Netlify or Vercel: another origin, with the API's address in its page.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { launch, Person } from './lib/browser.mjs';
import { Account, freePorts, ROOT, System } from './lib/system.mjs';

const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml', '.woff2': 'font/woff2' };
const DIST = join(ROOT, 'plugins/console/dist/browser');

let system, browser, server, elsewhere;

/** Serves the built console at "/" with the headers of netlify.toml, and index.html for its pages. */
async function serve(port, api) {
  const policy = (await readFile(join(ROOT, 'plugins/console/netlify.toml'), 'utf8')).match(/Content-Security-Policy = "([^"]+)"/)[1];
  const index = (await readFile(join(DIST, 'index.html'), 'utf8'))
    .replace('<base href="/ui/"', '<base href="/"')
    .replace('name="otad-api" content=""', `name="otad-api" content="${api}"`);
  const answer = async (request, response) => {
    const path = new URL(request.url, 'http://localhost').pathname;
    const type = TYPES[extname(path)];
    const body = type && path !== '/index.html' ? await readFile(join(DIST, path)).catch(() => null) : index;
    const policies = { 'content-security-policy': policy.replace('https: wss:', `${api} ${api.replace('http', 'ws')}`) };
    response.writeHead(body === null ? 404 : 200, { 'content-type': type ?? 'text/html', ...policies });
    response.end(body);
  };
  return createServer(answer).listen(port);
}

before(async () => {
  const [port] = await freePorts(1);
  elsewhere = `http://localhost:${port}`;
  const settings = { OTAD_HTTP_ORIGINS: elsewhere, OTAD_AUTH_COOKIE_SAMESITE: 'None' };
  [system, browser] = await Promise.all([System.start(settings), launch()]);
  server = await serve(port, system.url);
  await Account.create(system, 'operator@example.org');
});

after(async () => {
  server?.close();
  await browser?.close();
  await system?.stop();
});

test('it logs in, stays so over a reload, and is live', async () => {
  const person = await Person.arrive(browser, { url: elsewhere });
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
  await person.context.close();
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
