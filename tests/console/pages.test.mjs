// Every page, with things on it and empty, in light, dark and on a phone, and what opens on them: axe finds nothing, nothing
// is forbidden by the Content-Security-Policy, nothing sticks out of a phone's screen. OTAD_SCREENSHOTS=DIRECTORY keeps a picture of each.
import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { launch, LOOKS, Person } from './lib/browser.mjs';
import { openings } from './lib/opened.mjs';
import { Account, System, until } from './lib/system.mjs';

const PICTURES = process.env.OTAD_SCREENSHOTS;
const FIRST_LOAD = 350_000; // bytes that come over the wire until the list of devices is there

let system, browser, operator, ids;

before(async () => {
  [system, browser] = await Promise.all([System.start(), launch()]);
  operator = await Account.create(system, 'operator@example.org');
  if (PICTURES) await mkdir(PICTURES, { recursive: true });
});

after(async () => {
  await browser?.close();
  await system?.stop();
});

/** Some devices that live, one that cannot run the new image, a rollout that has ended and one that goes on. */
async function fill() {
  const first = await system.image({ version: '1.0.0' });
  const next = await operator.upload(await system.image({ version: '1.1.0' }));
  await operator.upload(first);
  const devices = [];
  for (let i = 1; i <= 4; i++) {
    const fields = { device_code: `desk-${i}`, name: i === 2 ? null : `Thermostat ${i}`, chip: 'esp32', tags: { site: `hall-${i % 2}` } };
    const registration = await operator.call('POST', '/devices/register', fields);
    devices.push(registration.device.id);
    const fault = i === 4 ? ['--selftest', 'fail'] : [];
    await system.device(registration, '--initial', first, '--metric', `temperature=${20 + i}.5`, ...fault);
  }
  await until(
    async () => (await operator.call('GET', '/devices?online=true')).items.length === 4,
    'all devices are online',
  );
  const rollout = async (name, policy, target) =>
    (await operator.call('POST', '/rollouts', { name, firmware_id: next.id, policy, target })).rollout.id;
  const ended = await rollout('Spring', 'all_at_once', { device_ids: devices });
  await until(
    async () => (await operator.call('GET', `/rollouts/${ended}`)).state !== 'running',
    'the first rollout has ended',
  );
  await system.psql(`insert into devices (user_id, device_code, chip) select ${1}, 'never-' || n, 'esp32' from generate_series(1, 60) n`);
  const going = await rollout('Summer', 'canary', { chip: 'esp32' });
  return { device: devices[0], failed: devices[3], firmware: next.id, ended, going };
}

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

async function check(person, name, look, found, ...without) {
  const { page } = person;
  for (const words of await person.axe(...without)) found.push(`${name}, ${look}: ${words}`);
  const headings = await page.getByRole('heading', { level: 1 }).count();
  if (headings !== 1 && !(await page.getByRole('dialog').count())) found.push(`${name}, ${look}: ${headings} h1`);
  const over = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  if (over > 0) found.push(`${name}, ${look}: ${over} px wider than the screen`);
  if (PICTURES) await page.screenshot({ path: join(PICTURES, `${name}-${look}.png`), fullPage: true });
}

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

for (const look of Object.keys(LOOKS)) {
  test(`all pages, ${look}`, async () => {
    ids ??= await fill();
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

for (const look of ['dark', 'phone']) {
  test(`what opens on the pages, ${look}`, async () => {
    ids ??= await fill();
    const person = await Person.arrive(browser, system, look);
    const { page } = person;
    page.on('dialog', (asked) => asked.accept()); // of a text that is not activated
    await person.login('operator@example.org');
    const found = [];
    for (const [name, [path, open]] of Object.entries(openings(ids))) {
      await page.goto(`${system.url}/ui/${path}`);
      await person.settled();
      await open(page);
      await page.waitForTimeout(300); // until it has moved to its place
      // Menus are not in a landmark; the list of completions is driven from the editor.
      await check(person, name, look, found, 'region', ...(name === 'policy-completion' ? ['scrollable-region-focusable'] : []));
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
