// What devices say appears by itself: states, logs, updates; also from another instance, and after a lost connection.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { launch, Person } from './lib/browser.mjs';
import { Mqtt } from './lib/mqtt.mjs';
import { Account, BUILD, freePorts, ROOT, System, until } from './lib/system.mjs';

let system, browser, account, registration, device;

before(async () => {
  [system, browser] = await Promise.all([System.start(), launch()]);
  account = await Account.create(system, 'operator@example.org');
  registration = await account.call('POST', '/devices/register', { device_code: 'desk-1', chip: 'esp32' });
  device = await Mqtt.connect(system, registration);
  device.status({ firmware_version: '1.0.0', chip: 'esp32', rssi: -61 });
});

after(async () => {
  device?.end();
  await browser?.close();
  await system?.stop();
});

/** Milliseconds from saying something until the page shows it. */
async function shown(page, say, text) {
  const appears = page.getByText(text).first().waitFor();
  const began = Date.now();
  say();
  await appears;
  return Date.now() - began;
}

async function openDevice(person, tab = '') {
  await person.login('operator@example.org');
  await person.go(`devices/${registration.device.id}${tab && `?tab=${tab}`}`);
  await person.page.getByText('Live', { exact: true }).waitFor();
}

test('log lines appear as they are said, and wait while paused', async (t) => {
  const person = await Person.arrive(browser, system);
  const { page } = person;
  await openDevice(person, 'logs');
  const times = [];
  for (let i = 0; i < 10; i++) {
    times.push(await shown(page, () => device.log(`line number ${i}.`), `line number ${i}.`));
  }
  t.diagnostic(`log lines shown after ${times.sort((a, b) => a - b)[5]} ms at the median`);
  await page.getByRole('button', { name: 'Pause' }).click();
  device.log('said while paused');
  await page.getByText(/1 (new )?line/).first().waitFor();
  assert.equal(await page.getByText('said while paused').count(), 0);
  await page.getByRole('button', { name: /Resume|Continue/ }).click();
  await page.getByText('said while paused').waitFor();

  device.log('all is lost', 'error');
  await page.getByText('all is lost').waitFor();
  await page.getByRole('combobox', { name: 'Level' }).click();
  await page.getByRole('option', { name: 'Errors', exact: true }).click();
  await page.getByText('line number 3.').waitFor({ state: 'detached' });
  await page.getByText('all is lost').waitFor();
  assert.deepEqual(person.complaints, []);
  await person.context.close();
});

test('states appear in the list and on the page of the device', async (t) => {
  const person = await Person.arrive(browser, system);
  const { page } = person;
  await person.login('operator@example.org');
  await person.go('devices');
  await page.getByText('Live', { exact: true }).waitFor();
  const row = page.getByRole('row', { name: /desk-1/ });
  const times = [];
  for (let i = 1; i <= 5; i++) {
    times.push(await shown(page, () => device.status({ firmware_version: `2.0.${i}` }), `2.0.${i}`));
  }
  t.diagnostic(`states shown after ${times.sort((a, b) => a - b)[2]} ms at the median`);
  device.status({ status: 'offline' });
  await row.getByText('Offline').waitFor();
  await row.getByRole('link', { name: 'desk-1' }).click();
  await page.getByText('Offline').first().waitFor();
  device.status({ status: 'online' });
  await page.getByText('Online', { exact: true }).first().waitFor();
  assert.deepEqual(person.complaints, []);
  await person.context.close();
});

test('the same on another instance', async (t) => {
  const entries = (await readFile(`/proc/${await readFile(join(system.var, 'run/otad.pid'), 'utf8').then(Number)}/environ`, 'utf8'))
    .split('\0')
    .filter(Boolean)
    .map((entry) => [entry.slice(0, entry.indexOf('=')), entry.slice(entry.indexOf('=') + 1)]);
  const [http, https] = await freePorts(2);
  const other = { url: `http://localhost:${http}` };
  const environment = { ...Object.fromEntries(entries), OTAD_HTTP_PORT: `${http}`, OTAD_HTTPS_PORT: `${https}`, OTAD_PUBLIC_URL: system.url };
  const child = spawn(join(BUILD, 'otad'), ['serve'], { cwd: ROOT, env: environment, stdio: 'ignore' });
  try {
    await until(() => fetch(`${other.url}/readyz`).then((answer) => answer.ok, () => false), 'the other instance is ready');
    const person = await Person.arrive(browser, other);
    await openDevice(person, 'logs');
    await new Promise((done) => setTimeout(done, 1500)); // instances tell each other each second what they listen to
    const times = [];
    for (let i = 0; i < 5; i++) times.push(await shown(person.page, () => device.log(`far ${i}.`), `far ${i}.`));
    t.diagnostic(`log lines shown by another instance after ${times.sort((a, b) => a - b)[2]} ms at the median`);
    assert.deepEqual(person.complaints, []);
    await person.context.close();
  } finally {
    child.kill('SIGTERM');
  }
});

