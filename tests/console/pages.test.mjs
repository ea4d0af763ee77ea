// Every page, with things on it and empty, in light, dark and on a phone (lib/filled.mjs says what holds for it); how small
// the first load is, and ways through the pages by finger and by keyboard.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launch, Person } from './lib/browser.mjs';
import { check, fill } from './lib/filled.mjs';
import { Account, System } from './lib/system.mjs';

const FIRST_LOAD = 350_000; // bytes that come over the wire until the list of devices is there

let system, browser, operator, ids;

before(async () => {
  [system, browser] = await Promise.all([System.start(), launch()]);
  operator = await Account.create(system, 'operator@example.org');
});

after(async () => {
  await browser?.close();
  await system?.stop();
});

function pages() {
  return {
    home: '',
    devices: 'devices',
    'devices-none': 'devices?q=nothing-like-it',
    'add-device': 'devices/add',
    device: `devices/${ids.device}`,
    'device-failed': `devices/${ids.failed}`,
    'device-logs': `devices/${ids.device}?tab=logs`,
    'device-timeline': `devices/${ids.device}?tab=timeline`,
    'device-updates': `devices/${ids.device}?tab=updates`,
    firmware: 'firmware',
    'firmware-detail': `firmware/${ids.firmware}`,
    rollouts: 'rollouts',
    'new-rollout': `rollouts/new?firmware_id=${ids.firmware}`,
    'rollout-ended': `rollouts/${ids.ended}`,
    'rollout-going': `rollouts/${ids.going}`,
    policies: 'policies',
    policy: 'policies/canary',
    audit: 'audit',
    users: 'users',
    settings: 'settings',
    'not-found': 'nothing/here',
  };
}

const EMPTY = { home: '', devices: 'devices', firmware: 'firmware', rollouts: 'rollouts' };

test('empty pages', async () => {
  const person = await Person.arrive(browser, system);
  const found = [];
  await person.page.goto(`${system.url}/ui/login`);
  await person.settled();
  await check(person, 'login', 'light', found);
  await person.login('operator@example.org');
  for (const [name, path] of Object.entries(EMPTY)) {
    await person.go(path);
    await check(person, `empty-${name}`, 'light', found);
  }
  assert.deepEqual([...found, ...person.complaints], []);
  await person.context.close();
});

test('empty pages of who is no operator tell the next step', async () => {
  await Account.create(system, 'user@example.org', 'user');
  const person = await Person.arrive(browser, system, 'phone');
  await person.login('user@example.org');
  const found = [];
  const words = {
    '': 'ask one for what your device shall run',
    devices: 'Add your first one',
    firmware: 'Operators upload it',
    settings: 'Change password',
  };
  for (const [path, text] of Object.entries(words)) {
    await person.go(path);
    await person.page.getByText(text).first().waitFor();
    await check(person, `user-${path}`, 'phone', found);
  }
  assert.deepEqual([...found, ...person.complaints], []);
  await person.context.close();
});

for (const look of ['light', 'dark', 'phone']) {
  test(`all pages, ${look}`, async () => {
    ids ??= await fill(system, operator);
    const person = await Person.arrive(browser, system, look);
    await person.login('operator@example.org');
    const found = [];
    for (const [name, path] of Object.entries(pages())) {
      await person.go(path);
      await check(person, name, look, found);
    }
    assert.deepEqual([...found, ...person.complaints], []);
    await person.context.close();
  });
}

test('the first load is small', async (t) => {
  const person = await Person.arrive(browser, system);
  await person.login('operator@example.org');
  const client = await person.context.newCDPSession(person.page);
  await client.send('Network.enable');
  await client.send('Network.setCacheDisabled', { cacheDisabled: true });
  let bytes = 0;
  client.on('Network.loadingFinished', ({ encodedDataLength }) => (bytes += encodedDataLength));
  const began = Date.now();
  await person.page.goto(`${system.url}/ui/devices`);
  await person.page.getByRole('link', { name: 'never-1', exact: true }).waitFor();
  t.diagnostic(`the list of devices was there after ${Date.now() - began} ms`);
  await person.settled();
  t.diagnostic(`${Math.round(bytes / 1000)} kB came over the wire`);
  assert.ok(bytes < FIRST_LOAD, `${bytes} bytes`);
  await person.context.close();
});

