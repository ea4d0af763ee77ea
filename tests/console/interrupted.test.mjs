// What an open console does when what is behind it changes: otad is updated, is away for a while, or somebody else logs in.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launch, Person } from './lib/browser.mjs';
import { Account, System } from './lib/system.mjs';

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

/** Code that was not loaded yet is not there any more, as after an update. Returns the addresses that are asked for. */
async function update(page) {
  const gone = new Set();
  await page.route('**/*.js', async (route) => {
    gone.add(route.request().url());
    await route.fulfill({ status: 404 });
  });
  return gone;
}

test('after an update of otad a page is loaded anew, with the code of now', async () => {
  const person = await Person.arrive(browser, system);
  const { page } = person;
  await person.login('operator@example.org');
  await update(page);
  page.on('request', (request) => request.isNavigationRequest() && page.unroute('**/*.js'));
  await page.getByRole('link', { name: 'Rollouts', exact: true }).click();
  await page.getByRole('heading', { level: 1, name: 'Rollouts' }).waitFor();
  assert.equal(page.url(), `${system.url}/ui/rollouts`);
  await person.context.close();
});

test('code that stays away is said, and the page is not loaded again and again', async () => {
  const person = await Person.arrive(browser, system);
  const { page } = person;
  await person.login('operator@example.org');
  const gone = await update(page);
  let loads = 0;
  page.on('request', async (request) => {
    if (!request.isNavigationRequest() || loads++) return;
    await page.unroute('**/*.js');
    await page.route((url) => gone.has(url.href), (route) => route.fulfill({ status: 404 }));
  });
  await page.getByRole('link', { name: 'Rollouts', exact: true }).click();
  await page.getByText(/This part of the console is not there/).waitFor();
  assert.equal(loads, 1);
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