test('a lost connection is said, comes back by itself, and what was missed is there', async () => {
  const person = await Person.arrive(browser, system);
  const { page } = person;
  await person.login('operator@example.org');
  await person.go('devices');
  await page.getByText('Live', { exact: true }).waitFor();
  await system.service('otad', 'stop');
  await page.getByText(/Connection lost/).waitFor();
  await system.psql(`update devices set name = 'Renamed meanwhile' where device_code = 'desk-1'`);
  await system.service('otad', 'start');
  await page.getByText('Live', { exact: true }).waitFor();
  await page.getByText('Renamed meanwhile').waitFor();
  device.status({ status: 'online', firmware_version: '3.0.0' });
  await page.getByText('3.0.0').first().waitFor();
  assert.deepEqual(person.complaints, []);
  await person.context.close();
});

test('what happens between what a page reads and its subscription is there', async () => {
  const person = await Person.arrive(browser, system);
  const { page } = person;
  let release;
  const held = new Promise((done) => (release = done));
  await page.route('**/ws/ticket', (route) => held.then(() => route.continue()));
  await person.login('operator@example.org');
  await person.go('devices');
  await page.getByText('3.0.0').first().waitFor();
  await page.getByText('Connecting…').waitFor();
  device.status({ firmware_version: '4.0.0' });
  const path = `/devices/${registration.device.id}`;
  await until(async () => (await account.call('GET', path)).firmware_version === '4.0.0', 'the server knows of it');
  assert.equal(await page.getByText('4.0.0').count(), 0);
  release();
  await page.getByText('4.0.0').first().waitFor();
  assert.deepEqual(person.complaints, []);
  await person.context.close();
});

test('of a long list as many devices are followed as may be, and all stay', async () => {
  await system.psql(`insert into devices (device_code, user_id) select 'many-' || i, (select min(id) from users)
    from generate_series(1, 240) i`);
  const person = await Person.arrive(browser, system);
  const { page } = person;
  const refused = [];
  page.on('websocket', (socket) =>
    socket.on('framereceived', ({ payload }) => JSON.parse(payload).event === 'error' && refused.push(payload)),
  );
  await person.login('operator@example.org');
  await person.go('devices');
  const rows = page.locator('tbody tr');
  // Once their topics are in force, rows are read again: the 150th, too.
  const again = page.waitForResponse((answer) => /limit=(150|200)\b/.test(answer.url()));
  for (const there of [100, 150, 200, 241]) {
    // The list may be read again between a look at the button and the click, which it then does not take.
    await until(async () => {
      if ((await rows.count()) >= there) return true;
      await page.getByRole('button', { name: 'Show more' }).click({ timeout: 3000 }).catch(() => {});
    }, `${there} rows are there`);
  }
  await page.getByText(/first 150 devices are followed live/).waitFor();
  await again;
  await person.settled();
  assert.equal(await rows.count(), 241);
  device.status({ firmware_version: '5.0.0' });
  await rows.first().getByText('5.0.0').waitFor();
  await page.getByText('Live', { exact: true }).waitFor();
  assert.deepEqual(refused, []);
  assert.deepEqual(person.complaints, []);
  await person.context.close();
});

test('where the server cannot subscribe the view is not called live, and what happens is there afterwards', async () => {
  const person = await Person.arrive(browser, system);
  const { page } = person;
  await person.login('operator@example.org');
  await page.getByText('Live', { exact: true }).waitFor();
  await system.service('postgresql', 'stop');
  await person.go(`devices/${registration.device.id}`);
  await page.getByText(/Connection lost/).waitFor();
  await system.service('postgresql', 'start');
  await page.getByText('Live', { exact: true }).waitFor();
  device.status({ firmware_version: '6.0.0' });
  await page.getByText('6.0.0').first().waitFor();
  assert.deepEqual(person.complaints, []);
  await person.context.close();
});