test('the navigation of a phone opens, closes and leads', async () => {
  const person = await Person.arrive(browser, system, 'phone');
  await person.login('operator@example.org');
  const { page } = person;
  const rollouts = page.getByRole('navigation', { name: 'Main' }).getByRole('link', { name: 'Rollouts' });
  assert.equal(await rollouts.isVisible(), false);
  await page.getByRole('button', { name: 'Navigation' }).click();
  await rollouts.waitFor();
  await page.keyboard.press('Escape');
  await rollouts.waitFor({ state: 'hidden' });
  await page.getByRole('button', { name: 'Navigation' }).click();
  await rollouts.click();
  await page.getByRole('heading', { level: 1, name: 'Rollouts' }).waitFor();
  await rollouts.waitFor({ state: 'hidden' });
  assert.deepEqual(person.complaints, []);
  await person.context.close();
});

test('by keyboard alone: to the search, to a device, over its tabs', async () => {
  ids ??= await fill();
  const person = await Person.arrive(browser, system);
  await person.login('operator@example.org');
  const { page } = person;
  const search = page.getByRole('searchbox', { name: /Find a device/ });
  const searching = () => search.evaluate((input) => input === document.activeElement);
  await page.getByRole('button', { name: 'Account and appearance' }).click();
  await page.getByRole('menuitem', { name: 'Log out' }).waitFor();
  await page.keyboard.press('Control+k');
  assert.equal(await searching(), false, 'not from under a menu');
  await page.keyboard.press('Escape');
  await page.getByRole('menu').waitFor({ state: 'detached' });
  await page.keyboard.press('/');
  assert.equal(await searching(), false, 'a single character is no shortcut');
  await page.keyboard.press('Control+k');
  await page.keyboard.type('desk-2');
  await page.keyboard.press('Enter');
  await page.waitForURL(/q=desk-2/);
  const link = page.getByRole('link', { name: 'desk-2', exact: true });
  await link.waitFor();
  for (let i = 0; i < 40 && !(await link.evaluate((a) => a === document.activeElement)); i++) await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { level: 1, name: 'desk-2' }).waitFor();
  assert.equal(await page.evaluate(() => document.activeElement?.tagName), 'H1', 'a new page is read from its beginning');
  assert.deepEqual(person.complaints, []);
  await person.context.close();
});

test('a password counts as kept once it was copied, not when that failed', async () => {
  const person = await Person.arrive(browser, system);
  const { page } = person;
  await person.login('operator@example.org');
  await person.go('devices/add');
  await page.getByRole('textbox', { name: 'Code' }).fill('copied-1');
  await page.getByRole('button', { name: 'Register device' }).click();
  const noted = page.getByRole('checkbox', { name: /noted/ });
  await page.evaluate(() => {
    navigator.clipboard.writeText = () => Promise.reject(new DOMException('no', 'NotAllowedError'));
  });
  await page.getByRole('button', { name: 'Copy the password' }).click();
  await page.getByText(/did not let it be copied/).waitFor();
  assert.equal(await noted.isChecked(), false);
  await page.locator('.brand').click();
  await page.getByRole('dialog').getByRole('button', { name: 'Cancel' }).click();
  await page.evaluate(() => delete navigator.clipboard.writeText);
  await person.context.grantPermissions(['clipboard-read', 'clipboard-write']);
  await page.getByRole('button', { name: 'Copy the password' }).click();
  await page.getByRole('button', { name: 'Copied' }).waitFor();
  assert.equal(await noted.isChecked(), true);
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), await page.locator('.password').innerText());
  await page.locator('.brand').click();
  await page.getByRole('heading', { level: 1, name: 'Home' }).waitFor();
  assert.deepEqual(person.complaints, []);
  await person.context.close();
});

test('the heading has the focus on a new page, also where it is named later, and when what had it is gone', async () => {
  ids ??= await fill();
  const person = await Person.arrive(browser, system);
  const { page } = person;
  const read = (name) => page.locator('h1:focus', { hasText: name }).waitFor();
  await person.login('operator@example.org');
  await read('Home');
  for (const [list, link, title] of [['Rollouts', 'Summer', 'Summer'], ['Firmware', '1.1.0', 'demo 1.1.0']]) {
    await page.getByRole('navigation', { name: 'Main' }).getByRole('link', { name: list }).click();
    await read(list);
    await page.getByRole('link', { name: link, exact: true }).first().click();
    await read(title);
  }
  await person.go('devices/add');
  await page.getByRole('textbox', { name: 'Code' }).fill('focus-1');
  await page.getByRole('button', { name: 'Register device' }).click();
  await read('focus-1');
  await page.getByRole('checkbox', { name: /noted/ }).check();
  await page.getByRole('button', { name: 'Account and appearance' }).click();
  await page.getByRole('menuitem', { name: 'Log out' }).click();
  await read('Log in');
  assert.deepEqual(person.complaints, []);
  await person.context.close();
});
