// What an open console does when what is behind it changes: otad is updated, is away for a while, or somebody else logs in.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launch, Person } from './lib/browser.mjs';
import { Account, PASSWORD, System } from './lib/system.mjs';

let system, browser, operator, device;

before(async () => {
  [system, browser] = await Promise.all([System.start(), launch()]);
  operator = await Account.create(system, 'operator@example.org');
  ({ device } = await operator.call('POST', '/devices/register', { device_code: 'desk-1', chip: 'esp32' }));
});

after(async () => {
  await browser?.close();
  await system?.stop();
});

/** Code that was not loaded yet is not there any more, as after an update: until the page is loaded anew, or for good. */
async function update(page, forGood = false) {
  const gone = new Set();
  const seen = { loads: 0 };
  page.on('request', (request) => request.isNavigationRequest() && seen.loads++);
  await page.route('**/*.js', (route) => {
    const url = route.request().url();
    if (!seen.loads) gone.add(url);
    return !seen.loads || (forGood && gone.has(url)) ? route.fulfill({ status: 404 }) : route.continue();
  });
  return seen;
}

test('after an update of otad a page is loaded anew, with the code of now', async () => {
  const person = await Person.arrive(browser, system);
  const { page } = person;
  await person.login('operator@example.org');
  await update(page);
  await page.getByRole('link', { name: 'Rollouts', exact: true }).click();
  await page.getByRole('heading', { level: 1, name: 'Rollouts' }).waitFor();
  assert.equal(page.url(), `${system.url}/ui/rollouts`);
  await person.context.close();
});

test('code that stays away is said, and the page is not loaded again and again', async () => {
  const person = await Person.arrive(browser, system);
  const { page } = person;
  await person.login('operator@example.org');
  const seen = await update(page, true);
  await page.getByRole('link', { name: 'Rollouts', exact: true }).click();
  await page.getByText(/This part of the console is not there/).waitFor();
  assert.equal(seen.loads, 1);
  await person.context.close();
});

test('while the server is away, the page that is there stays', async () => {
  const person = await Person.arrive(browser, system);
  const { page } = person;
  await person.login('operator@example.org');
  await person.context.setOffline(true);
  await page.getByRole('link', { name: 'Rollouts', exact: true }).click();
  await page.getByText(/This part of the console is not there/).waitFor();
  await page.getByRole('heading', { level: 1, name: 'Home' }).waitFor();
  await person.context.close();
});

test('dialogs whose code is gone say so, and no credentials end for one', async () => {
  const person = await Person.arrive(browser, system);
  const { page } = person;
  await person.login('operator@example.org');
  await person.go(`devices/${device.id}`);
  await update(page);
  const calls = [];
  page.on('request', (request) => request.method() === 'POST' && calls.push(new URL(request.url()).pathname));
  const said = page.getByText(/This part of the console is not there/);
  await page.getByRole('button', { name: 'Update', exact: true }).click();
  await said.waitFor();
  await page.getByRole('button', { name: 'Close', exact: true }).click();
  await said.waitFor({ state: 'detached' });
  await page.getByRole('button', { name: 'More' }).click();
  await page.getByRole('menuitem', { name: 'New credentials' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Make new credentials' }).click();
  await said.waitFor();
  assert.deepEqual(calls.filter((path) => path.endsWith('/credentials')), []);
  await person.context.close();
});

test('a session waits for a server that is away, and goes on by itself', async () => {
  const person = await Person.arrive(browser, system);
  const { page } = person;
  await person.login('operator@example.org');
  await person.go('devices');
  await page.route('**/auth/refresh', (route) => route.fulfill({ status: 503, headers: { 'retry-after': '600' } }));
  await page.reload();
  await page.getByRole('heading', { level: 1, name: 'The server is away' }).waitFor();
  assert.deepEqual(await person.axe(), []);
  await page.unroute('**/auth/refresh');
  await page.getByRole('button', { name: 'Try again' }).click();
  await page.getByRole('heading', { level: 1, name: 'Devices' }).waitFor();

  await page.route('**/auth/refresh', (route) => route.fulfill({ status: 503, headers: { 'retry-after': '1' } }));
  await page.reload();
  await page.getByRole('heading', { level: 1, name: 'The server is away' }).waitFor();
  await page.unroute('**/auth/refresh');
  await page.getByRole('heading', { level: 1, name: 'Devices' }).waitFor();
  assert.deepEqual(person.complaints, []);
  await person.context.close();
});

test('who cannot be logged out is told, and can try again', async () => {
  const person = await Person.arrive(browser, system);
  const { page } = person;
  const logOut = async () => {
    await page.getByRole('button', { name: 'Account and appearance' }).click();
    await page.getByRole('menuitem', { name: 'Log out' }).click();
  };
  await person.login('operator@example.org');
  await page.route('**/auth/logout', (route) => route.abort());
  await logOut();
  await page.getByText(/You may still be logged in here/).waitFor();
  await page.unroute('**/auth/logout');
  await logOut();
  await page.getByRole('heading', { level: 1, name: 'Log in' }).waitFor();
  await page.reload();
  await page.getByRole('heading', { level: 1, name: 'Log in' }).waitFor();
  assert.deepEqual(person.complaints, []);
  await person.context.close();
});

test('a tab never acts for somebody who logged in in another one', async () => {
  await Account.create(system, 'other@example.org');
  const person = await Person.arrive(browser, system);
  const mine = person.page;
  const over = mine.getByText(/Somebody else logged in in this browser/);
  const theirs = await person.newPage();
  await theirs.goto(`${system.url}/ui/login`);
  const logIn = async (page, email) => {
    await page.getByLabel('Email').fill(email);
    await page.getByLabel('Password').fill(PASSWORD);
    await page.getByRole('button', { name: 'Log in' }).click();
    await page.getByRole('heading', { level: 1, name: 'Home' }).waitFor();
  };
  await person.login('operator@example.org');
  await logIn(theirs, 'other@example.org');
  await over.waitFor();

  // Who was not told, as the tab was asleep, sees it in the token.
  await logIn(mine, 'operator@example.org');
  await theirs.getByText(/Somebody else logged in in this browser/).waitFor();
  await theirs.evaluate(
    ([email, password]) => {
      const headers = { 'content-type': 'application/json' };
      return fetch('/auth/login', { method: 'POST', headers, body: JSON.stringify({ email, password, cookie: true }) });
    },
    ['other@example.org', PASSWORD],
  );
  await mine.route('**/devices?*', (route) => route.fulfill({ status: 401 }), { times: 1 });
  await mine.getByRole('navigation', { name: 'Main' }).getByRole('link', { name: 'Devices' }).click();
  await over.waitFor();
  await mine.reload();
  await mine.getByRole('button', { name: 'Account and appearance' }).click();
  await mine.getByText('other@example.org').waitFor();
  assert.deepEqual(person.complaints, []);
  await person.context.close();
});
